"""Several nodes on one PostgreSQL or MariaDB: who waits for another's lock, and who does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from threading import Barrier, Event

import pytest
from sqlalchemy import Connection, select

from redirectd.collect.batch import Batch, Quarantined
from redirectd.collect.policy import Policy
from redirectd.collect.verdict import digest
from redirectd.dialects.frame import Peer
from redirectd.errors import BusyStoreError
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.review.holds import screen
from redirectd.store import audit, collecting, settings
from redirectd.store import database as database_module
from redirectd.store.collecting import record
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.states import Transition, move_all
from redirectd.store.turns import lock_keys
from tests.store.answers import NOW, POLICY, batch_of, commit, counters, remaps, whole
from tests.store.conftest import SERVERS, at_once

pytestmark = pytest.mark.parametrize("server_url", SERVERS, indirect=True)


def once(database: Database, work: Callable[[Connection], object]) -> None:
    """One transaction, which is not tried again."""
    with database.begin() as connection:
        work(connection)


@pytest.fixture
def impatient(server: Database, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Database]]:
    """Opens databases that wait for a lock for a second only."""
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 1_000)
    opened: list[Database] = []

    def another() -> Database:
        opened.append(Database(server_url))
        return opened[-1]

    yield another
    for one in opened:
        one.close()


def note_failures(database: Database, failed: Event) -> None:
    """Sets `failed` whenever a transaction of the database waits too long for a lock."""
    begin = database.begin

    @contextmanager
    def noted() -> Iterator[Connection]:
        try:
            with begin() as connection:
                yield connection
        except BusyStoreError:
            failed.set()
            raise

    database.begin = noted  # type: ignore[method-assign]


def test_nodes_wait_only_for_those_that_report_the_same(server: Database, impatient: Callable[[], Database]) -> None:
    """While a node stores a remap, another stores a sighting of another one, and none of the same."""
    other = impatient()
    with server.begin() as connection:
        record(connection, batch_of([whole(1)]), node="node", now=NOW)
        commit(other, whole(2, request_uri="sip:other@gw.test", contacts=(), peer=Peer("udp", "192.0.2.8", 5060)))
        with pytest.raises(BusyStoreError):
            commit(other, whole(3))
    assert commit(other, whole(3)).sightings == 1
    assert (counters(server)["events"], [one.calls for one in remaps(server)]) == (3, [2])


def test_who_waits_too_long_for_a_lock_tries_again(server: Database, impatient: Callable[[], Database]) -> None:
    """Four writers whose calls another has locked for longer than they wait for a lock lose nothing."""
    held, waiting = Event(), Barrier(5)

    def hold() -> None:
        with server.begin() as connection:
            lock_keys(connection, [whole(number).call_key for number in range(40)])
            connection.execute(select(1))  # PostgreSQL gets what it is not asked for with the next question
            held.set()
            waiting.wait()
            for writer in writers:
                failed[writer].wait(60)

    def write(writer: int) -> None:
        database = writers[writer]
        note_failures(database, failed[writer])
        held.wait()
        waiting.wait()
        for number in range(writer * 10, writer * 10 + 10):
            database.run(partial(store, number))

    def store(number: int, connection: Connection) -> None:
        record(connection, batch_of([whole(number)]), node="node", now=NOW)

    writers = {number: impatient() for number in range(4)}
    failed = {number: Event() for number in writers}
    assert at_once(hold, *(lambda number=number: write(number) for number in writers)) == [None] * 5
    (remap,) = remaps(server)
    assert (remap.calls, counters(server)["events"]) == (40, 40)


def test_r27_who_looks_at_what_waits_tries_again(server: Database, impatient: Callable[[], Database]) -> None:
    """R27: remaps that a node has locked for longer than the look at them waits for a lock are looked at then."""
    commit(server, whole(1))
    screening, failed = impatient(), Event()
    note_failures(screening, failed)
    with ThreadPoolExecutor(1) as pool:
        with server.begin() as connection:
            record(connection, batch_of([whole(2)]), node="node", now=NOW)
            looked_at = pool.submit(partial(screen, screening, POLICY))
            assert failed.wait(60)
        assert looked_at.result() == 1


def test_the_quarantine_is_locked_before_decisions(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that puts a remap back and has what can't be read meets no deadlock with who goes by the same order."""
    commit(server, whole(1))
    with server.begin() as connection:
        by = Decision(actor="tester", at=NOW - timedelta(minutes=30), reason="why", force=True)
        approved_one = decide.approve(connection, 1, by, Policy())
        move_all(connection, [Transition(approved_one, "expire", "over")], at=by.at, actor="tester")
    mixed = batch_of([whole(2, seen_at=NOW)])
    mixed.quarantined.append(Quarantined(1, "test", "why", b"bytes"))
    about_to_wait = Event()

    def locking(connection: Connection, keys: Iterable[str]) -> None:
        if (wanted := list(keys)) == [digest("quarantine")]:
            about_to_wait.set()
        lock_keys(connection, wanted)

    def store(connection: Connection) -> None:
        record(connection, mixed, node="node", now=NOW)

    monkeypatch.setattr(collecting, "lock_keys", locking)
    with ThreadPoolExecutor(1) as pool:
        with server.begin() as connection:
            lock_keys(connection, [digest("quarantine")])
            connection.execute(select(1))
            stored = pool.submit(partial(once, server, store))
            assert about_to_wait.wait(60)
            audit.append(connection, audit.AuditEntry(at=NOW, actor="tester", action="note"))
        stored.result()
    assert remaps(server)[0].state is State.PENDING


def test_a_position_waits_for_no_other_node(server: Database, impatient: Callable[[], Database]) -> None:
    """Who found nothing commits its position and its losses while another node stores sightings."""
    commit(server, whole(1))
    other = impatient()
    with server.begin() as connection:
        record(connection, batch_of([whole(2)]), node="node", now=NOW)
        connection.execute(select(1))
        with other.begin() as beside:
            record(beside, Batch("log", losses={"gap": 2}), node="other", now=NOW)
            settings.save_position(beside, "other", "log", {"offset": 7}, NOW)
    with server.read() as connection:
        assert settings.load_position(connection, "other", "log") == {"offset": 7}
