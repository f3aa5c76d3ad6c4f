"""What the service itself does with events: notices sources that go down, logs each event, has people notified."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Connection

from redirectd.errors import StoreError
from redirectd.review.attention import report_attention
from redirectd.service.backpressure import Backoff
from redirectd.service.notifications import NotifyQueue
from redirectd.service.source_threads import ReaderReport, ReaderState
from redirectd.store import event_log
from redirectd.store.database import Database
from redirectd.store.event_log import EventKind, LoggedEvent, NewEvent
from redirectd.store.settings import get_setting, put_setting
from redirectd.store.turns import take_turn

_log = structlog.get_logger("redirectd.events")

POLL_SECONDS = 2.0
AT_ONCE = 200
"""Events that are logged between two commits: what a kill may log a second time, with the same cursor."""

DOWN_SECONDS = 10.0
"""How long a source can't be read before it is down: a rotated log is missing for a moment."""

_LOOK_EVERY = timedelta(minutes=1)
_DOWN_STATES = {ReaderState.WAITING, ReaderState.FAILED}
_LOGGED, _LOOKED, _DOWN = "events_logged", "attention_at", "sources_down"

_GRAVE = {
    EventKind.FAILING,
    EventKind.INEFFECTIVE,
    EventKind.STALE,
    EventKind.ROLLED_BACK,
    EventKind.SOURCE_DOWN,
    EventKind.LOSS,
    EventKind.ALARM,
}
_OF_NO_REMAP = {EventKind.ROLLED_BACK, EventKind.SOURCE_DOWN, EventKind.SOURCE_UP, EventKind.LOSS, EventKind.ALARM}


class Announcer:
    """One thread that polls the table of events. A database that is away only delays it."""

    def __init__(
        self,
        ready: Callable[[], Database],
        node: str,
        reports: Callable[[], Sequence[ReaderReport]],
        queues: Sequence[NotifyQueue] = (),
    ) -> None:
        """`ready` gives the database or raises StoreError; `reports` is what the sources are doing; `queues` are of
        those who are notified."""
        self._queues = queues
        self._ready = ready
        self._node = node
        self._reports = reports
        self._started_at = datetime.now(UTC)
        self._stopping = Event()
        self._since: dict[str, float] = {}
        self._thread = Thread(target=self._run, name="announcer", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Ends after the turn under way."""
        self._stopping.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        retrying = Backoff()
        with suppress(StoreError):  # else the first turn does it
            self._begin(self._ready())
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.turn(datetime.now(UTC))
                retrying.reset()
            except StoreError:  # the readers say so
                self._stopping.wait(retrying.delay())
            except Exception as error:  # noqa: BLE001 - a defect here must not end the reporting unseen
                _log.error("events_not_logged", exc_info=error)
                self._stopping.wait(retrying.delay())

    def turn(self, now: datetime) -> None:
        """Notices, then logs what is new. Raises StoreError."""
        database = self._ready()
        self._note_sources(database, now)
        self._note_attention(database, now)
        while self._log_some(database) and not self._stopping.is_set():
            pass
        for queue in self._queues:
            queue.turn(database, now)

    def _note_sources(self, database: Database, now: datetime) -> None:
        """Reports sources that went down or came back; the database knows which are down, also after a restart."""
        reports = {one.name: one for one in self._reports()}
        clock = monotonic()
        troubled = {name for name, one in reports.items() if one.state in _DOWN_STATES and one.error}
        self._since = {name: self._since.get(name, clock) for name in troubled}
        lasting = {name for name, since in self._since.items() if clock - since >= DOWN_SECONDS}
        with database.read() as connection:
            known = set(json.loads(get_setting(connection, self._node, _DOWN) or "[]"))
        reading = {name for name, one in reports.items() if one.state is ReaderState.READING}
        down, up = lasting - known, known & reading
        after = (known | down) - up - (known - reports.keys())
        if after == known:
            return
        found = [self._source_event(EventKind.SOURCE_DOWN, reports[name], now) for name in sorted(down)]
        found += [self._source_event(EventKind.SOURCE_UP, reports[name], now) for name in sorted(up)]
        with database.begin() as connection:
            put_setting(connection, self._node, _DOWN, json.dumps(sorted(after)))
            event_log.emit(connection, found)

    def _source_event(self, kind: EventKind, report: ReaderReport, now: datetime) -> NewEvent:
        detail = {"reason": report.error, "what_to_do": report.what_to_do} if report.error else {}
        return NewEvent(kind=kind, at=now, node=self._node, source=report.name, detail=detail)

    def _note_attention(self, database: Database, now: datetime) -> None:
        """Once a minute in the whole fleet, whichever node comes first."""
        with database.read() as connection:
            looked = get_setting(connection, "", _LOOKED)
        if looked and timedelta(0) <= now - datetime.fromisoformat(looked) < _LOOK_EVERY:
            return
        with database.begin() as connection:
            take_turn(connection, "attention")
            put_setting(connection, "", _LOOKED, now.isoformat())
        report_attention(database, now=now)

    def _log_some(self, database: Database) -> bool:
        """Logs the next events and commits that they are logged; whether there may be more.

        Records come before the commit: a kill in between repeats some with the cursor they had, and loses none.
        """
        self._begin(database)
        with database.read() as connection:
            if event_log.newest(connection) <= self._logged(connection):
                return False
        with database.begin() as connection:
            take_turn(connection, "events logged")
            found = event_log.read(connection, since=self._logged(connection), limit=AT_ONCE)
            for one in found:
                log_event(one)
            if found:
                put_setting(connection, "", _LOGGED, str(found[-1].cursor))
        return len(found) == AT_ONCE

    def _begin(self, database: Database) -> None:
        """Commits where logging begins before anything is logged: the service after a killed one begins there, too."""
        with database.read() as connection:
            if get_setting(connection, "", _LOGGED) is not None:
                return
        with database.begin() as connection:
            take_turn(connection, "events logged")
            if get_setting(connection, "", _LOGGED) is None:
                since = event_log.newest(connection, earlier_than=self._started_at)
                put_setting(connection, "", _LOGGED, str(since))

    def _logged(self, connection: Connection) -> int:
        return int(get_setting(connection, "", _LOGGED) or 0)


def log_event(one: LoggedEvent) -> None:
    """One structured record, such as `remap_pending` or `source_down`."""
    name = one.kind.value.replace("-", "_")
    if one.kind not in _OF_NO_REMAP:
        name = f"remap_{name}"
    known = {"id": one.remap_id, "node": one.node, "source": one.source, "actor": one.actor}
    fields: Mapping[str, Any] = {**one.detail, **{key: value for key, value in known.items() if value}}
    write = _log.warning if one.kind in _GRAVE else _log.info
    write(name, cursor=one.cursor, at=one.at.isoformat(), **fields)
