"""Notifications: grouped, sent once by one node of the fleet, repeated until they are delivered, holding up nothing.

How far somebody was notified is one row of the database. A node that has something to send takes a lease on it, sends
in a thread of its own, and writes down what came of it; where it dies meanwhile, the lease ends and another node sends
the same message again, with the same `id`. What a message says is plain text, in which nothing of SIP is alive.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from threading import Thread
from typing import Any

import structlog
from sqlalchemy import Connection, func, select

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import digest
from redirectd.config.model import Config
from redirectd.config.sections import NotifySection
from redirectd.errors import RedirectdError
from redirectd.review.page import Query, ids, passing
from redirectd.store import event_log
from redirectd.store.database import Database
from redirectd.store.event_log import EventKind, LoggedEvent
from redirectd.store.remap import State
from redirectd.store.schema import remap_peer
from redirectd.store.settings import get_setting, put_setting
from redirectd.store.statements import chunks
from redirectd.store.turns import take_turn
from redirectd.times import rfc3339

MOST_PEERS = 5
MOST_SHOWN = 20
"""Events that a message with details has one by one."""

_LONGEST = 300
_LIVE = re.compile(r"[^A-Za-z0-9 ;=+,\-/?%]")
_ADDRESS = re.compile(r"(?:[a-z]{2,4}:)?(\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]+|[0-9.]+)(?::[0-9]{1,5})?")
_SPELT = {".": "[.]", "@": "[at]", ":": "[:]"}

_SAYS: Mapping[EventKind, tuple[str, str]] = {
    EventKind.PENDING: ("remap is new for review", "remaps are new for review"),
    EventKind.AGREED: ("remap needs another approval", "remaps need another approval"),
    EventKind.APPROVED: ("remap was approved", "remaps were approved"),
    EventKind.REJECTED: ("remap was rejected", "remaps were rejected"),
    EventKind.REVOKED: ("approval was revoked", "approvals were revoked"),
    EventKind.SUPERSEDED: ("remap was superseded", "remaps were superseded"),
    EventKind.EXPIRED: ("remap expired", "remaps expired"),
    EventKind.FAILING: ("approved remap fails", "approved remaps fail"),
    EventKind.INEFFECTIVE: ("installed remap is bypassed", "installed remaps are bypassed"),
    EventKind.STALE: ("approved remap is past its review date", "approved remaps are past their review date"),
    EventKind.ROLLED_BACK: ("generation was rolled back", "generations were rolled back"),
    EventKind.SOURCE_DOWN: ("source is down", "sources are down"),
    EventKind.SOURCE_UP: ("source is back", "sources are back"),
    EventKind.LOSS: ("kind of loss", "kinds of loss"),
    EventKind.ALARM: ("alarm", "alarms"),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification. `number` is the same when it is sent again, and `document` is what a webhook gets."""

    number: str
    title: str
    text: str
    document: Mapping[str, Any]


def plain(text: str, limit: int = _LONGEST) -> str:
    """Text of the network for a chat or a mail: no link, mention or markup can come of it.

    Dots, colons and at signs are spelt as ``[.]``, ``[:]`` and ``[at]``; other characters with a meaning somewhere are
    percent-escaped, what is not ASCII by its number.
    """
    cut = text if len(text) <= limit else text[:limit] + " (cut)"
    return _LIVE.sub(_spelt, cut)


def _spelt(found: re.Match[str]) -> str:
    char = found[0]
    if char in _SPELT:
        return _SPELT[char]
    return f"%{ord(char):02X}" if ord(char) < 0x80 else f"%U{ord(char):X}"


def compose(
    connection: Connection,
    number: str,
    found: Sequence[LoggedEvent],
    waiting: int,
    *,
    node: str,
    link: str | None,
    details: bool,
) -> Notice:
    """The message of some events, or where there are none, the reminder of what waits."""
    counts = Counter(one.kind for one in found)
    peers = _peers(connection, [one.remap_id for one in found if one.remap_id is not None])
    said = [f"{count} {_SAYS[kind][count != 1]}" for kind in EventKind if (count := counts[kind])]
    title = f"redirectd on {node}: " + (", ".join(said[:3]) or f"{_remaps(waiting)} waiting for review")
    lines = [f"{line}." for line in said]
    if peers:
        lines.append("Reported by " + ", ".join(f"{_peer(peer)} ({count})" for peer, count in peers) + ".")
    lines.append(f"{_remaps(waiting)} waiting for review in all.")
    if details:
        lines += [_line(one) for one in found[:MOST_SHOWN]]
        lines += [f"and {len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
    lines.append(f"See {link}" if link else "See: redirectd review, redirectd status")
    text = "\n".join(lines)
    document: dict[str, Any] = {
        "id": number,
        "title": title,
        "text": text,
        "node": node,
        "reminder": not found,
        "counts": {kind.value: count for kind, count in counts.items()},
        "waiting": waiting,
        "peers": [{"peer": _peer(peer), "remaps": count} for peer, count in peers],
        "link": link,
    }
    if details:
        document["events"] = [event_log.document(one) for one in found[:MOST_SHOWN]]
    return Notice(number, title, text, document)


def _remaps(count: int) -> str:
    return f"{count:,} remap{'' if count == 1 else 's'}"


def _peers(connection: Connection, numbers: Sequence[int]) -> list[tuple[str, int]]:
    """Who reported the most of these remaps."""
    counted: Counter[str] = Counter()
    for part in chunks(set(numbers)):
        query = select(remap_peer.c.peer, func.count()).where(remap_peer.c.remap_id.in_(part))
        counted.update({str(peer): int(count) for peer, count in connection.execute(query.group_by(remap_peer.c.peer))})
    return counted.most_common(MOST_PEERS)


def _peer(text: str) -> str:
    """An address as it is, with its transport and port; anything else may be a text of the network."""
    found = _ADDRESS.fullmatch(text)
    try:
        ip_address(found[1].strip("[]") if found else "")
    except ValueError:
        return plain(text, 80)
    return text


def _line(one: LoggedEvent) -> str:
    parts = [one.kind.value, f"{one.remap_id}" if one.remap_id else plain(one.source)]
    if old := one.detail.get("old_uri"):
        parts.append(f"{plain(str(old))} to {plain(str(one.detail.get('new_uri') or 'a choice of Contacts'))}")
    parts += [plain(str(one.detail[name])) for name in ("what", "why", "reason") if one.detail.get(name)]
    return "- " + ", ".join(part for part in parts if part)


def test_message(node: str, now: datetime) -> Notice:
    """A message that nothing has happened for."""
    title = f"redirectd on {node}: test"
    text = "This is a test: notifications arrive."
    document = {"id": f"test {rfc3339(now)}", "title": title, "text": text, "node": node, "test": True}
    return Notice(str(document["id"]), title, text, document)


_log = structlog.get_logger("redirectd.notify")

LEASE = timedelta(seconds=120)
"""Longer than a delivery takes."""

MOST_EVENTS = 5_000
"""Events of one message; what is left is in the next."""

FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=15), timedelta(hours=1)

Send = Callable[[NotifySection, Config, Notice], None]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class NotifyState:
    """How far somebody was notified. Times are RFC 3339; empty is never.

    `cursor` is of the last event dealt with, `until` that of the last one of a message under way (-1: none);
    `attempts` of it have failed, the last with `error`.
    """

    cursor: int
    sent_at: str
    until: int = -1
    attempts: int = 0
    next_try: str = ""
    lease: str = ""
    holder: str = ""
    error: str = ""


class NotifyQueue:
    """What is to be sent to one receiver. `turn` is called every few seconds and never waits for the receiver."""

    def __init__(
        self, section: NotifySection, config: Config, send: Send, holder: str, clock: Callable[[], datetime] = _now
    ) -> None:
        """`holder` names this process among all nodes; `clock` gives the time when a delivery ends."""
        self._clock = clock
        self._started_at = clock()
        self.section = section
        self._config = config
        self._policy: Policy = config.rules()
        self._send = send
        self._holder = holder
        self._thread: Thread | None = None

    def turn(self, database: Database, now: datetime) -> None:
        """Begins to send what is due, unless a delivery is still under way. Raises StoreError."""
        if self._thread is not None and self._thread.is_alive():
            return
        with database.read() as connection:
            state = load_state(connection, self.section.name)
            found: list[LoggedEvent] = []
            if state is None:  # what happened before somebody was to be notified is not news
                seen = event_log.newest(connection, earlier_than=self._started_at)
                after = NotifyState(seen, now.isoformat())
            elif self._may_be_due(connection, state, now):
                after, found = self._next(connection, state, now)
            else:
                return
        if after == state or not self._write(database, state, after):
            return
        if after.lease:
            number = digest("notify", self.section.name, str(after.until), after.sent_at)[:16]
            self._thread = Thread(target=self._deliver, args=(database, number, found), name="notify", daemon=True)
            self._thread.start()

    def _write(self, database: Database, before: NotifyState | None, after: NotifyState) -> bool:
        """Writes the state, unless another node was quicker; whether it did."""
        with database.begin() as connection:
            take_turn(connection, f"notify {digest(self.section.name)[:16]}")
            if load_state(connection, self.section.name) != before:
                return False
            _save(connection, self.section.name, after)
            return True

    def _may_be_due(self, connection: Connection, state: NotifyState, now: datetime) -> bool:
        """What can be said cheaply: nearly always nothing is."""
        if _after(state.lease, now) or _after(state.next_try, now):
            return False
        if state.until >= 0 or self._remind_at(state) <= now:
            return True
        return _time(state.sent_at) + self.section.pause <= now and event_log.newest(connection) > state.cursor

    def _next(self, connection: Connection, state: NotifyState, now: datetime) -> tuple[NotifyState, list[LoggedEvent]]:
        """The state with the lease on the message that is due, where one is, and its events; none is a reminder."""
        found, seen = self._news(connection, state, now)
        leased = replace(state, lease=(now + LEASE).isoformat(), holder=self._holder)
        if state.until >= 0:
            return leased, found
        if not found:
            return (replace(leased, until=seen) if self._remind_at(state) <= now else replace(state, cursor=seen)), []
        is_due = found[0].at + self.section.wait <= now and _time(state.sent_at) + self.section.pause <= now
        return (replace(leased, until=seen) if is_due else state), found

    def _news(self, connection: Connection, state: NotifyState, now: datetime) -> tuple[list[LoggedEvent], int]:
        """The events to send after the state's cursor, and the cursor that was looked at."""
        read = event_log.read(connection, since=state.cursor, limit=MOST_EVENTS)
        if state.until >= 0:
            read = [one for one in read if one.cursor <= state.until]
        kinds = {EventKind(name) for name in self.section.events}
        found = [one for one in read if one.kind in kinds]
        query = self._query((), now)
        if not query.is_open:
            numbers = list({one.remap_id for one in found if one.remap_id is not None})
            kept = set(passing(connection, query, self._policy, numbers)) if numbers else set()
            found = [one for one in found if one.remap_id is None or one.remap_id in kept]
        return found, read[-1].cursor if read else state.cursor

    def _waiting(self, connection: Connection, now: datetime) -> int:
        """How many remaps of the filter wait for review."""
        return len(ids(connection, self._query((State.PENDING,), now), self._policy))

    def _query(self, states: Sequence[State], now: datetime) -> Query:
        section = self.section
        return Query(
            states=states,
            kind=section.remap_kind,
            peer=section.peer,
            domain=section.domain,
            flag=section.flag,
            seen_before=None if section.older_than is None else now - section.older_than,
            now=now,
        )

    def _remind_at(self, state: NotifyState) -> datetime:
        wanted = self.section.remind and EventKind.PENDING.value in self.section.events
        return _time(state.sent_at) + self.section.remind if wanted else datetime.max.replace(tzinfo=UTC)

    def _deliver(self, database: Database, number: str, found: Sequence[LoggedEvent]) -> None:
        """Sends a message and writes down what came of it. In a thread of its own."""
        error: RedirectdError | None = None
        is_sent = True
        try:
            message = self._compose(database, number, found)
            is_sent = bool(found) or message.document["waiting"] > 0
            if is_sent:
                self._send(self.section, self._config, message)
        except RedirectdError as refused:
            error = refused
        except Exception as defect:  # noqa: BLE001 - a library's defect must be seen, and tried again
            error = RedirectdError(f"notify {self.section.name}", type(defect).__name__, "report this as a fault")
        try:
            with database.begin() as connection:
                take_turn(connection, f"notify {digest(self.section.name)[:16]}")
                attempts = self._finish(connection, error, self._clock())
        except RedirectdError as away:
            _log.warning("notification_not_noted", notify=self.section.name, id=number, why=away.why)
            return
        if error is None and is_sent:
            _log.info("notification_sent", notify=self.section.name, id=number)
        if error is not None:
            known = {"where": error.where, "why": error.why, "what_to_do": error.what_to_do}
            _log.warning("notification_failed", notify=self.section.name, id=number, attempts=attempts, **known)

    def _compose(self, database: Database, number: str, found: Sequence[LoggedEvent]) -> Notice:
        with database.read() as connection:
            return compose(
                connection,
                number,
                found,
                self._waiting(connection, self._clock()),
                node=self._config.node,
                link=self.section.link,
                details=self.section.details,
            )

    def _finish(self, connection: Connection, error: RedirectdError | None, now: datetime) -> int:
        """Ends the lease; the count of failed attempts. Where it was lost to another node, that node's word counts."""
        state = load_state(connection, self.section.name)
        if state is None or state.holder != self._holder or state.until < 0:
            return 0
        if error is None:
            state = NotifyState(max(state.cursor, state.until), now.isoformat())
        else:
            pause = min(FIRST_RETRY * 2 ** min(state.attempts, 12), LONGEST_RETRY)
            tried = {"attempts": state.attempts + 1, "next_try": (now + pause).isoformat(), "error": error.why}
            state = replace(state, lease="", holder="", **tried)
        _save(connection, self.section.name, state)
        return state.attempts


def load_state(connection: Connection, name: str) -> NotifyState | None:
    """How far somebody was notified; None before the first look."""
    value = get_setting(connection, "", _name(name))
    return None if value is None else NotifyState(**json.loads(value))


def undelivered(connection: Connection, names: Iterable[str]) -> list[dict[str, Any]]:
    """Of these who are notified, those whose last message could not be delivered, as the status document has them."""
    states = [(name, load_state(connection, name)) for name in names]
    return [
        {
            "name": name,
            "attempts": state.attempts,
            "error": state.error,
            "next_try": _time(state.next_try) if state.next_try else None,
        }
        for name, state in states
        if state is not None and state.attempts
    ]


def _save(connection: Connection, name: str, state: NotifyState) -> None:
    put_setting(connection, "", _name(name), json.dumps(asdict(state)))


def _name(name: str) -> str:
    return f"notify:{digest(name)}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _after(text: str, now: datetime) -> bool:
    return bool(text) and _time(text) > now
