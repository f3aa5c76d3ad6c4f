"""Notifications: grouped, sent once by one node of the fleet, repeated until they are delivered, holding up nothing.

How far somebody was notified is one row of the database. A node that has something to send takes a lease on it, sends
in a thread of its own, and writes down what came of it; where it dies meanwhile, the lease ends and another node sends
the same message again, with the same `id`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import structlog
from sqlalchemy import Connection

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import digest
from redirectd.config.model import Config
from redirectd.config.notify_section import NotifySection
from redirectd.errors import RedirectdError
from redirectd.review.page import Query, ids, passing
from redirectd.service.notice import Notice, compose
from redirectd.store import event_log
from redirectd.store.database import Database
from redirectd.store.event_log import EventKind, LoggedEvent
from redirectd.store.remap import State
from redirectd.store.settings import get_setting, put_setting
from redirectd.store.turns import take_turn

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
