"""Approvals by several people: who counts, what makes one stale, and that nothing short of enough routes anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from redirectd.collect.policy import AutoApprove, FourEyes
from redirectd.errors import RedirectdError, RefusedError
from redirectd.review.auto import approve_ready
from redirectd.review.decide import decide_all
from redirectd.review.decision import Decision, DecisionStep
from redirectd.review.four_eyes import approvals_text, with_approvals
from redirectd.review.holds import with_holds
from redirectd.review.importing import run_import
from redirectd.review.portable import Portable
from redirectd.review.proposals import accept, proposals
from redirectd.review.undo import do_approve, do_confirm, do_revoke, set_note, undo
from redirectd.store import audit
from redirectd.store.approved import approved
from redirectd.store.audit_verify import tamperings
from redirectd.store.event_log import EventKind, read
from redirectd.store.remap import Remap, RemapTarget, State
from tests.review.remap_store import NOW, POLICY, STRANGER, RemapStore

OLD, NEW, OTHER = "sip:alice@old.example.com", "sip:alice@new.example.net", "sip:alice@third.example"
TWO = FourEyes(approvals=2)


@pytest.fixture
def strict(store: RemapStore) -> RemapStore:
    """A store in which two people must approve everything."""
    store.policy = replace(POLICY, four_eyes=TWO)
    return store


def by(account: str | None, **more: Any) -> Decision:
    """A decision of somebody who gives reason and force."""
    return Decision(
        **{"actor": account or "redirectd", "account": account, "at": NOW, "reason": "known", "force": True} | more
    )


def agree(store: RemapStore, number: int, account: str | None, **more: Any) -> tuple[Remap, DecisionStep]:
    """An approval by the person of an account; the remap with its approvals, and the step."""
    with store.database.begin() as connection:
        _, step = do_approve(connection, number, by(account, **more), store.policy)
    return seen(store, number), step


def seen(store: RemapStore, number: int) -> Remap:
    """The remap as people see it, with its approvals."""
    with store.database.read() as connection:
        return with_approvals(connection, [with_holds(store.get(number), store.policy)], store.policy)[0]


def routed(store: RemapStore) -> list[int]:
    """The ids of what the next apply would route."""
    with store.database.read() as connection:
        return [one.id for one in approved(connection, now=NOW)]


def test_the_first_approval_routes_nothing_and_the_second_does(strict: RemapStore) -> None:
    """A remap stays pending after one person's approval, shows it, and is approved by another person's."""
    number = strict.sighted(OLD, NEW).id
    first, _ = agree(strict, number, "unix:ada")
    assert (first.state, first.approvals, first.required) == (State.PENDING, ("ada",), 2)
    assert (routed(strict), approvals_text(first)) == ([], "1 of 2 approvals (ada)")
    second, _ = agree(strict, number, "unix:bob")
    assert (second.state, routed(strict)) == (State.APPROVED, [number])
    with strict.database.read() as connection:
        entry = audit.entries_of(connection, number)[-1]
        kinds = [one.kind for one in read(connection)]
        assert list(tamperings(connection)) == []
    assert (entry.action, entry.detail["approvals"]) == ("approve", ["ada", "bob"])
    assert {EventKind.AGREED, EventKind.APPROVED} <= set(kinds)


def test_one_person_is_never_two(strict: RemapStore) -> None:
    """The same person is refused, also by another of their accounts, and an account that is nobody's is, too."""
    people = {"unix:ada": "ada", "unix:ada-admin": "ada", "unix:bob": "bob"}
    strict.policy = replace(POLICY, four_eyes=FourEyes(approvals=2, people=people))
    number = strict.sighted(OLD, NEW).id
    agree(strict, number, "unix:ada")
    for account in ("unix:ada", "unix:ada-admin"):
        with pytest.raises(RefusedError, match="ada has approved it already"):
            agree(strict, number, account)
    for account in ("unix:root", "ada", "local:ada", "unix:", ""):
        with pytest.raises(RefusedError, match="nobody in"):
            agree(strict, number, account)
    assert seen(strict, number).approvals == ("ada",)
    assert agree(strict, number, "unix:bob")[0].state is State.APPROVED


def test_without_named_people_only_logins_of_the_host_count(strict: RemapStore) -> None:
    """Accounts of other kinds may be the same person's: without [policy.people] they count for nothing."""
    number = strict.sighted(OLD, NEW).id
    agree(strict, number, "unix:ada")
    with pytest.raises(RefusedError, match="nobody in"):
        agree(strict, number, "local:bob")
    assert routed(strict) == []


@pytest.mark.parametrize("change", ["flag", "contact", "policy"])
def test_a_change_makes_the_first_approval_stale(strict: RemapStore, change: str) -> None:
    """What the first person approved is not what waits now: that approval no longer counts, and both must approve."""
    number = strict.sighted(OLD, NEW).id
    agree(strict, number, "unix:ada")
    if change == "flag":
        strict.sighted(OLD, OTHER)  # R32: the targets alternate
        strict.sighted(OLD, NEW, last=-0.5)
        strict.sighted(OLD, OTHER, last=-0.2)
    elif change == "contact":
        with strict.database.begin() as connection:
            connection.exec_driver_sql(f"update remap set new_uri = 'sip:mallory@evil.example' where id = {number}")
    else:
        strict.policy = replace(strict.policy, trusted_peers=())  # it is held as untrusted now
    changed = seen(strict, number)
    assert changed.approvals == ()
    second, _ = agree(strict, number, "unix:bob")
    assert (second.state, second.approvals, routed(strict)) == (State.PENDING, ("bob",), [])
    assert agree(strict, number, "unix:ada")[0].state is State.APPROVED


def test_more_calls_and_a_note_leave_an_approval_valid(strict: RemapStore) -> None:
    """Further sightings of the same move and a note change nothing that was approved."""
    number = strict.sighted(OLD, NEW).id
    agree(strict, number, "unix:ada")
    strict.sighted(OLD, NEW, calls=5, last=-0.5)
    with strict.database.begin() as connection:
        set_note(connection, number, "asked", by("unix:eve"))
    assert seen(strict, number).approvals == ("ada",)
    assert agree(strict, number, "unix:bob")[0].state is State.APPROVED


@pytest.mark.parametrize("between", ["reject", "approve"])
def test_another_decision_ends_what_was_approved_before(strict: RemapStore, between: str) -> None:
    """A remap that was rejected or revoked and is reopened needs all of its approvals anew."""
    number = strict.sighted(OLD, NEW).id
    agree(strict, number, "unix:ada")
    with strict.database.begin() as connection:
        if between == "approve":
            decide_all(connection, "approve", [number], by("unix:eve"), strict.policy)
            decide_all(connection, "revoke", [number], by("unix:eve"))
        else:
            decide_all(connection, "reject", [number], by("unix:eve"))
        decide_all(connection, "reopen", [number], by("unix:eve"))
    assert seen(strict, number).approvals == ()
    assert agree(strict, number, "unix:bob")[0].state is State.PENDING


def test_each_choice_of_contact_needs_its_own_approvals(strict: RemapStore) -> None:
    """R15: two people who choose different Contacts have not approved the same move."""
    number = strict.sighted(OLD, NEW, OTHER).id
    agree(strict, number, "unix:ada", contact=1)
    again, _ = agree(strict, number, "unix:bob", contact=2)
    assert (again.state, again.approvals) == (State.PENDING, ("ada", "bob"))
    done, _ = agree(strict, number, "unix:eve", contact=2)
    assert (done.state, done.new_uri) == (State.APPROVED, OTHER)


def test_each_person_names_what_is_superseded(strict: RemapStore) -> None:
    """R44: an approval counts only for the same superseded remaps: nobody adds one alone."""
    first = strict.sighted(OLD, NEW).id
    agree(strict, first, "unix:ada")
    second = strict.sighted(OLD, OTHER).id
    agree(strict, second, "unix:ada")  # nothing is approved for this old URI yet
    agree(strict, first, "unix:bob")
    with pytest.raises(RefusedError, match="contradicts"):
        agree(strict, second, "unix:bob")
    waiting, _ = agree(strict, second, "unix:bob", replace=frozenset({first}))
    assert (waiting.state, routed(strict)) == (State.PENDING, [first])
    agree(strict, second, "unix:ada", replace=frozenset({first}))
    assert routed(strict) == [second]


def test_each_person_passes_the_holds(strict: RemapStore) -> None:
    """A held remap needs the reason of each person, not of the first alone."""
    number = strict.sighted(OLD, NEW, peer=STRANGER).id
    agree(strict, number, "unix:ada")
    with pytest.raises(RefusedError, match="untrusted"):
        agree(strict, number, "unix:bob", reason="", force=False)
    assert routed(strict) == []


def test_r29_automatic_approval_and_an_import_are_no_people(strict: RemapStore) -> None:
    """R29: neither approves what several people must, nor counts as one of them."""
    rule = AutoApprove(
        peers=(ip_network("192.0.2.10/32"),),
        min_calls=1,
        min_age=timedelta(0),
        allowed_domains=frozenset({"new.example.net"}),
    )
    strict.policy = replace(strict.policy, auto_approve=rule)
    number = strict.sighted(OLD, NEW, calls=9).id
    assert approve_ready(strict.database, strict.policy, now=NOW).approved == ()
    row = Portable(old_uri=OLD, new_uri=NEW, contacts=(RemapTarget(NEW),), state=State.APPROVED, kind="user")
    result, _ = run_import(strict.database, [(1, row)], by(None), strict.policy, with_approvals=True)
    assert (result.approved, len(result.held)) == (0, 1)
    assert "2 people must approve it" in result.held[0].why
    for _ in range(2):
        with pytest.raises(RefusedError, match="neither automatic approval nor an import"):
            agree(strict, number, None)
    assert (seen(strict, number).approvals, routed(strict)) == ((), [])
    strict.policy = replace(strict.policy, four_eyes=FourEyes())
    assert [one.id for one in approve_ready(strict.database, strict.policy, now=NOW).approved] == [number]


@pytest.mark.parametrize(
    ("rule", "needed"),
    [
        ({"held": True}, {"plain": 1, "held": 2, "premium": 2, "busy": 1}),
        ({"premium": True}, {"plain": 1, "held": 1, "premium": 2, "busy": 1}),
        ({"calls_over": 10}, {"plain": 1, "held": 1, "premium": 1, "busy": 2}),
        ({}, {"plain": 2, "held": 2, "premium": 2, "busy": 2}),
    ],
)
def test_a_filter_restricts_what_needs_several(
    store: RemapStore, rule: dict[str, object], needed: dict[str, int]
) -> None:
    """`approvals_for` names what needs several people: what is held, premium, or seen by many calls."""
    store.policy = replace(POLICY, four_eyes=replace(TWO, **rule))  # type: ignore[arg-type]
    found = {
        "plain": store.sighted(OLD, NEW),
        "held": store.sighted("sip:held@old.example.com", NEW, peer=STRANGER),
        "premium": store.sighted("sip:+4930123456@old.example.com", "sip:+499001123456@new.example.net"),
        "busy": store.sighted("sip:busy@old.example.com", NEW, calls=11),
    }
    assert {name: seen(store, one.id).required for name, one in found.items()} == needed


def test_undo_takes_back_the_own_approval_alone(strict: RemapStore) -> None:
    """The undo of an approval that waits for others leaves those of other people."""
    strict.policy = replace(POLICY, four_eyes=FourEyes(approvals=3))
    number = strict.sighted(OLD, NEW).id
    _, step = agree(strict, number, "unix:ada")
    agree(strict, number, "unix:bob")
    with strict.database.begin() as connection:
        undo(connection, step, by("unix:ada"), strict.policy)
    assert seen(strict, number).approvals == ("bob",)
    agree(strict, number, "unix:eve")
    assert agree(strict, number, "unix:ada")[0].state is State.APPROVED


def test_undo_never_approves_with_one_person(strict: RemapStore) -> None:
    """Taking a revocation back would be an approval by one person: it is refused, and nothing is changed."""
    number = strict.sighted(OLD, NEW).id
    agree(strict, number, "unix:ada")
    agree(strict, number, "unix:bob")
    with strict.database.begin() as connection:
        _, step = do_revoke(connection, number, by("unix:ada"))
    with pytest.raises(RedirectdError, match="several people"), strict.database.begin() as connection:
        undo(connection, step, by("unix:ada"), strict.policy)
    assert (seen(strict, number).state, routed(strict)) == (State.REVOKED, [])


def test_a_confirmation_keeps_what_was_approved(strict: RemapStore) -> None:
    """R36: looking again at an approved remap moves nothing new, and one person may."""
    number = strict.sighted(OLD, NEW).id
    agree(strict, number, "unix:ada")
    agree(strict, number, "unix:bob")
    with strict.database.begin() as connection:
        do_confirm(connection, number, by("unix:eve"), strict.policy)
    assert routed(strict) == [number]


def test_a_proposal_needs_several_people_too(strict: RemapStore) -> None:
    """The move of a whole host by a proposal waits for the second person as any other."""
    for user in range(5):
        strict.sighted(f"sip:u{user}@old.example.com", f"sip:u{user}@new.example.net")
    with strict.database.begin() as connection:
        made, _ = accept(connection, proposals(connection, strict.policy)[0], by("unix:ada"), strict.policy)
    assert (made.state, seen(strict, made.id).approvals, routed(strict)) == (State.PENDING, ("ada",), [])


def test_a_forged_approval_in_the_audit_is_found(strict: RemapStore) -> None:
    """R35: an approval of another person that is written past redirectd breaks the audit's chain."""
    number = strict.sighted(OLD, NEW).id
    agree(strict, number, "unix:ada")
    with strict.database.begin() as connection:
        connection.exec_driver_sql("update audit set detail = replace(detail, 'ada', 'bob') where action = 'agree'")
    with strict.database.read() as connection:
        assert [one.where for one in tamperings(connection)] == ["audit entry 1"]


def test_many_are_agreed_at_once(strict: RemapStore) -> None:
    """One decision on many notes an approval of each; the second person's approves all of them."""
    numbers = [strict.sighted(f"sip:u{user}@old.example.com", NEW).id for user in range(20)]
    for account, state in (("unix:ada", State.PENDING), ("unix:bob", State.APPROVED)):
        with strict.database.begin() as connection:
            outcome = decide_all(connection, "approve", numbers, by(account), strict.policy)
        assert (len(outcome.steps), {seen(strict, number).state for number in numbers}) == (20, {state})
