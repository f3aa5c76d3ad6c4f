"""What a person or the time decides: approve, reject, revoke, reopen, expire, as moves of the one state machine.

A decision on many remaps is made in transactions of a few hundred: quick, and no lock is held for minutes. `confirm`
says again that an approved remap is right: past its review date (R36), or although its target failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, select, update

from redirectd.collect.policy import Policy
from redirectd.errors import RedirectdError, RefusedError, UsageError
from redirectd.review.approvals import Approvals, MoreNeeded
from redirectd.review.decision import Decision, DecisionOutcome, DecisionStep
from redirectd.review.four_eyes import AGREE, WITHDRAW, version, with_approvals
from redirectd.review.holds import with_holds
from redirectd.store import audit, remaps
from redirectd.store.database import Database
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap as table
from redirectd.store.statements import chunks
from redirectd.store.states import TRANSITIONS, Transition, move_all, past, reopening
from redirectd.store.turns import take_turn

_NO_COMMANDS = frozenset({"supersede", "expire", AGREE, WITHDRAW})
"""What becomes of a remap as part of something else."""


class ChangedError(RefusedError):
    """A remap is not as it was when somebody decided on it: another person has, or a new sighting changed it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"remap {number}", "it has changed since it was looked at", "look at it again, then decide")


def load(connection: Connection, number: int) -> Remap:
    """A remap by id. Raises UsageError where there is none."""
    found = remaps.get(connection, number)
    if found is None:
        raise _missing(number)
    return found


def approve(connection: Connection, number: int, decision: Decision, policy: Policy) -> Remap:
    """Approves a remap. Raises RefusedError for holds and contradictions, UsageError for a wrong choice."""
    return _decide(connection, "approve", number, decision, policy)


def reject(connection: Connection, number: int, decision: Decision) -> Remap:
    """Rejects a pending remap; it stays rejected on new sightings (R31)."""
    return _decide(connection, "reject", number, decision)


def revoke(connection: Connection, number: int, decision: Decision) -> Remap:
    """Takes an approval back, at the next apply (R35)."""
    return _decide(connection, "revoke", number, decision)


def reopen(connection: Connection, number: int, decision: Decision) -> Remap:
    """Puts a decided remap back among the pending; a choice of Contact is open again."""
    return _decide(connection, "reopen", number, decision)


def expire(connection: Connection, *, now: datetime) -> list[int]:
    """Ends the approved remaps that have expired (R18); gives their ids."""
    query = select(table.c.id).where(table.c.state == State.APPROVED, table.c.expires_at <= now)
    if connection.execute(query.limit(1)).first() is None:
        return []  # nearly always: no turn is taken for it
    take_turn(connection, audit.TURN)
    numbers = [int(row.id) for row in connection.execute(query.order_by(table.c.id))]
    decide_all(connection, "expire", numbers, Decision(actor="redirectd", at=now, reason="expired"))
    return numbers


def decide_all(
    connection: Connection,
    action: str,
    numbers: Iterable[int],
    decision: Decision,
    policy: Policy | None = None,
) -> DecisionOutcome:
    """Takes one decision on many remaps, one after another in the order given, within the caller's transaction.

    `action` is one of `TRANSITIONS`; only an approval needs the `policy`. One that is refused leaves the others done.
    Of several remaps of one old URI, only the first is approved: the others contradict it (R44).
    """
    take_turn(connection, audit.TURN)
    told = DecisionOutcome()
    wanted = list(dict.fromkeys(numbers))
    found = {one.id: one for one in remaps.of_ids(connection, wanted)}
    judge = None
    if action == "approve":
        assert policy is not None, "an approval is judged by the policy"
        judge = Approvals(connection, list(found.values()), decision, policy)
    moves: list[Transition] = []
    for number in wanted:
        try:
            if number not in found:
                raise _missing(number)
            refuse_state(found[number], action)
            step, more = _plain(found[number], action, decision) if judge is None else approval(judge, found[number])
        except RedirectdError as error:
            told.refused[number] = error
            continue
        told.steps.append(replace(step, done=(decision.at, decision.actor)))
        moves += more
    move_all(connection, moves, at=decision.at, actor=decision.actor, force=decision.force, via=decision.via)
    return told


def decide_seen(
    connection: Connection, action: str, seen: Mapping[int, str], decision: Decision, policy: Policy
) -> DecisionOutcome:
    """Decides as `decide_all` does on remaps that are as somebody has seen them, by their `version`.

    One that has changed since is refused with ChangedError; the others are decided.
    """
    take_turn(connection, audit.TURN)
    changed = {
        number: ChangedError(number)
        for number, now in versions(connection, seen, policy).items()
        if now != seen[number]
    }
    outcome = decide_all(connection, action, [one for one in seen if one not in changed], decision, policy)
    outcome.refused.update(changed)
    return outcome


def versions(connection: Connection, numbers: Iterable[int], policy: Policy) -> dict[int, str]:
    """By id, the version of each remap that is there."""
    held = [with_holds(one, policy) for one in remaps.of_ids(connection, numbers)]
    return {one.id: version(one) for one in with_approvals(connection, held, policy)}


def _decide(
    connection: Connection, action: str, number: int, decision: Decision, policy: Policy | None = None
) -> Remap:
    for error in decide_all(connection, action, [number], decision, policy).refused.values():
        raise error
    return load(connection, number)


def _missing(number: int) -> UsageError:
    return UsageError(f"remap {number}", "there is no remap of that id", "see the ids with 'redirectd list'")


def refuse_state(found: Remap, action: str) -> None:
    """Raises RedirectdError where the remap's state does not allow this step."""
    allowed, _ = TRANSITIONS[action]
    if found.state not in allowed:
        ways = {name for name, (states, _) in TRANSITIONS.items() if found.state in states} - _NO_COMMANDS
        raise RedirectdError(
            f"remap {found.id}",
            f"it is {found.state}; only {' and '.join(sorted(allowed))} remaps can be {past(action)}",
            f"what can be done with it: {', '.join(f'redirectd {name} {found.id}' for name in sorted(ways))}",
        )


def _plain(found: Remap, action: str, decision: Decision) -> tuple[DecisionStep, list[Transition]]:
    move = reopening(found, decision.reason) if action == "reopen" else Transition(found, action, decision.reason)
    return DecisionStep(action, found), [move]


def approval(
    judge: Approvals, before: Remap, replacing: frozenset[int] | None = None
) -> tuple[DecisionStep, list[Transition]]:
    """The change of an approval, after those of what it replaces (R44); or where others must approve it too, its note.

    Raises as `Approvals.approved`.
    """
    try:
        found, replaced, detail = judge.approved(before, replacing)
    except MoreNeeded as more:
        return DecisionStep(AGREE, before), [Transition(before, AGREE, judge.decision.reason, {}, more.detail)]
    gone = [Transition(other, "supersede", f"replaced by remap {found.id}") for other in replaced]
    values: dict[str, object] = {
        "revalidate_after": judge.review_date,
        "replaces": replaced[0].id if replaced else None,
    }
    if found.new_uri != before.new_uri:
        values |= remaps.leading_to(found.kind, found.new_uri)
    return DecisionStep("approve", before, replaced), [
        *gone,
        Transition(found, "approve", judge.decision.reason, values, detail),
    ]


BATCH = 500
"""Remaps of one transaction: a few tenths of a second."""


def decide_in_batches(
    database: Database, action: str, numbers: Iterable[int], decision: Decision, policy: Policy
) -> Iterator[DecisionOutcome]:
    """Decides as `decide_all` does, and gives what each batch came to once it is committed.

    Whoever stops iterating stops the work; batches already yielded stay decided. Raises StoreError, and RedirectdError
    where somebody decided at the same moment: the batch it happens in is taken back.
    """
    for part in chunks(dict.fromkeys(numbers), BATCH):
        yield database.run(partial(decide_all, action=action, numbers=part, decision=decision, policy=policy))


def confirm(connection: Connection, number: int, decision: Decision, policy: Policy) -> Remap:
    """Sets the review date anew and forgets failures until now; routing does not change. Audited (R35).

    Raises RedirectdError where it is not approved, UsageError where there is none of that id.
    """
    take_turn(connection, audit.TURN)
    found = load(connection, number)
    if found.state is not State.APPROVED:
        raise RedirectdError(
            f"remap {number}", f"it is {found.state}, and only approved ones can be kept", f"redirectd show {number}"
        )
    review = decision.at + policy.revalidate_after if policy.revalidate_after else None
    connection.execute(
        update(table)
        .where(table.c.id == number, table.c.state == State.APPROVED)
        .values(revalidate_after=review, decided_at=decision.at, decided_by=decision.actor)
    )
    record(connection, found, "confirm", decision, decision.reason)
    return load(connection, number)


def record(connection: Connection, found: Remap, action: str, decision: Decision, reason: str) -> None:
    """Audits a decision that leaves a remap in its state."""
    entry = audit.AuditEntry(
        at=decision.at,
        actor=decision.actor,
        action=action,
        remap_id=found.id,
        old_state=found.state,
        new_state=found.state,
        reason=reason,
        detail={"via": dict(decision.via)} if decision.via else {},
    )
    audit.append(connection, entry)
