"""The one state machine of a remap: approve, reject, revoke, reopen, expire; each change with its audit entry (R35)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select, update

from redirectd.config.policy import Policy
from redirectd.errors import RedirectdError, UsageError
from redirectd.review.approvals import Approvals
from redirectd.sip.text import printable
from redirectd.store import audit, remaps
from redirectd.store.lock import take_turn
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap as table
from redirectd.store.upsert import chunks
from redirectd.store.wake import tell_nodes

TRANSITIONS: Mapping[str, tuple[frozenset[State], State]] = {
    "approve": (frozenset({State.PENDING}), State.APPROVED),
    "reject": (frozenset({State.PENDING}), State.REJECTED),
    "revoke": (frozenset({State.APPROVED}), State.REVOKED),
    "reopen": (frozenset({State.REJECTED, State.REVOKED, State.SUPERSEDED, State.EXPIRED}), State.PENDING),
    "supersede": (frozenset({State.APPROVED}), State.SUPERSEDED),
    "expire": (frozenset({State.APPROVED}), State.EXPIRED),
}
"""For each action, the states it starts from and the state it ends in. There is no other way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decides, when and why; for an approval, which Contact (1 is the first in q order) and whether holds count."""

    actor: str
    at: datetime
    reason: str = ""
    contact: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What was done to one remap, for the way back: `before` is the remap as it was.

    `action` is approve, reject, revoke, reopen, expire, confirm or note. `replaced` are the remaps that an approval
    superseded, as they were.
    """

    action: str
    before: Remap
    replaced: Sequence[Remap] = ()


@dataclass(slots=True)
class Outcome:
    """What a decision on many came to: a step for each that it was done to, and for each other one why not, by id."""

    steps: list[Step] = field(default_factory=list)
    refused: dict[int, RedirectdError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Move:
    """A remap, as it was found, that goes to its next state; `values` are the other columns that change."""

    found: Remap
    action: str
    reason: str
    values: Mapping[str, object] = field(default_factory=dict)


def load(connection: Connection, number: int) -> Remap:
    """A remap by id. Raises UsageError where there is none."""
    found = remaps.get(connection, number)
    if found is None:
        raise _missing(number)
    return found


def approve(connection: Connection, number: int, decision: Decision, policy: Policy) -> Remap:
    """Approves a remap. Raises RefusedError where a hold or a cycle forbids it, UsageError for a wrong choice."""
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
    """Ends the approved remaps whose lifetime has run out (R18); gives their ids."""
    query = select(table.c.id).where(table.c.state == State.APPROVED, table.c.expires_at <= now)
    if connection.execute(query.limit(1)).first() is None:
        return []  # nearly always: no turn is taken for it
    take_turn(connection, audit.TURN)
    numbers = [int(row.id) for row in connection.execute(query.order_by(table.c.id))]
    decide_all(connection, "expire", numbers, Decision(actor="redirectd", at=now, reason="its lifetime has run out"))
    return numbers


def decide_all(
    connection: Connection,
    action: str,
    numbers: Iterable[int],
    decision: Decision,
    policy: Policy | None = None,
    taken: dict[tuple[str, str], int] | None = None,
) -> Outcome:
    """Takes one decision on many remaps, one after another in the order given, within the caller's transaction.

    `action` is one of `TRANSITIONS`; only an approval needs the `policy`. One that is refused leaves the others done.
    Of several remaps of one old URI, only the first is approved: a decision on many is no choice between them; `taken`
    has the old URIs (kind and key) and the remaps that an earlier part of the same decision approved, and gets those
    of this part.
    """
    take_turn(connection, audit.TURN)
    told = Outcome()
    wanted = list(dict.fromkeys(numbers))
    found = {one.id: one for one in remaps.of_ids(connection, wanted)}
    judge = None
    if action == "approve":
        assert policy is not None, "an approval is judged by the policy"
        judge = Approvals(connection, list(found.values()), decision, policy, {} if taken is None else taken)
    moves: list[_Move] = []
    for number in wanted:
        try:
            if number not in found:
                raise _missing(number)
            refuse_state(found[number], action)
            step, more = _plain(found[number], action, decision) if judge is None else _approval(judge, found[number])
        except RedirectdError as error:
            told.refused[number] = error
            continue
        told.steps.append(step)
        moves += more
    _write(connection, moves, decision)
    return told


def _decide(
    connection: Connection, action: str, number: int, decision: Decision, policy: Policy | None = None
) -> Remap:
    for error in decide_all(connection, action, [number], decision, policy).refused.values():
        raise error
    return load(connection, number)


def _missing(number: int) -> UsageError:
    return UsageError(f"remap {number}", "there is no remap of that id", "see the ids with 'redirectd list'")


def refuse_state(found: Remap, action: str) -> None:
    """Raises RedirectdError where there is no such step from the state a remap is in."""
    allowed, _ = TRANSITIONS[action]
    if found.state not in allowed:
        ways = {name for name, (states, _) in TRANSITIONS.items() if found.state in states} - {"supersede", "expire"}
        raise RedirectdError(
            f"remap {found.id}",
            f"it is {found.state}, and only {' or '.join(sorted(allowed))} remaps can be taken for '{action}'",
            f"what can be done with it: {', '.join(f'redirectd {name} {found.id}' for name in sorted(ways))}",
        )


def _plain(found: Remap, action: str, decision: Decision) -> tuple[Step, list[_Move]]:
    values: dict[str, object] = {}
    if action == "reopen":
        choice = found.contacts[0].uri if len(found.contacts) == 1 and "ambiguous" not in found.flags else None
        values |= {} if choice == found.new_uri else remaps.leading_to(found.kind, choice)
    return Step(action, found), [_Move(found, action, decision.reason, values)]


def _approval(judge: Approvals, before: Remap) -> tuple[Step, list[_Move]]:
    """The change of an approval, behind those of what it replaces (R30)."""
    found, replaced = judge.approved(before)
    gone = [_Move(other, "supersede", f"replaced by remap {found.id}") for other in replaced]
    values: dict[str, object] = {
        "revalidate_after": judge.review_date,
        "replaces": replaced[0].id if replaced else None,
    }
    if found.new_uri != before.new_uri:
        values |= remaps.leading_to(found.kind, found.new_uri)
    return Step("approve", before, replaced), [*gone, _Move(found, "approve", judge.decision.reason, values)]


def _write(connection: Connection, moves: Sequence[_Move], decision: Decision) -> None:
    """Moves remaps to their next states, unless somebody else has moved one meanwhile, and says so in the audit."""
    alike: dict[tuple[str, State, tuple[tuple[str, object], ...]], list[int]] = {}
    for move in moves:
        alike.setdefault((move.action, move.found.state, tuple(move.values.items())), []).append(move.found.id)
    for (action, before, values), numbers in alike.items():
        for part in chunks(numbers):
            changed = connection.execute(
                update(table)
                .where(table.c.id.in_(part), table.c.state == before)
                .values(state=TRANSITIONS[action][1], decided_at=decision.at, decided_by=decision.actor, **dict(values))
            )
            if changed.rowcount != len(part):
                raise _overtaken(part)
    if any(State.APPROVED in {move.found.state, TRANSITIONS[move.action][1]} for move in moves):
        tell_nodes(connection)
    audit.append_all(connection, [_entry(move, decision) for move in moves])


def _overtaken(numbers: Sequence[int]) -> RedirectdError:
    where = f"remap {numbers[0]}" if len(numbers) == 1 else f"one of the remaps {numbers[0]} to {numbers[-1]}"
    return RedirectdError(where, "somebody else has just decided on it", f"look again: redirectd show {numbers[0]}")


def _entry(move: _Move, decision: Decision) -> audit.Entry:
    found = move.found
    return audit.Entry(
        at=decision.at,
        actor=decision.actor,
        action=move.action,
        remap_id=found.id,
        old_state=found.state,
        new_state=TRANSITIONS[move.action][1],
        reason=printable(move.reason),
        detail={
            "old_uri": found.old_uri,
            "new_uri": move.values.get("new_uri") or found.new_uri,
            "force": decision.force,
            "flags": sorted(found.flags),
        },
    )
