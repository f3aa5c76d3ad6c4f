"""What the review keeps in PostgreSQL and MariaDB, where nodes work at the same time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import delete, select

from redirectd.errors import RefusedError
from redirectd.review import decide, importing
from redirectd.review.approvals import ContradictionError
from redirectd.review.decision import Decision
from redirectd.review.follower import Watch, record
from redirectd.review.holds import screen
from redirectd.review.importing import Imported, run_import
from redirectd.review.page import Query, ids
from redirectd.review.target_health import failing, suspend_failing
from redirectd.store.audit import broken_at
from redirectd.store.audit_verify import tamperings
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import audit, followed_call
from tests.review.remap_store import NOW, POLICY, RemapStore
from tests.review.test_import_many import row as import_row
from tests.store.conftest import (
    SERVERS,
    at_once,
    mariadb_server,
    mariadb_url,
    postgresql_server,
    postgresql_url,
    pytest_runtest_setup,
    server,
    server_url,
)

__all__ = [
    "mariadb_server",
    "mariadb_url",
    "postgresql_server",
    "postgresql_url",
    "pytest_runtest_setup",
    "server",
    "server_url",
]

pytestmark = pytest.mark.parametrize("server_url", SERVERS, indirect=True)


def test_r8_two_nodes_that_tell_of_one_call_count_it_once(server: Database) -> None:
    """R8: both nodes' logs have the call; their transactions take turns, and either suspends what fails."""
    store = RemapStore(server)
    one = store.approve(store.sighted("sip:a@old.example", "sip:a@new.example").id)
    watch = Watch()
    watch.refresh(server)

    def tell() -> None:
        for hour in range(1, 6):
            told = watch.followed(f"call {hour}", 404, "INVITE", "sip:a@new.example", NOW + timedelta(hours=hour))
            assert told is not None
            with server.begin() as connection:
                record(connection, [told])

    assert at_once(tell, tell) == [None, None]
    onward = store.sighted("sip:a@new.example", "sip:a@third.example", first=1, last=2)
    with server.read() as connection:
        found = failing(connection)[one.id]
        assert len(connection.execute(select(followed_call)).all()) == 5
    assert [(figure.status, figure.calls) for figure in found.figures] == [(404, 5), (301, 1)]
    assert found.moved_on == onward.id
    policy = replace(POLICY, suspend_failing_after=5)
    done = at_once(*[lambda: suspend_failing(server, policy, now=NOW + timedelta(hours=9))] * 2)
    assert sorted(map(str, done)) == [f"[{one.id}]", "[]"]
    assert store.get(one.id).state is State.REVOKED


def test_r27_two_nodes_screen_the_same_remaps(server: Database) -> None:
    """R27: each replaces what the other has stored, and both find what is suspicious under their own policy."""
    store = RemapStore(server)
    hidden = store.sighted("sip:a@old.example", "sip:a@10.1.2.3")
    store.sighted("sip:b@old.example", "sip:b@new.example")
    other = replace(POLICY, denied_domains=frozenset({"new.example"}))
    for anew in (True, False):
        assert None not in at_once(
            partial(screen, server, POLICY, anew=anew), partial(screen, server, other, anew=anew)
        )
        with server.read() as connection:
            query = Query(states=(State.PENDING,), flag="suspicious")
            assert ids(connection, query, POLICY) == [hidden.id]
            assert len(ids(connection, query, other)) == 2
            for flag in ("none", "flapping", "untrusted", "method", "failing", "registrar", "redundant"):
                ids(connection, replace(query, flag=flag, now=NOW), POLICY)


def test_r35_tampering_is_seen_on_servers(server: Database) -> None:
    """R35: a whole audit is found whole, one without its end is not."""
    store = RemapStore(server)
    for name in "abc":
        store.approve(store.sighted(f"sip:{name}@old.example", f"sip:{name}@new.example").id)
    with server.begin() as connection:
        assert list(tamperings(connection)) == []
        connection.execute(delete(audit).where(audit.c.id == 3))
        assert [one.where for one in tamperings(connection)] == ["audit entry 3", "remap 3"]


def test_r44_of_two_contradicting_approvals_at_once_one_wins(server: Database) -> None:
    """R44: two people on two nodes: one approval stands, the other is refused and names it, whatever the order."""
    store = RemapStore(server)
    pairs = [
        [store.sighted(f"sip:{name}@old.example", f"sip:{name}@{place}.example").id for place in ("one", "two")]
        for name in "abcd"
    ]
    pairs += [
        [store.sighted(f"sip:{old}@x.example", f"sip:{new}@x.example").id for old, new in (("p", "q"), ("q", "p"))],
    ]
    for pair in pairs:
        outcomes = at_once(*[partial(store.approve, number) for number in pair])
        [refused] = [outcome for outcome in outcomes if isinstance(outcome, ContradictionError)]
        [stands] = [number for number in pair if store.get(number).state is State.APPROVED]
        assert refused.against == (stands,)


def test_r44_of_two_replacements_at_once_one_wins(server: Database) -> None:
    """R44: each names the remap that it saw approved; the later one is refused, since that is no longer approved."""
    store = RemapStore(server)
    first, *others = [
        store.sighted("sip:a@old.example", f"sip:a@{place}.example").id for place in ("one", "two", "three")
    ]
    store.approve(first)

    def swap(number: int) -> None:
        by = Decision(actor="eva", at=NOW, replace=frozenset({first}))
        with server.begin() as connection:
            decide.approve(connection, number, by, POLICY)

    outcomes = at_once(*[partial(swap, number) for number in others])
    assert sum(outcome is None for outcome in outcomes) == 1
    assert [outcome.exit_code for outcome in outcomes if isinstance(outcome, RefusedError)] == [3]
    assert sorted(store.get(number).state for number in (first, *others)) == ["approved", "pending", "superseded"]


def test_an_import_and_another_node_that_learns_the_same_wait_for_each_other(
    server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R35, R44: rows are taken and approved on a server as elsewhere, while a node makes the same remaps and counts."""
    monkeypatch.setattr(importing, "BATCH", 5)
    store = RemapStore(server)
    told = [
        import_row(name, "z", state=State.APPROVED, incoming=(f"sip:{name}@in.test",), calls=3)
        for name in "abcdefghijkl"
    ]
    told += [import_row("a", "y", state=State.APPROVED), import_row("m", "z", state=State.REJECTED)]

    results: list[Imported] = []

    def take() -> None:
        by = Decision(actor="eva", at=NOW, reason="moved")
        results.append(run_import(server, list(enumerate(told, 1)), by, POLICY, with_approvals=True)[0])

    def learn() -> None:
        for name in "ckfm":
            store.sighted(f"sip:{name}@x.test", "sip:z@x.test")

    assert at_once(take, learn) == [None, None]
    assert [(one.rows, one.approved, [held.row for held in one.held]) for one in results] == [(14, 12, [13])]
    found = store.all()
    assert len(found) == 14
    assert sum(one.state is State.APPROVED for one in found) == 12
    with server.read() as connection:
        assert broken_at(connection) is None
