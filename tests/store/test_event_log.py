"""The table of events: a reader with a cursor misses none and sees none twice, whoever writes meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import func, select

from redirectd.store import event_log
from redirectd.store.database import Database
from redirectd.store.event_log import EventKind, NewEvent
from redirectd.store.schema import event_log as table
from tests.store.conftest import SERVERS

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_what_has_a_key_is_written_once(database: Database) -> None:
    """The same finding again writes nothing, and does not take a cursor from the others."""
    for _ in range(3):
        with database.begin() as connection:
            found = NewEvent(kind=EventKind.FAILING, at=NOW, remap_id=1, key="failing 1")
            event_log.emit(connection, [found, NewEvent(kind=EventKind.PENDING, at=NOW, remap_id=2)])
    with database.read() as connection:
        kinds = [one.kind for one in event_log.read(connection)]
    assert kinds.count(EventKind.FAILING) == 1
    assert kinds.count(EventKind.PENDING) == 3


def test_losses_and_alarms_are_bounded_by_the_hour(database: Database) -> None:
    """R46: whatever a peer sends, one event an hour for each kind and source of a node."""
    for minute in range(0, 120, 10):
        with database.begin() as connection:
            at = NOW + timedelta(minutes=minute)
            event_log.losses(connection, node="a", source="full", counts={"forged": 7, "gap": 0}, now=at)
            event_log.alarm(connection, node="a", source="full", what="over-budget", why="too many", now=at)
    with database.read() as connection:
        found = event_log.read(connection)
    assert [(one.kind, one.at) for one in found] == [
        (kind, NOW + timedelta(hours=hour)) for hour in range(2) for kind in (EventKind.LOSS, EventKind.ALARM)
    ]
    assert found[0].detail == {"what": "forged", "count": 7}


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
def test_a_reader_misses_none_while_others_write(server: Database) -> None:
    """Events of several writers at once are committed in the order of their cursors, on PostgreSQL and MariaDB."""
    writers, each = 4, 25

    def write(name: str) -> None:
        for number in range(each):
            with server.begin() as connection:
                event_log.emit(connection, [NewEvent(kind=EventKind.PENDING, at=NOW, actor=f"{name} {number}")])
                connection.execute(select(func.count()).select_from(table))

    threads = [Thread(target=write, args=(str(name),)) for name in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    cursor = 0
    while len(seen) < writers * each:
        alive = any(thread.is_alive() for thread in threads)
        with server.read() as connection:
            found = event_log.read(connection, since=cursor, limit=10)
        seen += [one.actor for one in found]
        cursor = found[-1].cursor if found else cursor
        assert found or alive, f"{writers * each - len(seen)} were missed"
    for thread in threads:
        thread.join()
    assert len(set(seen)) == len(seen)
