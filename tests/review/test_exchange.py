"""Remaps as CSV and JSON, out and in."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.review.decision import Decision
from redirectd.review.documents import RemapJson
from redirectd.review.importing import run_import
from redirectd.review.portable import COLUMNS, IGNORED, Format, Portable, RowFault, as_document, portable, read, write
from redirectd.store import audit
from redirectd.store.remap import RemapTarget, State
from tests.review.remap_store import NOW, RemapStore

FORMS: tuple[Format, ...] = ("csv", "json")
BY = Decision(actor="alice", at=NOW, reason="from the old host")

# Text as it stands in the database: printable, since all of it went through `printable`.
words = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=30).filter(
    str.isprintable
)
notes = st.one_of(words, words.map(lambda text: f"={text}"), st.sampled_from(["'quoted", "+49", '"', ",", "-1", "''"]))
times = st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone
uris = st.from_regex(r"sip:[a-z0-9+]{1,8}@[a-z]{1,8}\.example(:[1-9][0-9]{3})?", fullmatch=True)
contacts = st.lists(
    st.builds(RemapTarget, uris, st.integers(0, 1000).map(lambda q: q / 1000), words, words), min_size=1, max_size=3
)
portables = st.builds(
    lambda several, **values: Portable(contacts=tuple(several), **values),
    several=contacts,
    old_uri=uris,
    new_uri=st.none() | uris,
    state=st.sampled_from(list(State)),
    kind=st.sampled_from(["user", "gateway", "registrar", ""]),
    note=notes,
    calls=st.integers(0, 2**40),
    first_seen=times,
    last_seen=times,
    expires_at=times,
    methods=st.lists(st.sampled_from(["INVITE", "MESSAGE"]), unique=True).map(tuple),
    peer_calls=st.dictionaries(words, st.integers(0, 99), max_size=3),
    incoming=st.lists(uris, max_size=2).map(tuple),
    incoming_forked=st.booleans(),
    held=st.dictionaries(words, words, max_size=3),
    facts=st.dictionaries(words, words, max_size=2),
)


@pytest.mark.parametrize("form", FORMS)
@given(row=portables)
def test_equal_rows_are_equal_text(form: Format, row: Portable) -> None:
    """In which order holds, facts and peers came to be is not seen in a file: two exports differ where remaps do."""
    other = replace(
        row,
        held=dict(reversed(list(row.held.items()))),
        facts=dict(reversed(list(row.facts.items()))),
        peer_calls=dict(reversed(list(row.peer_calls.items()))),
    )
    assert list(write([as_document(row)], form)) == list(write([as_document(other)], form))


@pytest.mark.parametrize("form", FORMS)
@given(rows=st.lists(portables, max_size=4))
def test_rows_round_trip(form: Format, rows: list[Portable]) -> None:
    """What is written in either format is read as what it was, row by row."""
    text = "".join(write(map(as_document, rows), form))
    assert list(read(text, form)) == list(enumerate(rows, 1))


@given(rows=st.lists(portables, min_size=1, max_size=3))
def test_no_cell_of_a_csv_is_a_formula(rows: list[Portable]) -> None:
    """No cell begins as a spreadsheet's formula does, whatever a note holds."""
    text = "".join(write(map(as_document, rows), "csv"))
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text(max_size=200))
def test_any_text_is_rows_or_faults(form: Format, text: str) -> None:
    """Whatever a file holds, reading it ends in rows and faults, each safe to print."""
    for _, one in read(text, form):
        if isinstance(one, RowFault):
            assert one.why.isprintable()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("sip:a@x.example,", "new_uri is missing"),
        (",sip:a@x.example", "old_uri is missing"),
        ("sip:a@x.example,sip:b@x.example,1,2,3,4,5,6", "more cells"),
        ("sip:a@x.example,sip:b@x.example,maybe", "state"),
        ("sip:a@x.example,sip:b@x.example,pending,x", "calls"),
        ("sip:a@x.example,sip:b@x.example,pending,-1", "whole number"),
        ("sip:a@x.example,sip:b@x.example,pending,1,2026-01-01", "zone"),
        ("sip:a@x.example,sip:b@x.example,pending,1,never", "first_seen"),
        ("sip:a@x.example,sip:b@x.example,pending,1,,[1]", "facts"),
    ],
)
def test_faults_name_what_is_wrong_with_the_row(line: str, why: str) -> None:
    """A faulty row says which value is wrong, and the rows around it are read."""
    good = "sip:a@x.example,sip:b@x.example"
    text = f"old_uri,new_uri,state,calls,first_seen,facts\n{good}\n{line}\n{good}\n"
    first, second, third = (one for _, one in read(text, "csv"))
    assert isinstance(first, Portable)
    assert isinstance(second, RowFault)
    assert (second.row, why in second.why) == (2, True)
    assert isinstance(third, Portable)


def everything(store: RemapStore) -> list[Portable]:
    """All remaps of a store as they travel."""
    return [portable(remap) for remap in store.all()]


def test_a_database_round_trips_but_for_its_ids(store: RemapStore, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Evidence, holds, a chosen Contact, states and notes are the same in another database; the audit says who."""
    from tests.review.remap_store import opened

    store.sighted("sip:a@x.example", "sip:a@y.example", calls=3)
    store.approve(store.sighted("sip:b@x.example", "sip:b@y.example", "sip:c@y.example").id, contact=2)
    store.reject(store.sighted("sips:d@x.example", "sip:d@y.example").id)
    store.sighted("sip:e@x.example", "sip:e@y.example", expires="86400")
    store.sighted("sip:x.example", "sip:y.example", method="OPTIONS")
    with opened(tmp_path_factory.mktemp("other")) as other:
        text = "".join(write(map(as_document, everything(store)), "csv"))
        result, stands = run_import(other.database, read(text, "csv"), BY, other.policy, with_approvals=True)
        assert (stands, result.new, result.approved, result.faults) == (True, 5, 1, [])
        assert everything(other) == everything(store)
        again, _ = run_import(other.database, read(text, "csv"), BY, other.policy, with_approvals=True)
        assert (again.new, again.known, again.approved) == (0, 5, 0)
        with other.database.read() as connection:
            assert {entry.actor for entry in audit.entries_of(connection, 2)} == {"alice"}
            assert audit.broken_at(connection) is None


def test_r34_rows_that_close_a_cycle_stay_pending(store: RemapStore) -> None:
    """R34: the row that would close the cycle is named and stays pending, the others are approved."""
    rows = "old_uri,new_uri,state\nsip:a@x.example,sip:b@x.example,approved\nsip:b@x.example,sip:a@x.example,approved\n"
    result, _ = run_import(store.database, read(rows, "csv"), BY, store.policy, with_approvals=True)
    assert [(one.row, "cycle" in one.why) for one in result.held] == [(2, True)]
    assert [one.state for one in store.all()] == [State.APPROVED, State.PENDING]


def test_r29_imported_evidence_never_approves_by_itself(store: RemapStore) -> None:
    """R29: a file that claims trusted peers and many calls waits for a person."""
    from dataclasses import replace
    from datetime import timedelta

    from redirectd.collect.policy import AutoApprove
    from redirectd.review.auto import approve_ready

    rule = AutoApprove(
        peers=store.policy.trusted_peers, min_calls=1, min_age=timedelta(0), allowed_domains=frozenset({"y.example"})
    )
    store.policy = replace(store.policy, auto_approve=rule)
    rows = 'old_uri,new_uri,calls,peer_calls\nsip:a@x.example,sip:a@y.example,900,"{""udp:192.0.2.10:5060"": 900}"\n'
    run_import(store.database, read(rows, "csv"), BY, store.policy, with_approvals=False)
    assert store.all()[0].calls == 900
    assert approve_ready(store.database, store.policy, now=NOW).approved == ()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("sip:a@x.example,sip:a@y.example,,", "user"),
        ("sip:a@x.example,sip:a@y.example,,MESSAGE", "user"),
        ("sip:x.example,sip:y.example,,OPTIONS", "gateway"),
        ("sip:x.example,sip:y.example,,REGISTER", "registrar"),
        ("sip:x.example,sip:y.example,,INVITE", "user"),
        ("sip:x.example,sip:y.example,user,", "user"),
        ("sip:x.example,sip:y.example,gateway,", "gateway"),
    ],
)
def test_r12_a_row_without_a_kind_moves_what_its_methods_say(store: RemapStore, line: str, kind: str) -> None:
    """R12: kind, or methods, or a user in the old URI tell what has moved."""
    rows = f"old_uri,new_uri,kind,methods\n{line}\n"
    result, _ = run_import(store.database, read(rows, "csv"), BY, store.policy, with_approvals=False)
    assert result.faults == []
    assert [one.kind for one in store.all()] == [kind]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("sip:x.example,sip:y.example,,", "old_uri has no user: say its kind"),
        ("sip:x.example,sip:y.example,,INVITE OPTIONS", "old_uri has no user: say its kind"),
        ("sip:a@x.example,sip:y.example,gateway,", "leave the user out"),
        ("sip:a@x.example,sip:a@y.example,,OPTIONS", "leave the user out"),
        ("sip:a@x.example,sip:a@y.example,host,", "kind host is none of"),
        ("sip:,sip:a@y.example,,", "old_uri can't be read"),
    ],
)
def test_r12_no_row_moves_more_than_it_says(store: RemapStore, line: str, why: str) -> None:
    """R12: a host without a kind is not a user, and a user's row never moves its whole host."""
    rows = f"old_uri,new_uri,kind,methods\n{line}\n"
    result, _ = run_import(store.database, read(rows, "csv"), BY, store.policy, with_approvals=False)
    assert [why in fault.why for fault in result.faults] == [True], result.faults
    assert store.all() == []


def test_a_listed_remap_can_be_imported() -> None:
    """An import knows each key that `list --json` prints: it takes it, or leaves it alone."""
    assert set(RemapJson.__annotations__) <= {*COLUMNS, *IGNORED}
