"""What a reviewer sees of a remap, and taking a step back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redirectd.errors import RedirectdError
from redirectd.review.case import Case, open_case
from redirectd.review.decide import revoke
from redirectd.review.decision import Decision
from redirectd.review.undo import do_approve, do_reject, set_note, undo
from redirectd.store import audit
from redirectd.store.remap import State
from tests.review.remap_store import NOW, RemapStore

BY = Decision(actor="alice", at=NOW, reason="asked the carrier")
A, B, C, D = (f"sip:{name}@example.com" for name in "abcd")


def case_of(store: RemapStore, number: int, contact: int | None = None) -> Case:
    """The case as the terminal opens it."""
    with store.database.read() as connection:
        return open_case(connection, number, store.policy, now=NOW, contact=contact)


def test_r33_a_case_shows_the_chain_today_and_after(store: RemapStore) -> None:
    """R33: with B->C approved, A is not moved today, and would go to C by two hops."""
    onward = store.approve(store.sighted(B, C).id)
    case = case_of(store, store.sighted(A, B).id)
    assert case.today is not None
    assert case.today.result is None
    assert case.after is not None
    assert str(case.after.result) == C
    assert [hop.id for hop in case.after.hops] == [case.remap.id, onward.id]


def test_r30_a_case_names_the_remap_it_would_replace(store: RemapStore) -> None:
    """R30: today's routing is the approved target, and the sentence says which remap goes."""
    first = store.approve(store.sighted(A, B).id)
    case = case_of(store, store.sighted(A, C).id)
    assert case.today is not None
    assert str(case.today.result) == B
    assert str(case.after and case.after.result) == C
    assert any(f"contradicts remap {first.id}" in sentence for sentence in case.touches)


def test_r34_a_case_tells_of_the_cycle_before_the_approval_is_tried(store: RemapStore) -> None:
    """R34: the way back is seen on the card."""
    store.approve(store.sighted(A, B).id)
    store.approve(store.sighted(B, C).id)
    case = case_of(store, store.sighted(C, A).id)
    assert case.after is not None
    assert case.after.result is None
    assert any("cycle" in sentence for sentence in case.touches)


def test_a_case_names_remaps_that_lead_to_its_old_uri(store: RemapStore) -> None:
    """What was approved to end here would go on to the new URI."""
    before = store.approve(store.sighted(A, B).id)
    case = case_of(store, store.sighted(B, C).id)
    assert f"remaps that lead here would go on to its new URI: {before.id}" in case.touches


def test_a_case_tells_that_its_new_uri_is_said_to_have_moved_on(store: RemapStore) -> None:
    """R33: what is still pending for the new URI is the next hop, or closes a cycle, once it is approved too."""
    first, back = store.sighted(A, B), store.sighted(B, A)
    assert f"remap {back.id} (pending) says that its new URI has moved on, to {A}" in case_of(store, first.id).touches


def test_r24_a_case_tells_what_a_target_may_not_tell_apart(store: RemapStore) -> None:
    """R24: an approved remap of the same user and host with another port: a conflict in targets without ports."""
    there = store.approve(store.sighted(f"{A}:5070", B).id)
    store.approve(store.sighted("sip:aa@example.com:5070", D).id)
    (sentence,) = case_of(store, store.sighted(A, C).id).touches
    assert sentence.startswith(f"remap {there.id}, approved to {B}, has the same old user and host")
    assert case_of(store, store.sighted(f"{A}:5080", B).id).touches == []


def test_r15_a_case_can_be_looked_at_with_each_contact(store: RemapStore) -> None:
    """R15: without a choice there is no result, with one there is that Contact's."""
    one = store.sighted(A, B, C)
    assert case_of(store, one.id).after is None
    second = case_of(store, one.id, contact=2)
    assert second.after is not None
    assert str(second.after.result) == C


def test_r27_a_case_says_that_force_is_needed(store: RemapStore) -> None:
    """R27: a private target can be approved by force alone."""
    assert case_of(store, store.sighted(A, "sip:a@10.0.0.1").id).needs == ("force", "reason")
    assert case_of(store, store.sighted(B, C).id).needs == ()


def test_r35_undo_of_an_approval_brings_back_what_it_replaced(store: RemapStore) -> None:
    """R35: the remap waits again, the one before it routes again, and the audit tells of every step."""
    first = store.approve(store.sighted(A, B).id)
    second = store.sighted(A, C)
    with store.database.begin() as connection:
        _, step = do_approve(connection, second.id, replace(BY, replace=frozenset({first.id})), store.policy)
    assert store.get(first.id).state is State.SUPERSEDED
    with store.database.begin() as connection:
        undo(connection, step, BY, store.policy)
    assert store.get(second.id).state is State.PENDING
    assert store.get(first.id).state is State.APPROVED
    assert store.get(first.id).revalidate_after == first.revalidate_after
    with store.database.read() as connection:
        assert [entry.action for entry in audit.entries_of(connection, second.id)] == ["approve", "revoke", "reopen"]
        assert audit.broken_at(connection) is None


def test_r15_undo_restores_the_chosen_contact_of_what_was_replaced(store: RemapStore) -> None:
    """R15: an ambiguous remap that was approved with its second Contact has that one again."""
    first = store.approve(store.sighted(A, B, C).id, contact=2)
    second = store.sighted(A, D)
    with store.database.begin() as connection:
        _, step = do_approve(connection, second.id, replace(BY, replace=frozenset({first.id})), store.policy)
        undo(connection, step, BY, store.policy)
    assert store.get(first.id).new_uri == C


def test_r31_undo_of_a_rejection_and_of_a_note(store: RemapStore) -> None:
    """R31: a rejected remap waits again; a note is again what it was."""
    one = store.sighted(A, B)
    with store.database.begin() as connection:
        _, rejected = do_reject(connection, one.id, BY)
        undo(connection, rejected, BY, store.policy)
        set_note(connection, one.id, "first", BY)
        _, noted = set_note(connection, one.id, "second", BY)
        undo(connection, noted, BY, store.policy)
    assert store.get(one.id).state is State.PENDING
    assert store.get(one.id).note == "first"


def test_undo_is_refused_where_somebody_decided_meanwhile(store: RemapStore) -> None:
    """What another person has revoked since is not touched."""
    one = store.sighted(A, B)
    with store.database.begin() as connection:
        _, step = do_approve(connection, one.id, BY, store.policy)
        revoke(connection, one.id, Decision(actor="bob", at=NOW))
    with store.database.begin() as connection, pytest.raises(RedirectdError, match="revoked by now"):
        undo(connection, step, BY, store.policy)
