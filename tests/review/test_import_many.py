"""Importing many rows: the same as one after another, in a few statements and several transactions."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from redirectd.review import importing
from redirectd.review.decision import Decision
from redirectd.review.importing import Imported, import_rows, run_import
from redirectd.review.portable import Portable
from redirectd.store import audit
from redirectd.store.database import Database
from redirectd.store.remap import RemapTarget, State
from redirectd.store.schema import metadata
from redirectd.store.settings import NodeTarget, put_node_targets
from tests.review.remap_store import NOW, POLICY, TRUSTED, RemapStore, opened

Rows = list[tuple[int, Portable]]
TABLES = ("remap", "remap_peer", "remap_method", "remap_incoming", "audit", "setting")


def row(old: str, *new: str, **values: Any) -> Portable:
    """A row as a trusted peer would have given it; with one new URI that is the choice."""
    contacts = tuple(RemapTarget(f"sip:{one}@x.test") for one in new)
    given: dict[str, Any] = {"new_uri": contacts[0].uri, "calls": 1, "peer_calls": {f"udp:{TRUSTED}:5060": 1}} | values
    return Portable(old_uri=f"sip:{old}@x.test", contacts=contacts, **given)


def store_of(before: list[Portable], *, match: str = "request-uri") -> RemapStore:
    """A store in memory that took these rows before, with a target of this `match`."""
    store = RemapStore(Database("sqlite://"))
    metadata.create_all(store.database.engine)
    put_node_targets(store.database, "other node", [NodeTarget("users", "kamailio-htable", match)])
    for number, one in enumerate(before, 1):
        take(store, [(number, one)], Decision(actor="bob", at=NOW, reason="before"))
    return store


def take(store: RemapStore, rows: Rows, by: Decision, *, with_approvals: bool = True) -> Imported:
    """Imports rows in one transaction."""
    with store.database.begin() as connection:
        return import_rows(connection, rows, by, POLICY, with_approvals=with_approvals)


def one_by_one(store: RemapStore, rows: Rows, by: Decision, *, with_approvals: bool) -> Imported:
    """Imports them a transaction each, and sums up."""
    total = Imported()
    for one in rows:
        result = take(store, [one], by, with_approvals=with_approvals)
        for name in ("rows", "new", "known", "approved", "faults", "held"):
            setattr(total, name, getattr(total, name) + getattr(result, name))
    return total


def stored(store: RemapStore) -> dict[str, list[tuple[Any, ...]]]:
    """All that is stored; the audit with its hashes, whose chain must be whole."""
    with store.database.read() as connection:
        assert audit.broken_at(connection) is None
        return {
            name: sorted(map(tuple, connection.execute(metadata.tables[name].select())), key=repr) for name in TABLES
        }


names = st.sampled_from("abcd")
rows_of_few = st.builds(
    lambda old, new, **values: row(old, *new, **values),
    old=names,
    new=st.lists(names, min_size=1, max_size=2, unique=True),
    state=st.sampled_from([State.APPROVED, State.APPROVED, State.APPROVED, *State]),
    incoming=st.lists(st.sampled_from(["sip:1@in.test", "sip:2@in.test", "sip:3@in.test"]), max_size=2).map(tuple),
    incoming_forked=st.sampled_from([False, False, True]),
    held=st.sampled_from([{}, {}, {"unkeyed": "no proof"}, {"malformed": "odd"}]),
    peer_calls=st.sampled_from([{f"udp:{TRUSTED}:5060": 2}, {f"udp:{TRUSTED}:5060": 2}, {"unknown": 1}]),
)


@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(rows_of_few, max_size=5),
    given=st.lists(rows_of_few, max_size=8),
    match=st.sampled_from(["incoming", "request-uri"]),
    replaced=st.frozensets(st.integers(1, 8), max_size=3),
    with_approvals=st.sampled_from([True, True, False]),
)
def test_r35_r44_many_rows_are_as_one_after_another(
    before: list[Portable], given: list[Portable], match: str, replaced: frozenset[int], with_approvals: bool
) -> None:
    """R5, R30, R34, R35, R44: remaps, refusals with their reasons, and the audit with its hashes are the same."""
    by = Decision(actor="eva", at=NOW, reason="", replace=replaced)
    rows = list(enumerate(given, 1))
    together, apart = store_of(before, match=match), store_of(before, match=match)
    with closing(together.database), closing(apart.database):
        many = take(together, rows, by, with_approvals=with_approvals)
        assert many == one_by_one(apart, rows, by, with_approvals=with_approvals)
        assert stored(together) == stored(apart)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows make a part."""
    monkeypatch.setattr(importing, "BATCH", 2)


BY = Decision(actor="eva", at=NOW, reason="moved")


def test_r34_a_cycle_over_several_parts_is_found(store: RemapStore, parts: None) -> None:
    """R34: the row that would close a cycle with rows of earlier parts stays pending."""
    given = [row(old, new, state=State.APPROVED) for old, new in ("ab", "bc", "cd", "de", "ea")]
    result, kept = run_import(store.database, list(enumerate(given, 1)), BY, POLICY, with_approvals=True)
    assert kept
    assert (result.new, result.approved, [one.row for one in result.held]) == (5, 4, [5])


def test_one_faulty_row_at_the_end_stops_all(store: RemapStore, parts: None) -> None:
    """Nothing is written before all rows were looked at: those that are faulty by themselves, and those that the
    database or an earlier row contradicts."""
    store.reject(store.sighted("sip:z@x.test", "sip:y@x.test").id)
    given = [
        row("a", "b"),
        row("c", "d"),
        row("e", "e"),
        row("z", "y", state=State.REVOKED),
        row("f", "g", state=State.APPROVED),
        row("f", "g", state=State.EXPIRED),
    ]
    rows = list(enumerate(given, 1))
    result, kept = run_import(store.database, rows, BY, POLICY, with_approvals=True)
    assert (kept, [one.row for one in result.faults]) == (False, [3, 4, 6])
    assert len(store.all()) == 1
    result, kept = run_import(store.database, rows, BY, POLICY, with_approvals=True, skip_faults=True)
    assert (kept, [one.row for one in result.faults], result.new, result.approved) == (True, [3, 4, 6], 3, 1)


def test_a_dry_run_says_what_the_import_says(tmp_path: Path, parts: None) -> None:
    """A dry run finds the same new, approved and held rows as the import after it, and changes nothing."""
    given = [row(old, new, state=State.APPROVED) for old, new in ("ab", "bc", "ca", "bd")]
    rows = list(enumerate(given, 1))
    with opened(tmp_path) as store:
        before = stored(store)
        dry, kept = run_import(store.database, rows, BY, POLICY, with_approvals=True, dry_run=True)
        assert not kept
        assert stored(store) == before
        result, _ = run_import(store.database, rows, BY, POLICY, with_approvals=True)
        assert result == dry
        assert [one.row for one in result.held] == [3, 4]


def test_others_write_between_the_parts(store: RemapStore, parts: None) -> None:
    """Whoever reads logs or decides can write while an import goes on: no part's transaction is open then."""
    heard: list[int] = []

    def progress(rows: int) -> None:
        heard.append(rows)
        store.sighted(f"sip:other{len(heard)}@x.test", "sip:there@x.test")

    given = [row(name, "z", state=State.APPROVED) for name in "abcde"]
    run_import(store.database, list(enumerate(given, 1)), BY, POLICY, with_approvals=True, progress=progress)
    assert heard == [2, 2, 1] * 2
    assert len(store.all()) == 5 + len(heard)


def test_a_decision_meanwhile_makes_a_fault_of_its_row_alone(store: RemapStore, parts: None) -> None:
    """R35: a remap that a person approves while a file would reject it stays approved; the other rows are taken."""
    number = store.sighted("sip:e@x.test", "sip:z@x.test").id
    given = [*(row(name, "z") for name in "abcd"), row("e", "z", state=State.REJECTED)]

    def progress(_: int) -> None:
        if len(store.all()) == 3:
            store.approve(number)

    rows = list(enumerate(given, 1))
    result, kept = run_import(store.database, rows, BY, POLICY, with_approvals=True, progress=progress)
    assert (kept, result.new, [one.row for one in result.faults]) == (True, 4, [5])
    assert store.get(number).state is State.APPROVED


def test_many_rows_take_few_statements(store: RemapStore) -> None:
    """What 300 rows that are approved read and write is a few dozen statements, not some for each."""
    statements: list[str] = []
    event.listen(store.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    given = [row(f"u{number}", f"v{number}", state=State.APPROVED) for number in range(300)]
    result, _ = run_import(store.database, list(enumerate(given, 1)), BY, POLICY, with_approvals=True)
    assert result.approved == 300
    assert len(statements) < 50
