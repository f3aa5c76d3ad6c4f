"""Who is notified, when and of what: grouped, once in the fleet, again until it is delivered, holding up nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from redirectd.config.load import parse
from redirectd.config.model import Config
from redirectd.config.sections import NotifySection
from redirectd.errors import RedirectdError
from redirectd.service import notifications
from redirectd.service.notifications import FIRST_RETRY, Notice, NotifyQueue, load_state, plain
from redirectd.service.status_document import without_daemon
from redirectd.store import event_log
from redirectd.store.event_log import EventKind, NewEvent
from redirectd.times import rfc3339
from tests.review.remap_store import NOW, STRANGER, RemapStore, opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RemapStore]:
    """An empty database, 192.0.2.0/24 trusted."""
    with opened(tmp_path) as made:
        yield made


class Post:
    """What was sent; `refuses` makes the next attempts fail."""

    def __init__(self) -> None:
        self.sent: list[Notice] = []
        self.refuses = 0

    def __call__(self, section: NotifySection, config: Config, message: Notice) -> None:
        """Takes a message."""
        self.sent.append(message)
        if self.refuses:
            self.refuses -= 1
            raise RedirectdError("notify team", "it answered 500", "wait")


def queue(
    post: Post, more: str = "", holder: str = "a", clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> NotifyQueue:
    """One that is notified of the default kinds."""
    text = f'node = "sip1"\n[policy]\ntrusted_peers = ["192.0.2.0/24"]\n[[notify]]\nname = "team"\n{more}'
    config = parse(text, Path("redirectd.toml"))
    return NotifyQueue(config.notify[0], config, post, holder, clock)


def turn(one: NotifyQueue, store: RemapStore, now: datetime) -> None:
    """One turn, with its delivery waited for."""
    one.turn(store.database, now)
    if one._thread is not None:
        one._thread.join()


def happen(store: RemapStore, at: datetime, kind: EventKind = EventKind.LOSS, **fields: Any) -> None:
    """An event."""
    with store.database.begin() as connection:
        event_log.emit(connection, [NewEvent(kind=kind, at=at, **fields)])


def minutes(count: float) -> datetime:
    """So many after NOW."""
    return NOW + timedelta(minutes=count)


def test_what_comes_together_is_one_message(store: RemapStore) -> None:
    """The first event waits a minute for others; after a message the next one comes five minutes later or more."""
    post = Post()
    one = queue(post, clock=lambda: minutes(1))
    turn(one, store, NOW - timedelta(days=1))
    happen(store, NOW, EventKind.SOURCE_DOWN, source="full")
    happen(store, minutes(0.5), EventKind.LOSS, source="full")
    turn(one, store, minutes(0.9))
    assert post.sent == []
    turn(one, store, minutes(1))
    assert [message.document["counts"] for message in post.sent] == [{"source-down": 1, "loss": 1}]
    happen(store, minutes(1.5), EventKind.LOSS, source="other")
    for at in (2.6, 4, 5.9):
        turn(one, store, minutes(at))
    assert len(post.sent) == 1
    turn(one, store, minutes(6.1))
    assert post.sent[1].document["counts"] == {"loss": 1}
    turn(one, store, minutes(60))
    assert len(post.sent) == 2


def test_counts_and_peers_and_a_link_are_all(store: RemapStore) -> None:
    """Without details nothing of a SIP message is sent: how many, who reported them, how many wait, where to look."""
    post = Post()
    one = queue(post, 'link = "https://sip1.example.net/review"\nwait = "0s"\npause = "0s"\n')
    turn(one, store, NOW)
    store.sighted("sip:alice@old.example", "sip:alice@new.example")
    store.sighted("sip:bob@old.example", "sip:bob@evil.example", peer=STRANGER)
    turn(one, store, minutes(1))
    (message,) = post.sent
    assert message.document["waiting"] == 2
    assert {row["peer"] for row in message.document["peers"]} == {"udp:192.0.2.10:5060", f"udp:{STRANGER}:5060"}
    assert "alice" not in str(message)
    assert "example" not in str(message).replace("sip1.example.net", "")
    assert message.text.endswith("See https://sip1.example.net/review")


def test_details_are_plain_text(store: RemapStore) -> None:
    """With details, a hostile URI is text: no link, no mention, no markup, no line of its own."""
    post = Post()
    one = queue(post, 'details = true\nwait = "0s"\npause = "0s"\n')
    turn(one, store, NOW)
    store.sighted("sip:*a_b*~c@old.example", "sip:%40here@www.evil.example;u=http://evil.example")
    turn(one, store, minutes(1))
    (message,) = post.sent
    line = next(line for line in message.text.splitlines() if line.startswith("- pending"))
    assert "sip[:]" in line
    assert not set("<>@*_`[]|\n") & set(line.replace("[:]", "").replace("[.]", "").replace("[at]", ""))
    assert "www.evil" not in message.text
    assert "http:" not in message.text


@pytest.mark.parametrize(
    "text", ["<!channel>", "@here", "[x](http://a.b)", "a\nb\x1b[2J", "\u202etxt.exe", "<b>&amp;", "www.x.y", "*_~`|"]
)
def test_plain_text_is_dead(text: str) -> None:
    """Nothing with a meaning in a chat, a mail or a terminal is left."""
    shown = plain(text).replace("[.]", "").replace("[:]", "").replace("[at]", "")
    assert shown.isascii()
    assert shown.isprintable()
    assert not set("<>@*_`[]|&:.()!#\"'\\~") & set(shown)


def test_a_filter_restricts_remaps(store: RemapStore) -> None:
    """The words of `pending`: only remaps of the filter are told and counted; a source that is down is none of them."""
    post = Post()
    one = queue(post, 'flag = "untrusted"\nwait = "0s"\npause = "0s"\n')
    turn(one, store, NOW)
    store.sighted("sip:alice@old.example", "sip:alice@new.example")
    turn(one, store, minutes(1))
    assert post.sent == []
    store.sighted("sip:bob@old.example", "sip:bob@new.example", peer=STRANGER)
    happen(store, NOW, EventKind.SOURCE_DOWN, source="full")
    happen(store, NOW, EventKind.APPROVED, remap_id=2)
    turn(one, store, minutes(2))
    (message,) = post.sent
    assert message.document["counts"] == {"pending": 1, "source-down": 1}
    assert message.document["waiting"] == 1


def test_what_fails_is_sent_again_with_the_same_id(store: RemapStore) -> None:
    """A refused message is tried again with growing pauses, the same one, and later events come in the next."""
    post = Post()
    post.refuses = 2
    one = queue(post, 'wait = "0s"\npause = "0s"\n')
    turn(one, store, NOW)
    happen(store, NOW)
    at = datetime.now(UTC)
    turn(one, store, at)
    happen(store, NOW, EventKind.ALARM)
    turn(one, store, at)
    assert len(post.sent) == 1, "a pause comes first"
    with store.database.read() as connection:
        state = load_state(connection, "team")
    assert state is not None
    assert (state.attempts, state.error, state.lease) == (1, "it answered 500", "")
    later = at + timedelta(hours=1)
    turn(one, store, later)
    turn(one, store, later + timedelta(hours=1))
    turn(one, store, later + timedelta(hours=2))
    assert [message.document["counts"] for message in post.sent] == [{"loss": 1}] * 3 + [{"alarm": 1}]
    assert len({message.number for message in post.sent[:3]}) == 1
    assert post.sent[3].number != post.sent[0].number


def test_status_shows_what_could_not_be_delivered(store: RemapStore) -> None:
    """The status document has each configured receiver whose message failed, and no longer once it was delivered."""
    post = Post()
    post.refuses = 1
    config = parse('node = "sip1"\n[[notify]]\nname = "team"\n[[notify]]\nname = "other"\n', Path("redirectd.toml"))
    one = queue(post, 'wait = "0s"\npause = "0s"\n', clock=lambda: NOW)
    turn(one, store, NOW - timedelta(days=1))
    happen(store, NOW)
    turn(one, store, NOW)
    assert without_daemon(store.database, config, NOW)["undelivered"] == [
        {"name": "team", "attempts": 1, "error": "it answered 500", "next_try": rfc3339(NOW + FIRST_RETRY)}
    ]
    assert without_daemon(store.database, parse("", Path("redirectd.toml")), NOW)["undelivered"] == []
    turn(one, store, NOW + FIRST_RETRY)
    assert without_daemon(store.database, config, NOW)["undelivered"] == []


def test_one_node_of_the_fleet_sends(store: RemapStore) -> None:
    """Several nodes with the same table: each message comes once, from whichever is first; a dead node's lease ends."""
    post, dead = Post(), Post()
    nodes = [queue(post, 'wait = "0s"\npause = "0s"\n', holder) for holder in "abc"]
    for one in nodes:
        turn(one, store, NOW)
    happen(store, NOW)
    for one in nodes:
        turn(one, store, minutes(1))
    assert len(post.sent) == 1
    happen(store, minutes(2))
    dying = queue(dead, 'wait = "0s"\npause = "0s"\n', "d")
    dying._deliver = lambda *_: None  # type: ignore[method-assign] # killed while it sends
    at = datetime.now(UTC) + timedelta(minutes=10)
    turn(dying, store, at)
    turn(nodes[0], store, at + timedelta(seconds=1))
    assert len(post.sent) == 1, "the lease holds"
    turn(nodes[1], store, at + notifications.LEASE + timedelta(seconds=1))
    turn(nodes[2], store, at + notifications.LEASE + timedelta(seconds=1))
    assert len(post.sent) == 2


def test_a_daily_reminder_while_something_waits(store: RemapStore) -> None:
    """A day after the last message what still waits is said again; where nothing waits, nothing is."""
    post = Post()
    one = queue(post, 'wait = "0s"\npause = "0s"\n')
    now = datetime.now(UTC)
    turn(one, store, now)
    turn(one, store, now + timedelta(days=2))
    assert post.sent == []
    remap = store.sighted("sip:alice@old.example", "sip:alice@new.example")
    turn(one, store, now + timedelta(minutes=1))
    assert [message.document["reminder"] for message in post.sent] == [False]
    turn(one, store, now + timedelta(hours=23))
    assert len(post.sent) == 1
    turn(one, store, now + timedelta(hours=25))
    assert [message.document["reminder"] for message in post.sent] == [False, True]
    assert "1 remap waiting for review" in post.sent[1].title
    store.reject(remap.id)
    turn(one, store, now + timedelta(days=9))
    assert len(post.sent) == 2


def test_what_was_before_is_no_news(store: RemapStore) -> None:
    """Who is added to the configuration is not sent the events of the months before."""
    happen(store, NOW)
    post = Post()
    one = queue(post, 'wait = "0s"\npause = "0s"\n')
    for at in range(3):
        turn(one, store, minutes(at))
    assert post.sent == []
