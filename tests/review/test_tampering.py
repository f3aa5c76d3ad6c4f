"""R35: what somebody changes in the database past redirectd is told by `redirectd check`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from redirectd.errors import RedirectdError
from redirectd.review import decide
from redirectd.review.decide import confirm
from redirectd.review.decision import Decision
from redirectd.review.undo import do_approve, do_confirm, do_revoke, set_note, undo
from redirectd.store import audit
from redirectd.store.audit_verify import Tampering, tamperings
from redirectd.store.states import BIRTHS, TRANSITIONS
from tests.review.remap_store import NOW, POLICY, RemapStore

Step = Callable[[Connection, int, Decision], object]

BY = Decision(actor="alice", at=NOW + timedelta(hours=1), reason="known")


@pytest.fixture
def decided(store: RemapStore) -> RemapStore:
    """Five remaps, and seven entries about four of them."""
    for name in "abcde":
        store.sighted(f"sip:{name}@old.example", f"sip:{name}@new.example")
    store.approve(1)
    store.approve(2)
    store.reject(3)
    store.approve(4)
    with store.database.begin() as connection:
        decide.revoke(connection, 4, BY)
        confirm(connection, 2, BY, POLICY)
        set_note(connection, 5, "asked the carrier", BY)
    return store


def seen(store: RemapStore) -> list[Tampering]:
    with store.database.read() as connection:
        return list(tamperings(connection))


def change(store: RemapStore, *statements: str) -> None:
    """By somebody with the password of the database."""
    with store.database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


WAYS = {
    "a reason altered": (["update audit set reason = 'other' where id = 3"], ["audit entry 3"]),
    "the actor altered": (["update audit set actor = 'bob' where id = 7"], ["audit entry 7"]),
    "the last taken out": (["delete from audit where id = 7"], ["audit entry 7"]),
    "the last three taken out": (["delete from audit where id > 4"], ["audit entry 7", "remap 4"]),
    "a middle one taken out": (["delete from audit where id = 3"], ["audit entry 4", "remap 3"]),
    "the first taken out": (["delete from audit where id = 1"], ["audit entry 2", "remap 1"]),
    "all taken out": (["delete from audit"], ["audit entry 7", "remap 1", "remap 2", "remap 3", "remap 4"]),
    "all taken out, and the mark of the last": (
        ["delete from audit", "delete from setting"],
        ["remap 1", "remap 2", "remap 3", "remap 4"],
    ),
    "one put in behind": (
        [
            "insert into audit select 8, at, actor, action, remap_id, old_state, new_state, reason, detail, hash, 'x' "
            "from audit where id = 7"
        ],
        ["audit entry 8"],
    ),
    "two changed places": (
        [
            "update audit set id = 100 where id = 2",
            "update audit set id = 2 where id = 3",
            "update audit set id = 3 where id = 100",
        ],
        ["audit entry 2"],
    ),
    "a remap approved by hand": (["update remap set state = 'approved' where id = 5"], ["remap 5"]),
    "a rejected one approved by hand": (["update remap set state = 'approved' where id = 3"], ["remap 3"]),
    "an approved one led elsewhere": (
        ["update remap set new_uri = 'sip:a@evil.example' where id = 1"],
        ["remap 1"],
    ),
    "an approved one of another old URI": (
        ["update remap set old_uri = 'sip:boss@old.example' where id = 2"],
        ["remap 2"],
    ),
    "an approved user made a gateway": (["update remap set kind = 'gateway' where id = 1"], ["remap 1"]),
    "an approved one given an end": (
        ["update remap set expires_at = '2020-01-01 00:00:00.000000' where id = 1"],
        ["remap 1"],
    ),
    "a rejected one made new again": (["update remap set state = 'pending' where id = 3"], ["remap 3"]),
    "an approved one revoked by hand": (["update remap set state = 'revoked' where id = 1"], ["remap 1"]),
    "an approved one put in": (
        [
            "insert into remap (id, identity, old_hash, state, kind, old_key, old_uri, new_uri, contacts, flags, "
            "facts, calls, first_seen, last_seen, note) "
            "select 9, 'x', 'x', 'approved', kind, 'x', 'sip:x@old.example', "
            "'sip:x@evil.example', contacts, flags, facts, calls, first_seen, last_seen, note from remap where id = 1"
        ],
        ["remap 9"],
    ),
    "an approved one taken out": (["delete from remap where id = 1"], ["remap 1"]),
    "a rejected one taken out": (["delete from remap where id = 3"], ["remap 3"]),
    "a pending one with nothing but a note taken out, as a retracted answer may": (
        ["delete from remap where id = 5"],
        [],
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_r35_tampering_is_seen(decided: RemapStore, way: str) -> None:
    """R35: altered, taken out, put in, moved; and remaps that no entry speaks for."""
    assert seen(decided) == []
    statements, where = WAYS[way]
    change(decided, *statements)
    assert [one.where for one in seen(decided)] == where


@pytest.mark.parametrize("cut", ["delete from audit where id = 7", "delete from audit where id > 4"])
def test_r35_what_was_cut_off_is_seen_for_ever(decided: RemapStore, cut: str) -> None:
    """R35: decisions that come after it do not heal the chain: the numbers that were taken are never given again."""
    change(decided, cut)
    for number in (5, 1):
        with decided.database.begin() as connection:
            set_note(connection, number, "later", BY)
    assert [one.where for one in seen(decided)][:1] == ["audit entry 8"]


def test_r35_an_entry_put_in_with_its_right_hash_is_seen(decided: RemapStore) -> None:
    """R35: also who knows how an entry is made has to change what was written last as well."""
    change(decided, "update setting set name = 'kept' where name = 'audit_head'")
    with decided.database.begin() as connection:
        audit.append(connection, audit.AuditEntry(at=NOW, actor="alice", action="note", remap_id=5))
    change(decided, "delete from setting where name = 'audit_head'")
    change(decided, "update setting set name = 'audit_head' where name = 'kept'")
    assert [one.where for one in seen(decided)] == ["audit entry 8"]


def note(connection: Connection, number: int, by: Decision) -> object:
    return set_note(connection, number, "later", by)


def kept_and_taken_back(connection: Connection, number: int, by: Decision) -> object:
    return undo(connection, do_confirm(connection, number, by, POLICY)[1], by, POLICY)


def approved_and_taken_back(connection: Connection, number: int, by: Decision) -> object:
    return undo(connection, do_approve(connection, number, by, POLICY)[1], by, POLICY)


def revoked_and_taken_back(connection: Connection, number: int, by: Decision) -> object:
    return undo(connection, do_revoke(connection, number, by)[1], by, POLICY)


def approved(connection: Connection, number: int, by: Decision) -> object:
    return decide.approve(connection, number, by, POLICY)


STEPS = [
    approved, decide.reject, decide.revoke, decide.reopen, note, kept_and_taken_back, approved_and_taken_back,
    revoked_and_taken_back,
]  # fmt: skip


WATCH = """
create trigger if not exists {name} after {event} on remap begin
    insert into seen_states select new.id, {before}, new.state where {before} is not new.state;
end
"""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 5)), min_size=4, max_size=12))
def test_r35_redirectd_itself_is_never_suspected(store: RemapStore, steps: list[tuple[Step, int]]) -> None:
    """R35: after any decisions and undone ones, with targets replaced, chosen and seen again, all is accounted for.

    The database itself writes down each change of a state: it is a way of the state machine, and the audit tells of it.
    """
    base = len(store.all())
    change(
        store,
        "create table if not exists seen_states (remap_id integer, was text, is_now text)",
        "delete from seen_states",
        WATCH.format(name="watch_update", event="update of state", before="old.state"),
        WATCH.format(name="watch_insert", event="insert", before="null"),
    )

    def tell(hours: float) -> None:
        for old, new in (("a", "b"), ("a", "c"), ("b", "d"), ("a", "e"), ("f", "gh")):
            store.sighted(f"sip:{old}{base}@x.example", *(f"sip:{one}{base}@y.example" for one in new), last=hours)

    tell(-1)
    for index, (step, which) in enumerate(steps, 1):
        by = Decision(actor="alice", at=NOW + timedelta(hours=index), reason="known", contact=1, force=True)
        with suppress(RedirectdError), store.database.begin() as connection:
            step(connection, base + which, by)
        if index % 4 == 0:
            tell(index + 0.5)
    assert seen(store) == []
    with store.database.read() as connection:
        went = [tuple(row) for row in connection.execute(text("select * from seen_states order by rowid"))]
        told = {number: audit.entries_of(connection, number) for number in {one[0] for one in went}}
    ways = {(start, end) for starts, end in TRANSITIONS.values() for start in starts}
    assert {one[1:] for one in went} <= ways | {(None, start) for start in BIRTHS["learn"]}
    for number, entries in told.items():
        audited = [(one.old_state, one.new_state) for one in entries if one.old_state != one.new_state]
        assert [one[1:] for one in went if one[0] == number and one[1] is not None] == audited


def test_r35_check_tells_of_it(decided: RemapStore, tmp_path: Path) -> None:
    """R35: `redirectd check` ends with 1 and names the entry and the remap; a whole audit gives a hash to keep."""
    config = tmp_path / "redirectd.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{tmp_path / "redirectd.db"}"\n')

    def check() -> tuple[int, list[dict[str, str]]]:
        command = [sys.executable, "-m", "redirectd", "--config", str(config), "check", "--json"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        return done.returncode, json.loads(done.stdout)["findings"]

    _, before = check()
    assert [one["why"][:20] for one in before if one["where"].endswith(", audit")] == ["whole up to entry 7,"]
    change(decided, "delete from audit where id > 4")
    code, found = check()
    told = [one["where"].rpartition(", ")[2] for one in found if "other than redirectd" in one["why"]]
    assert (code, told) == (1, ["audit entry 7", "remap 4"])
