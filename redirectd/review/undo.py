"""Taking back a reviewer's last step, as steps of the same state machine: the audit records both (R35)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from sqlalchemy import Connection, update

from redirectd.collect.policy import Policy
from redirectd.errors import RedirectdError, RefusedError
from redirectd.review.decide import approve, confirm, decide_all, load, record, reopen, revoke
from redirectd.review.decision import Decision, DecisionStep
from redirectd.review.four_eyes import AGREE, WITHDRAW
from redirectd.sip.text import printable
from redirectd.store import audit, remaps
from redirectd.store.approved import asked_alone
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap as table
from redirectd.store.states import TRANSITIONS, Transition, move_all
from redirectd.store.turns import take_turn


def do_approve(connection: Connection, number: int, decision: Decision, policy: Policy) -> tuple[Remap, DecisionStep]:
    """Approves, and gives what takes it back. Raises as `redirectd.review.decide.approve`."""
    return _do(connection, "approve", number, decision, policy)


def do_reject(connection: Connection, number: int, decision: Decision) -> tuple[Remap, DecisionStep]:
    """Rejects, and gives what takes it back."""
    return _do(connection, "reject", number, decision)


def do_revoke(connection: Connection, number: int, decision: Decision) -> tuple[Remap, DecisionStep]:
    """Takes an approval back, and gives what restores it."""
    return _do(connection, "revoke", number, decision)


def do_confirm(connection: Connection, number: int, decision: Decision, policy: Policy) -> tuple[Remap, DecisionStep]:
    """Keeps an approved one as it is, and gives what takes that back."""
    take_turn(connection, audit.TURN)
    before = load(connection, number)
    step = DecisionStep("confirm", before, done=(decision.at, decision.actor))
    return confirm(connection, number, decision, policy), step


def set_note(connection: Connection, number: int, text: str, decision: Decision) -> tuple[Remap, DecisionStep]:
    """Writes a note on a remap, in place of the one it has."""
    take_turn(connection, audit.TURN)
    before = load(connection, number)
    connection.execute(update(table).where(table.c.id == number).values(note=text))
    record(connection, before, "note", decision, text)
    return load(connection, number), DecisionStep("note", before, note=text)


def undo_all(
    connection: Connection, steps: Iterable[DecisionStep], decision: Decision, policy: Policy
) -> dict[int, RedirectdError]:
    """Takes many steps back, the last one first; gives those that can't be, by id, with why."""
    refused: dict[int, RedirectdError] = {}
    for action, group in groupby(reversed(list(steps)), key=_alike):
        if action:
            refused |= _undo_alike(connection, action, list(group), decision)
            continue
        for step in group:
            try:
                with connection.begin_nested():  # what is refused half way must leave nothing behind
                    undo(connection, step, decision, policy)
            except RedirectdError as error:
                refused[step.before.id] = error
    return refused


def _alike(step: DecisionStep) -> str:
    """The action of steps that are taken back in the same way all at once; empty for others."""
    return step.action if step.action in {"approve", "reject"} and not step.replaced else ""


def _undo_alike(
    connection: Connection, action: str, steps: Sequence[DecisionStep], decision: Decision
) -> dict[int, RedirectdError]:
    take_turn(connection, audit.TURN)
    by = replace(decision, reason=f"undo of {action}")
    found = {one.id: one for one in remaps.of_ids(connection, [step.before.id for step in steps])}
    refused: dict[int, RedirectdError] = {}
    for step in steps:
        if (error := _too_late(step, found.get(step.before.id))) is not None:
            refused[step.before.id] = error
    numbers = [step.before.id for step in steps if step.before.id not in refused]
    if action == "approve":
        decide_all(connection, "revoke", numbers, by)
    decide_all(connection, "reopen", numbers, by)
    return refused


def _too_late(step: DecisionStep, now: Remap | None) -> RedirectdError | None:
    """Why a step can't be taken back any more: what somebody else decided since is theirs. None where it can be."""
    expected = TRANSITIONS.get(step.action, (None, State.APPROVED))[1]
    if now is None or now.state is not expected:
        why = f"it is {now.state if now else 'gone'} by now"
    elif step.action != AGREE and step.done not in {None, (now.decided_at, now.decided_by)}:
        why = f"{printable(now.decided_by or 'somebody', 100)} has decided on it since"
    else:
        return None
    number = step.before.id
    todo = f"look at it: redirectd show {number}"
    return RedirectdError(f"remap {number}", f"{why}, so the last step can't be taken back", todo)


def undo(connection: Connection, step: DecisionStep, decision: Decision, policy: Policy) -> Remap:
    """Puts the remap back, and what its approval had replaced. Raises RedirectdError where somebody was quicker."""
    take_turn(connection, audit.TURN)
    number = step.before.id
    by = replace(decision, reason=f"undo of {step.action}")
    now = load(connection, number)
    if step.action == "note":
        if now.note != step.note:
            raise RedirectdError(
                f"remap {number}", "it has another note by now, which stays", f"look at it: redirectd show {number}"
            )
        return set_note(connection, number, step.before.note, by)[0]
    if (error := _too_late(step, now)) is not None:
        raise error
    if step.action == "confirm":
        return _as_decided_before(connection, step.before, by)
    if step.action == "revoke":
        _refuse_replacing(connection, step.before)
        _approve_again(connection, step.before, by, policy)
        return load(connection, number)
    if step.action == AGREE:
        person = policy.four_eyes.person_of(decision.account or "")
        move_all(
            connection,
            [Transition(now, WITHDRAW, by.reason, {}, {"person": person})],
            at=by.at,
            actor=by.actor,
            via=by.via,
        )
        return load(connection, number)
    if step.action == "approve":
        revoke(connection, number, by)
    found = reopen(connection, number, by)
    for one in step.replaced:
        _approve_again(connection, one, by, policy)
    return found


def _do(
    connection: Connection, action: str, number: int, decision: Decision, policy: Policy | None = None
) -> tuple[Remap, DecisionStep]:
    done = decide_all(connection, action, [number], decision, policy)
    for error in done.refused.values():
        raise error
    return load(connection, number), done.steps[0]


def _refuse_replacing(connection: Connection, was: Remap) -> None:
    """What another person has approved meanwhile for the same old URI is not taken back along the way."""
    for one in remaps.by_old_key(connection, was.old_key):
        if one.kind == was.kind and one.state is State.APPROVED:
            raise RedirectdError(
                f"remap {was.id}",
                f"remap {one.id} of the same old URI has been approved since, so the last step can't be taken back",
                f"look at it: redirectd show {one.id}",
            )


def _as_decided_before(connection: Connection, was: Remap, by: Decision) -> Remap:
    """Its decision and review date are what they were, so that it fails or is stale as before."""
    dates = {"decided_at": was.decided_at, "decided_by": was.decided_by, "revalidate_after": was.revalidate_after}
    connection.execute(update(table).where(table.c.id == was.id).values(**dates))
    record(connection, was, "unconfirm", by, by.reason)
    return load(connection, was.id)


def _approve_again(connection: Connection, was: Remap, by: Decision, policy: Policy) -> None:
    """Restores what a person had approved as it was, with its dates."""
    alone = asked_alone(connection, [was.id]).get(was.id, frozenset())
    reopen(connection, was.id, by)
    choice = next((place for place, one in enumerate(was.contacts, 1) if one.uri == was.new_uri), None)
    restored = approve(connection, was.id, replace(by, force=True, contact=choice, alone=alone), policy)
    if restored.state is not State.APPROVED:
        raise RefusedError(
            f"remap {was.id}",
            "several people must approve it again, so one person can't undo this",
            f"reopen it, then have each of them run: redirectd approve {was.id}",
        )
    dates = {"decided_at": was.decided_at, "decided_by": was.decided_by, "revalidate_after": was.revalidate_after}
    connection.execute(update(table).where(table.c.id == was.id).values(**dates))
