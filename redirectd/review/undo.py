"""Taking back a reviewer's last step, as steps of the same state machine: the audit tells of both (R35)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, update

from redirectd.config.policy import Policy
from redirectd.errors import RedirectdError
from redirectd.review.confirm import confirm
from redirectd.review.decide import Decision, approve, load, reject, reopen, revoke
from redirectd.store import audit, remaps
from redirectd.store.lock import take_turn
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap as table


@dataclass(frozen=True, slots=True)
class Step:
    """What was done to one remap: `action` is approve, reject, confirm or note; `before` is the remap as it was.

    `replaced` are the remaps that an approval superseded, as they were.
    """

    action: str
    before: Remap
    replaced: Sequence[Remap] = ()


def do_approve(connection: Connection, number: int, decision: Decision, policy: Policy) -> tuple[Remap, Step]:
    """Approves, and gives what takes it back. Raises as `redirectd.review.decide.approve`."""
    take_turn(connection, audit.TURN)
    before = load(connection, number)
    rivals = [
        one
        for one in remaps.by_old_key(connection, before.old_key)
        if one.id != number and one.kind == before.kind and one.state is State.APPROVED
    ]
    return approve(connection, number, decision, policy), Step("approve", before, rivals)


def do_reject(connection: Connection, number: int, decision: Decision) -> tuple[Remap, Step]:
    """Rejects, and gives what takes it back."""
    take_turn(connection, audit.TURN)
    before = load(connection, number)
    return reject(connection, number, decision), Step("reject", before)


def do_confirm(connection: Connection, number: int, decision: Decision, policy: Policy) -> tuple[Remap, Step]:
    """Keeps an approved one as it is, and gives what takes that back."""
    take_turn(connection, audit.TURN)
    before = load(connection, number)
    return confirm(connection, number, decision, policy), Step("confirm", before)


def set_note(connection: Connection, number: int, text: str, decision: Decision) -> tuple[Remap, Step]:
    """Writes a note on a remap, in place of the one it has."""
    take_turn(connection, audit.TURN)
    before = load(connection, number)
    connection.execute(update(table).where(table.c.id == number).values(note=text))
    entry = audit.Entry(
        at=decision.at,
        actor=decision.actor,
        action="note",
        remap_id=number,
        old_state=before.state,
        new_state=before.state,
        reason=text,
    )
    audit.append(connection, entry)
    return load(connection, number), Step("note", before)


def undo(connection: Connection, step: Step, decision: Decision, policy: Policy) -> Remap:
    """Puts the remap back, and what its approval had replaced. Raises RedirectdError where somebody was quicker."""
    take_turn(connection, audit.TURN)
    number = step.before.id
    by = replace(decision, reason=f"undo of {step.action}")
    if step.action == "note":
        return set_note(connection, number, step.before.note, by)[0]
    expected = State.REJECTED if step.action == "reject" else State.APPROVED
    now = load(connection, number)
    if now.state is not expected:
        raise RedirectdError(
            f"remap {number}",
            f"it is {now.state} by now, so the last step can't be taken back",
            f"look at it: redirectd show {number}",
        )
    if step.action == "confirm":
        return _as_decided_before(connection, step.before, by)
    if step.action == "approve":
        revoke(connection, number, by)
    found = reopen(connection, number, by)
    for one in step.replaced:
        _approve_again(connection, one, by, policy)
    return found


def _as_decided_before(connection: Connection, was: Remap, by: Decision) -> Remap:
    """Its decision and review date are what they were, so that it fails or is stale as before."""
    dates = {"decided_at": was.decided_at, "decided_by": was.decided_by, "revalidate_after": was.revalidate_after}
    connection.execute(update(table).where(table.c.id == was.id).values(**dates))
    entry = audit.Entry(
        at=by.at,
        actor=by.actor,
        action="unconfirm",
        remap_id=was.id,
        old_state=State.APPROVED,
        new_state=State.APPROVED,
        reason=by.reason,
    )
    audit.append(connection, entry)
    return load(connection, was.id)


def _approve_again(connection: Connection, was: Remap, by: Decision, policy: Policy) -> None:
    """What a person had approved stands again as it stood, with its dates."""
    reopen(connection, was.id, by)
    choice = next((place for place, one in enumerate(was.contacts, 1) if one.uri == was.new_uri), None)
    approve(connection, was.id, replace(by, force=True, contact=choice), policy)
    dates = {"revalidate_after": was.revalidate_after}
    connection.execute(update(table).where(table.c.id == was.id).values(**dates))
