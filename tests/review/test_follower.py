"""What approved targets answer, read by a collector from a real log that grows, and shown by the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.errors import StoreError
from redirectd.review.decide import approve
from redirectd.review.decision import Decision
from redirectd.review.follower import Follower, Watch
from redirectd.review.target_health import failing, to_suspend
from redirectd.service.collector import Collector
from redirectd.store.database import Database
from redirectd.store.migrate import ensure
from tests.collect.logs import opener, received, record, request, response, sent
from tests.collect.wrapping import WRITERS as WRAPPINGS

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
DECIDED = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)
NEW = "sip:new@place.test"
KEY = b"a" * 64
BEFORE, AFTER = "Nov 22 16:29:00", "Nov 22 16:31:00"


class Followed:
    """A log that a collector reads beside its follower, with one remap learnt from it and approved at `DECIDED`."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.log, self.database = folder / "full.log", database
        self.opened: list[Collector] = []
        self.write(sent(request()), received(response("301 Moved", f"<{NEW}>")))
        self.read()
        by = Decision(actor="alice", at=DECIDED, reason="known")
        with database.begin() as connection:
            approve(connection, 1, by, Policy())

    def write(self, *messages: bytes) -> None:
        with self.log.open("ab") as log:
            log.write(b"".join(messages))

    def collector(self, log: Path | None = None) -> Collector:
        file = log or self.log
        dialects = registry.with_keys(registry.detect(file.read_bytes()), [KEY])
        reading = Reading(file.stem, dialects, UTC, Policy())
        companion = Follower(self.database, Watch(), clock=lambda: NOW)
        self.opened.append(
            Collector(
                opener(file),
                reading,
                self.database,
                node="here",
                clock=lambda: NOW,
                on_progress=lambda _progress: None,
                companion=companion,
            )
        )
        return self.opened[-1]

    def read(self, collector: Collector | None = None) -> Collector:
        """All that is there."""
        one = collector or self.collector()
        while one.pump().more:
            pass
        return one

    def figures(self) -> dict[int, int]:
        """Calls by status, of the one approved remap."""
        with self.database.read() as connection:
            return {one.status: one.calls for found in failing(connection).values() for one in found.figures}


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    database = Database(f"sqlite:///{tmp_path / 'redirectd.db'}")
    ensure(database)
    found = Followed(tmp_path, database)
    yield found
    for one in found.opened:
        one.source.close()
    database.close()


def call(
    number: int, status: str = "404 Not Found", uri: str = NEW, stamp: str = AFTER, method: str = "INVITE"
) -> bytes:
    """A request to the new URI and its answer."""
    name, branch = f"later-{number}", f"z9hG4bKPj{number:012}"
    asked = request(uri, method=method, call=name, branch=branch)
    answer = response(status, method=method, call=name, branch=branch)
    return sent(asked, stamp=stamp) + received(answer, stamp=stamp)


def test_404_410_and_604_of_an_approved_target_are_counted(followed: Followed) -> None:
    """Each status by calls, as they are appended to a log that was read before."""
    collector = followed.read()
    followed.write(call(1), call(2, "410 Gone"), call(3))
    followed.read(collector)
    followed.write(call(4, "604 Does Not Exist Anywhere"), call(5))
    followed.read(collector)
    assert followed.figures() == {404: 3, 410: 1, 604: 1}


@pytest.mark.parametrize(
    "told",
    [
        call(1, stamp=BEFORE),
        call(1, uri="sip:other@place.test"),
        call(1, "486 Busy Here"),
        call(1, method="MESSAGE"),
        received(response("404 Not Found", call="alone", branch="z9hG4bKPjalone00"), stamp=AFTER),
        sent(response("404 Not Found", call="ours", branch="z9hG4bKPjours000"), stamp=AFTER),
        record(status=404, buri="", call="weak", ts="1795365363.1"),
    ],
)
def test_what_says_nothing_of_the_target_is_not_counted(followed: Followed, told: bytes) -> None:
    """Older than the approval, another URI, another answer, no call, no request to it, and what this host sent."""
    followed.write(told)
    followed.read()
    assert followed.figures() == {}


def test_a_repeated_answer_counts_once(followed: Followed) -> None:
    """Retransmissions (17.2.1) and another logger's copy (R8) are one call, also in a later turn."""
    collector = followed.read()
    followed.write(call(1), call(1))
    followed.read(collector)
    followed.write(call(1))
    followed.read(collector)
    assert followed.figures() == {404: 1}


def test_nothing_is_counted_twice_over_a_restart(followed: Followed) -> None:
    """The figures and the position behind them are committed together, and what repeats a call then is known."""
    followed.write(call(1))
    followed.read()
    followed.read()
    assert followed.figures() == {404: 1}
    followed.write(call(1), call(2))
    followed.read()
    assert followed.figures() == {404: 2}


def test_r8_a_call_that_two_sources_tell_of_counts_once(followed: Followed) -> None:
    """R8: Asterisk's log and Kamailio's record of one call, read as two sources with one watch between them."""
    followed.write(call(1), call(2))
    followed.read()
    other = followed.log.with_name("kamailio.log")
    other.write_bytes(record(status=404, buri=NEW, call="later-1", ts="1795365363.1", key=KEY))
    followed.read(followed.collector(other))
    assert followed.figures() == {404: 2}


def test_an_answer_that_is_still_being_written_counts_when_it_is_whole(followed: Followed) -> None:
    """A message in two pieces, with the collector reading in between."""
    whole = call(1)
    assert b"SIP/2.0 404" in whole[:-100]
    collector = followed.read()
    followed.write(whole[: len(whole) - 100])
    followed.read(collector)
    assert followed.figures() == {}
    followed.write(whole[len(whole) - 100 :], call(2))
    followed.read(collector)
    assert followed.figures() == {404: 2}


def test_a_database_that_does_not_take_it_costs_nothing(followed: Followed) -> None:
    """What could not be committed is read again and counts once."""
    collector = followed.read()
    followed.write(call(1))
    begin = followed.database.begin

    def refuse() -> None:
        raise StoreError("database", "it is full", "make room")

    followed.database.begin = refuse  # type: ignore[method-assign, assignment] # a full disk, made here
    with pytest.raises(StoreError):
        followed.read(collector)
    followed.database.begin = begin  # type: ignore[method-assign] # and room again
    followed.read(collector)
    assert followed.figures() == {404: 1}


def test_a_kamailio_record_of_a_404_is_counted_by_its_branch_uri(followed: Followed) -> None:
    """The one-line record needs no search for its request; it comes from another source, of Kamailio (R38)."""
    log = followed.log.with_name("kamailio.log")
    log.write_bytes(record(status=404, buri=NEW, call="later-1", ts="1795365363.1", key=KEY))
    followed.read(followed.collector(log))
    assert followed.figures() == {404: 1}


@pytest.mark.parametrize("key", [None, b"b" * 64])
def test_r39_forged_404s_of_an_approved_target_count_nothing(followed: Followed, key: bytes | None) -> None:
    """R39: twelve records that no key of the source proves make no remap fail, so that none is suspended."""
    log = followed.log.with_name("kamailio.log")
    forged = [record(status=404, buri=NEW, call=f"evil-{n}", ts="1795365363.1", key=key) for n in range(12)]
    log.write_bytes(b"".join(forged))
    followed.read(followed.collector(log))
    assert followed.figures() == {}
    with followed.database.read() as connection:
        assert to_suspend(connection, Policy(suspend_failing_after=1)) == {}


def test_the_commands_show_it_first_with_its_figures(followed: Followed, tmp_path: Path) -> None:
    """`pending` begins with it, `list` and `show` flag it; it keeps routing where no suspension is configured."""
    followed.write(call(1), call(2))
    followed.read()
    config = tmp_path / "redirectd.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{tmp_path / "redirectd.db"}"\n')

    def shown(*arguments: str) -> Any:
        command = [sys.executable, "-m", "redirectd", "--config", str(config), *arguments, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)

    reason = "its target has answered 404 in 2 calls, last 2026-11-22T16:31:00Z"
    first = shown("pending")["remaps"][0]
    assert (first["state"], first["reasons"]["failing"]) == ("approved", reason)
    assert shown("list", "--flag", "failing")["remaps"][0]["id"] == first["id"]
    assert shown("show", "1")["flags"] == first["flags"]


@pytest.mark.parametrize("name", sorted(WRAPPINGS))
def test_a_wrapped_console_is_followed_as_it_is_read(followed: Followed, name: str) -> None:
    """A container's or the journal's log: what is in its consoles counts, in pieces and over a restart, once."""
    log = followed.log.with_name("wrapped.log")
    start = b"[Nov 22 16:00:00] Asterisk 22.10.1 built by root @ vm\n"
    lines = [line for text in (start, call(1), call(2), start) for line in WRAPPINGS[name](text, "stdout")]
    collector = followed.collector(log) if log.exists() else None
    for at in range(0, len(lines), 5):
        with log.open("ab") as out:
            out.write(b"".join(lines[at : at + 5]))
        collector = followed.read(collector or followed.collector(log))
    assert followed.figures() == {404: 2}
    followed.read(followed.collector(log))
    assert followed.figures() == {404: 2}
