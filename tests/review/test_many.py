"""One decision on many remaps: the same as one after another, in a few statements, and back again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from redirectd.errors import StoreError
from redirectd.review import decide as deciding
from redirectd.review.decide import decide_all, decide_in_batches
from redirectd.review.decision import Decision
from redirectd.review.undo import undo_all
from redirectd.store import audit
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import audit as audit_table
from redirectd.store.schema import metadata
from tests.review.remap_store import NOW, POLICY, RemapStore, opened

BY = Decision(actor="eva", at=NOW, reason="checked")
ACTIONS = ("approve", "reject", "revoke", "reopen")

Told = tuple[str, str]


def store_of(told: list[Told]) -> RemapStore:
    """A store in memory with these moves pending."""
    store = RemapStore(Database("sqlite://"))
    metadata.create_all(store.database.engine)
    for old, new in told:
        if old != new:
            store.sighted(f"sip:{old}@x.test", f"sip:{new}@x.test")
    return store


def decide(store: RemapStore, action: str, numbers: list[int]) -> tuple[list[int], dict[int, str]]:
    """Decides on many at once; gives the ids it was done to, and why not of the others."""
    with store.database.begin() as connection:
        outcome = decide_all(connection, action, numbers, BY, POLICY)
    return [step.before.id for step in outcome.steps], {one: error.why for one, error in outcome.refused.items()}


def one_by_one(store: RemapStore, action: str, numbers: list[int]) -> tuple[list[int], dict[int, str]]:
    """The same, a transaction each."""
    done: list[int] = []
    refused: dict[int, str] = {}
    for number in dict.fromkeys(numbers):
        told, why = decide(store, action, [number])
        done += told
        refused |= why
    return done, refused


def trail(store: RemapStore) -> list[tuple[int | None, str, str, str | None, str | None]]:
    """The audit in its order; its chain must be whole."""
    with store.database.read() as connection:
        assert audit.broken_at(connection) is None
        entries = connection.execute(audit_table.select().order_by(audit_table.c.id)).all()
    return [(row.remap_id, row.action, row.reason, row.old_state, row.new_state) for row in entries]


names = st.sampled_from("abcd")


@settings(max_examples=60, deadline=None)
@given(
    told=st.lists(st.tuples(names, names), min_size=1, max_size=12),
    steps=st.lists(st.tuples(st.sampled_from(ACTIONS), st.lists(st.integers(1, 12), max_size=12)), max_size=4),
)
def test_r34_r35_many_at_once_are_as_one_after_another(told: list[Told], steps: list[tuple[str, list[int]]]) -> None:
    """R34, R35: states, refusals with their reasons, cycles and the audit are the same either way."""
    together, apart = store_of(told), store_of(told)
    try:
        for action, numbers in steps:
            assert decide(together, action, numbers) == one_by_one(apart, action, numbers)
        assert trail(together) == trail(apart)
        assert together.all() == apart.all()
    finally:
        together.database.close()
        apart.database.close()


def test_r30_of_one_old_uri_only_the_first_is_approved(store: RemapStore) -> None:
    """R30, R44: a decision on many does not choose between targets by their order: the second contradicts the first."""
    first = store.sighted("sip:a@x.test", "sip:b@x.test").id
    second = store.sighted("sip:a@x.test", "sip:c@x.test").id
    done, refused = decide(store, "approve", [first, second])
    assert done == [first]
    assert f"remap {first}, approved by " in refused[second]
    assert decide(store, "approve", [second]) == ([], refused)
    assert store.get(first).state is State.APPROVED


def test_r34_a_cycle_within_one_decision_is_refused(store: RemapStore) -> None:
    """R34: of three moves in a circle the last is refused with the cycle, whether or not the others stood before."""
    moves = (("a", "b"), ("b", "c"), ("c", "a"))
    ids = [store.sighted(f"sip:{old}@x.test", f"sip:{new}@x.test").id for old, new in moves]
    done, refused = decide(store, "approve", ids)
    assert done == ids[:2]
    assert "it would close a cycle" in refused[ids[2]]


def test_one_old_uri_is_approved_once_over_all_batches(store: RemapStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """R30: the second target of an old URI is refused in a later batch too."""
    monkeypatch.setattr(deciding, "BATCH", 1)
    ids = [store.sighted("sip:a@x.test", f"sip:{new}@x.test").id for new in "bc"]
    parts = list(decide_in_batches(store.database, "approve", ids, BY, POLICY))
    assert [[step.before.id for step in part.steps] for part in parts] == [[ids[0]], []]
    assert list(parts[1].refused) == [ids[1]]


def test_what_was_committed_stands_when_a_batch_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that goes away in the middle keeps the batches before, and the caller knows which they are."""
    monkeypatch.setattr(deciding, "BATCH", 2)
    with opened(tmp_path) as store:
        ids = [store.sighted(f"sip:{old}@x.test", "sip:z@x.test").id for old in "abcd"]
        parts = decide_in_batches(store.database, "reject", ids, BY, POLICY)
        assert [step.before.id for step in next(parts).steps] == ids[:2]
        with store.database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE audit RENAME TO gone")
        with pytest.raises(StoreError):
            next(parts)
        assert [one.id for one in store.all(State.REJECTED)] == ids[:2]
        assert [one.id for one in store.all(State.PENDING)] == ids[2:]


def test_r35_undo_of_many_is_in_the_audit(store: RemapStore) -> None:
    """R35: all is taken back, what was replaced routes again, and what somebody decided since is left and told."""
    before = store.approve(store.sighted("sip:a@x.test", "sip:b@x.test").id)
    ids = [store.sighted(f"sip:{old}@x.test", "sip:z@x.test").id for old in "acd"]
    with store.database.begin() as connection:
        steps = decide_all(connection, "approve", ids, BY, POLICY).steps
    with store.database.begin() as connection:
        decide_all(connection, "revoke", ids[2:], replace(BY, actor="bob"))
    with store.database.begin() as connection:
        refused = undo_all(connection, steps, BY, POLICY)
    assert {one: error.why for one, error in refused.items()} == {
        ids[2]: "it is revoked by now, so the last step can't be taken back"
    }
    assert [store.get(number).state.value for number in (before.id, *ids)] == [
        "approved",
        "pending",
        "pending",
        "revoked",
    ]
    assert (ids[1], "reopen", "undo of approve", "revoked", "pending") in trail(store)


def test_many_take_few_statements(store: RemapStore) -> None:
    """What 300 approvals read and write is a few dozen statements, not some for each."""
    ids = [store.sighted(f"sip:u{number}@x.test", f"sip:u{number}@y.test").id for number in range(300)]
    statements: list[str] = []
    event.listen(store.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    done, refused = decide(store, "approve", ids)
    assert (len(done), refused) == (300, {})
    assert len(statements) < 40


def test_an_empty_decision_writes_nothing(store: RemapStore) -> None:
    """No remap, no audit entry."""
    assert decide(store, "approve", []) == ([], {})
    assert trail(store) == []
