"""Several nodes on one PostgreSQL or MariaDB: counters stay exact, and decisions take turns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select, text

from redirectd.collect.answer import CUT, UNPAIRED, WEAK, Answer
from redirectd.collect.batch import Batch
from redirectd.collect.policy import Policy
from redirectd.dialects.frame import Authenticity, Peer
from redirectd.errors import RedirectdError, StoreError
from redirectd.review import decide
from redirectd.review.approvals import ContradictionError
from redirectd.review.decision import Decision
from redirectd.store import audit, migrate
from redirectd.store.approved import approved
from redirectd.store.collecting import record
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import event as events
from redirectd.store.schema import key_lock, refusal, remap, remap_incoming, remap_method, remap_peer
from tests.store.answers import NOW, POLICY, batch_of, commit, counters, remaps, whole
from tests.store.conftest import SERVERS, at_once

pytestmark = pytest.mark.parametrize("server_url", SERVERS, indirect=True)


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


KINDS: dict[str, dict[str, Any]] = {
    "weak": {"rank": WEAK, "fork": "", "cseq": None, "peer": None, "authenticity": Authenticity.UNPROVEN},
    "unpaired": {"rank": UNPAIRED, "request_uri": None, "peer": None},
    "cut": {"rank": CUT, "faults": ("the Contact is cut off",), "peer": Peer("", "192.0.2.7")},
    "unkeyed": {"authenticity": Authenticity.UNKEYED},
    "framed": {},
    "proven": {"authenticity": Authenticity.PROVEN},
}
"""What different logs report of one answer."""


def _reported(seed: int, writers: int) -> list[list[Batch]]:
    """What each writer reports: the same few calls of few remaps, each in several ways, and retracted copies."""
    by_chance = Random(seed)
    found: list[list[Batch]] = []
    for writer in range(writers):
        batches: list[Batch] = []
        copies: list[Answer] = []
        for turn in range(12):
            ways = {number: by_chance.choice(list(KINDS)) for number in by_chance.sample(range(30), 4)}
            answers = [
                whole(number, **{"request_uri": f"sip:u{number % 3}@gw.test"} | KINDS[way])
                for number, way in ways.items()
            ]
            copy = whole(100 + writer + turn % 4 * writers, request_uri=f"sip:u{turn % 3}@gw.test", fork=f"{turn}")
            batch = batch_of([*answers, copy])
            if copies and turn % 2:
                batch.retracted.add(copies.pop(0).move_key)
            copies.append(copy)
            batches.append(batch)
        found.append(batches)
    return found


def _stored(database: Database) -> dict[str, Any]:
    """Every counter, whatever the ids."""
    found: dict[str, Any] = {}
    with database.read() as connection:
        for table in (remap_peer, remap_method):
            columns = [column for column in table.c if column.name not in {"remap_id", "first_seen", "last_seen"}]
            rows = connection.execute(select(remap.c.old_key, *columns).join(remap)).all()
            found[table.name] = sorted(str(row) for row in rows)
        columns = [remap.c[name] for name in ("old_uri", "new_uri", "calls", "flags")]
        found["remap"] = sorted(str(row) for row in connection.execute(select(*columns)))
        columns = [refusal.c[name] for name in ("rule", "old_uri", "calls")]
        found["refusal"] = sorted(str(row) for row in connection.execute(select(*columns)))
        found["event"] = sorted(str(row) for row in connection.execute(select(events.c.key, events.c.rank)))
        found["locks"] = connection.scalar(select(func.count()).select_from(key_lock))
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_r8_writers_at_once_count_as_one_after_the_other(server: Database, database: Database, seed: int) -> None:
    """R8: four nodes that report the same calls in better and worse ways leave what one after the other leaves."""
    reported = _reported(seed, 4)

    def store(batch: Batch, connection: Connection) -> None:
        record(connection, replace(batch, losses={}), node="node", now=NOW)

    def write(batches: list[Batch]) -> None:
        for batch in batches:
            server.run(partial(store, batch))

    for batches in reported:
        for batch in batches:
            database.run(partial(store, batch))
    assert at_once(*(partial(write, batches) for batches in reported)) == [None] * 4
    assert _stored(server) == _stored(database)


def test_r46_two_nodes_share_one_budget(server: Database) -> None:
    """R46: new remaps of one peer that several nodes report at once are no more than its budget."""
    policy = Policy(new_per_peer=10)

    def store(numbers: range, connection: Connection) -> None:
        batch = batch_of([whole(number, request_uri=f"sip:u{number}@gw.test") for number in numbers])
        record(connection, replace(batch, policy=policy), node="node", now=NOW)

    def write(begin: int) -> None:
        for number in range(begin, begin + 12, 3):
            server.run(partial(store, range(number, number + 3)))

    assert at_once(*(partial(write, begin) for begin in (0, 100, 200))) == [None] * 3
    assert len(remaps(server)) == 10
    assert counters(server)["events"] == 36


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


def test_a_connection_that_is_lost_takes_all_back(server: Database) -> None:
    """A server that ends a session before its commit keeps nothing of it; done again, the same transaction counts."""
    mine, end = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mysql": ("SELECT CONNECTION_ID()", "KILL {}"),
    }[server.backend]

    def interrupted() -> None:
        with server.begin() as connection:
            session = connection.scalar(text(mine))
            record(connection, batch_of([whole(1)]), node="node", now=NOW)
            with server.begin() as other:
                other.execute(text(end.format(session)))

    with pytest.raises(StoreError):
        interrupted()
    assert commit(server, whole(1)).sightings == 1
    assert counters(server)["events"] == 1


def test_an_older_libpq_stores_the_same(server: Database, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the client library sends no statements together (libpq before 14), they go one by one."""
    if server.backend != "postgresql":
        pytest.skip("MariaDB's driver has no such thing")
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setattr(psycopg.Pipeline, "is_supported", classmethod(lambda _: False))
    monkeypatch.setattr(psycopg.Connection, "pipeline", None)
    older = Database(server_url)
    assert commit(older, whole(1), whole(2)).sightings == 2
    older.close()
    assert (remaps(server)[0].calls, counters(server)["events"]) == (2, 2)


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
