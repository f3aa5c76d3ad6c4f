"""Several nodes on one PostgreSQL or MariaDB: counters stay exact, and decisions take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier, Event

import pytest
from sqlalchemy import Connection, event, insert, select, text

from redirectd.collect.batch import Batch
from redirectd.errors import BusyStoreError, RedirectdError
from redirectd.review import decide
from redirectd.review.approvals import ContradictionError
from redirectd.review.decision import Decision
from redirectd.store import audit, migrate, settings
from redirectd.store import database as database_module
from redirectd.store.approved import approved
from redirectd.store.collecting import record
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import remap_incoming
from redirectd.store.turns import take_turn
from tests.store.answers import NOW, POLICY, batch_of, commit, counters, remaps, whole
from tests.store.conftest import SERVERS

pytestmark = pytest.mark.parametrize("server_url", SERVERS, indirect=True)


def at_once(*jobs: Callable[[], object]) -> list[object]:
    """Runs the jobs in threads that start together; gives results, or the errors that they raised."""
    start = Barrier(len(jobs))

    def run(job: Callable[[], object]) -> object:
        start.wait()
        try:
            return job()
        except RedirectdError as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def test_upgrades_at_once_take_turns(server_url: str) -> None:
    """Nodes that upgrade an empty database at the same moment all succeed; the tables are made once."""
    databases = [Database(server_url) for _ in range(3)]
    results = at_once(*(lambda one=one: migrate.upgrade(one) for one in databases))
    assert not [one for one in results if isinstance(one, RedirectdError)]
    assert [migrate.current(one) for one in databases] == [migrate.head()] * 3
    for one in databases:
        one.close()


def test_an_upgrade_is_committed_when_its_turn_ends(server_url: str) -> None:
    """Whoever gets the lock next finds the last revision: else it would run the last migration again, and fail."""
    if not server_url.startswith("mysql"):
        pytest.skip("PostgreSQL frees its lock with the transaction itself")
    database, other = Database(server_url), Database(server_url)
    found: list[str | None] = []

    def look(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "RELEASE_LOCK" in statement:
            found.append(migrate.current(other))

    event.listen(database.engine, "before_cursor_execute", look)
    migrate.upgrade(database)
    assert found == [migrate.head()]
    database.close()
    other.close()


def test_two_nodes_count_exactly(server: Database) -> None:
    """Two nodes tell different halves, in small batches, with some answers told by both: each is counted once."""

    def node(numbers: range) -> None:
        for begin in range(numbers.start, numbers.stop, 10):
            commit(server, *(whole(number) for number in range(begin, begin + 10)))

    assert at_once(lambda: node(range(100)), lambda: node(range(80, 180))) == [None, None]
    (remap,) = remaps(server)
    assert (remap.calls, remap.peer_calls) == (180, {"udp:192.0.2.7:5060": 180})
    assert counters(server)["events"] == 180


def test_r34_two_approvals_at_once_close_no_cycle(server: Database) -> None:
    """R34: A -> B and B -> A approved at the same moment: one is approved, the other refused with the cycle."""
    commit(
        server,
        whole(1, request_uri="sip:a@x.test", contacts=("<sip:b@x.test>",)),
        whole(2, request_uri="sip:b@x.test", contacts=("<sip:a@x.test>",)),
    )

    def approve(number: int) -> None:
        with server.begin() as connection:
            decide.approve(connection, number, Decision(actor="eva", at=NOW, reason="known"), POLICY)

    first, second = remaps(server)
    outcomes = at_once(lambda: approve(first.id), lambda: approve(second.id))
    assert [type(one) for one in outcomes if one is not None] == [ContradictionError]
    assert sorted(one.state for one in remaps(server)) == [State.APPROVED, State.PENDING]


def test_r35_one_decision_of_two_at_once_wins(server: Database) -> None:
    """R35: a remap approved and rejected at the same moment has one decision, and the audit's chain is whole."""
    commit(server, *(whole(number, contacts=(f"<sip:{number}@x.test>",)) for number in range(4)))

    def act(action: str, number: int) -> None:
        by = Decision(actor=action, at=NOW, reason="known")
        with server.begin() as connection:
            if action == "approve":
                decide.approve(connection, number, by, POLICY)
            else:
                decide.reject(connection, number, by)

    for one in remaps(server):
        outcomes = at_once(lambda one=one: act("approve", one.id), lambda one=one: act("reject", one.id))  # type: ignore[misc]
        assert sum(outcome is None for outcome in outcomes) == 1
    with server.read() as connection:
        assert audit.broken_at(connection) is None
        assert len(audit.entries_of(connection, 1)) >= 1


def test_odd_text_is_stored(server: Database) -> None:
    """R25: four-byte characters, surrogates and NUL come into a server's tables as into SQLite's."""
    commit(server, whole(1, text="\U0001f4de", contacts=('"\U0001f4de \x00\udcff" <sip:new@place.test>',)))
    (remap,) = remaps(server)
    assert "\U0001f4de" in remap.contacts[0].raw


def test_old_uris_keep_their_case(server: Database) -> None:
    """R24: users that differ in case alone are different, whatever the server's collation says."""
    commit(server, whole(1, request_uri="sip:Al@x.test"), whole(2, request_uri="sip:al@x.test"))
    one, other = remaps(server)
    with server.begin() as connection:
        decide.approve(connection, one.id, Decision(actor="eva", at=NOW, reason="known"), POLICY)
        decide.approve(connection, other.id, Decision(actor="eva", at=NOW, reason="known"), POLICY)
    assert [remap.state for remap in remaps(server)] == [State.APPROVED, State.APPROVED]


def test_r5_what_else_an_incoming_uri_led_to_is_found(server: Database) -> None:
    """R5: of many old URIs of one incoming URI a server gives a bounded sample, as SQLite does."""
    incoming = {"hash": "pub", "uri": "sip:pub@own.test", "forked": False, "calls": 1}
    commit(server, *(whole(number, request_uri=f"sip:gw{number}@x.test") for number in range(70)))
    first = remaps(server)[0]
    with server.begin() as connection:
        connection.execute(insert(remap_incoming), [incoming | {"remap_id": one.id} for one in remaps(server)])
        decide.approve(connection, first.id, Decision(actor="eva", at=NOW, reason="known"), POLICY)
    with server.read() as connection:
        [found] = approved(connection, now=NOW)
    assert (found.id, len(found.also_asked), found.approved_at) == (first.id, 7, NOW)
    assert found.old not in found.also_asked


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


def test_who_waits_too_long_for_a_lock_tries_again(server: Database, impatient: Callable[[], Database]) -> None:
    """Four writers whose turn does not come within the lock's time-out lose nothing: each answer is counted once."""
    held, waiting = Event(), Barrier(5)

    def hold() -> None:
        with server.begin() as connection:
            take_turn(connection, "collect")
            held.set()
            waiting.wait()
            for writer in writers:
                failed[writer].wait(60)

    def write(writer: int) -> None:
        database = writers[writer]
        begin = database.begin

        @contextmanager
        def noted() -> Iterator[Connection]:
            try:
                with begin() as connection:
                    yield connection
            except BusyStoreError:
                failed[writer].set()
                raise

        database.begin = noted  # type: ignore[method-assign]
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


def test_a_position_waits_for_no_other_node(server: Database, impatient: Callable[[], Database]) -> None:
    """Who found nothing commits its position and its losses while another node has the fleet-wide turn."""
    other = impatient()
    with server.begin() as connection:
        take_turn(connection, "collect")
        with other.begin() as beside:
            record(beside, Batch("log", losses={"gap": 2}), node="other", now=NOW)
            settings.save_position(beside, "other", "log", {"offset": 7}, NOW)
    with server.read() as connection:
        assert settings.load_position(connection, "other", "log") == {"offset": 7}


def test_a_database_keeps_one_connection_at_rest(server: Database) -> None:
    """What several threads needed at once is closed again: fifty nodes share a server's few connections."""
    inside = Barrier(3)

    def read() -> None:
        with server.read() as connection:
            connection.execute(select(1))
            inside.wait()

    assert at_once(read, read, read) == [None] * 3
    assert server.engine.pool.checkedin() == 1  # type: ignore[attr-defined]


def test_a_limit_for_everybody_hides_no_remap(server_url: str) -> None:
    """A MariaDB whose administrator cuts each SELECT to two rows gives all: what it hides would be unrouted."""
    if not server_url.startswith("mysql"):
        pytest.skip("PostgreSQL has no such limit")
    administrator, database = Database(server_url), Database(server_url)
    with administrator.read() as connection:
        connection.execute(text("SET GLOBAL sql_select_limit = 2"))
    try:
        with database.read() as connection:
            assert len(connection.execute(text("SELECT 1 UNION SELECT 2 UNION SELECT 3")).all()) == 3
    finally:
        with administrator.read() as connection:
            connection.execute(text("SET GLOBAL sql_select_limit = DEFAULT"))
        administrator.close()
        database.close()
