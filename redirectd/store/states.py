"""The one state machine of a remap: where it may begin, which ways it may go, each with its audit entry (R35).

No other code writes the column `state` of a remap that is there. A move that changes routing wakes the nodes that
share a PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, text, update

from redirectd.errors import RedirectdError
from redirectd.sip.text import printable
from redirectd.store import audit, event_log, remaps
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap as table
from redirectd.store.statements import chunks

TRANSITIONS: Mapping[str, tuple[frozenset[State], State]] = {
    "approve": (frozenset({State.PENDING}), State.APPROVED),
    "reject": (frozenset({State.PENDING}), State.REJECTED),
    "revoke": (frozenset({State.APPROVED}), State.REVOKED),
    "reopen": (frozenset({State.REJECTED, State.REVOKED, State.SUPERSEDED, State.EXPIRED}), State.PENDING),
    "supersede": (frozenset({State.APPROVED}), State.SUPERSEDED),
    "expire": (frozenset({State.APPROVED}), State.EXPIRED),
    "agree": (frozenset({State.PENDING}), State.PENDING),
    "withdraw": (frozenset({State.PENDING}), State.PENDING),
}
"""For each action, the states it starts from and the state it ends in. There is no other way.

`agree` is an approval that needs others beside it, `withdraw` takes it back."""


def past(action: str) -> str:
    """The past participle of an action, as in "can be approved"."""
    return f"{action.removesuffix('e')}ed"


BIRTHS: Mapping[str, frozenset[State]] = {
    "learn": frozenset({State.PENDING}),
    "import": frozenset(State) - {State.APPROVED},
}
"""The states that a new remap may begin in. An import keeps what was decided elsewhere, but nothing begins approved."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A remap, as it was found, that goes to its next state.

    `values` are the other columns that change, `detail` is what the audit keeps besides.
    """

    found: Remap
    action: str
    reason: str
    values: Mapping[str, object] = field(default_factory=dict)
    detail: Mapping[str, object] = field(default_factory=dict)


def reopening(found: Remap, reason: str) -> Transition:
    """The way back to the pending; a choice of Contact is open again (R15)."""
    choice = found.contacts[0].uri if len(found.contacts) == 1 and "ambiguous" not in found.flags else None
    values = {} if choice == found.new_uri else remaps.leading_to(found.kind, choice)
    return Transition(found, "reopen", reason, values)


def move_all(
    connection: Connection,
    moves: Sequence[Transition],
    *,
    at: datetime,
    actor: str,
    force: bool = False,
    via: Mapping[str, str] | None = None,
) -> None:
    """Moves remaps to their next states and says so in the audit, in the order given; `via` is kept there, too.

    The caller has the audit's turn since before it read them. Raises RedirectdError where a remap is in another state
    than it was found in, or in none that the action starts from.
    """
    entries = move_each(connection, {0: moves}, at=at, actor=actor, force=force)[0]
    if via:
        entries = [replace(one, detail={**one.detail, "via": dict(via)}) for one in entries]
    audit.append_all(connection, entries)
    event_log.emit(connection, events_of(moves, at=at, actor=actor))


def move_each(
    connection: Connection,
    groups: Mapping[int, Sequence[Transition]],
    *,
    at: datetime,
    actor: str,
    force: bool = False,
) -> dict[int, list[audit.AuditEntry]]:
    """Moves remaps as `move_all` does, and gives what the caller has to say of each group in the audit.

    The caller writes the events of all of them, too.
    """
    moves = [move for group in groups.values() for move in group]
    alike: dict[tuple[str, State, tuple[tuple[str, object], ...]], list[int]] = {}
    for move in moves:
        alike.setdefault((move.action, move.found.state, tuple(move.values.items())), []).append(move.found.id)
    for (action, before, values), numbers in alike.items():
        starts, end = TRANSITIONS[action]
        if before not in starts:
            raise _no_way(numbers[0], before, action)
        for part in chunks(numbers):
            changed = connection.execute(
                update(table)
                .where(table.c.id.in_(part), table.c.state == before)
                .values(state=end, decided_at=at, decided_by=actor, **dict(values))
            )
            if changed.rowcount != len(part):
                raise _overtaken(part)
    if any(State.APPROVED in {move.found.state, TRANSITIONS[move.action][1]} for move in moves):
        notify_nodes(connection)
    return {name: [_entry(move, at, actor, force=force) for move in group] for name, group in groups.items()}


def events_of(moves: Iterable[Transition], *, at: datetime, actor: str) -> list[event_log.NewEvent]:
    """What is reported of each move."""
    return [
        event_log.NewEvent(
            kind=event_log.EventKind("agreed" if move.action == "agree" else TRANSITIONS[move.action][1].value),
            at=at,
            remap_id=move.found.id,
            actor=actor,
            detail={
                "action": move.action,
                "old_uri": move.found.old_uri,
                "new_uri": move.values.get("new_uri") or move.found.new_uri,
                "reason": printable(move.reason),
            },
        )
        for move in moves
        if move.action != "withdraw"
    ]


def _no_way(number: int, state: State, action: str) -> RedirectdError:
    return RedirectdError(
        f"remap {number}", f"it is {state}, and '{action}' does not start there", f"look at it: redirectd show {number}"
    )


def _overtaken(numbers: Sequence[int]) -> RedirectdError:
    where = f"remap {numbers[0]}" if len(numbers) == 1 else f"one of the remaps {numbers[0]} to {numbers[-1]}"
    return RedirectdError(where, "somebody else has just decided on it", f"look again: redirectd show {numbers[0]}")


def _entry(move: Transition, at: datetime, actor: str, *, force: bool) -> audit.AuditEntry:
    found = move.found
    return audit.AuditEntry(
        at=at,
        actor=actor,
        action=move.action,
        remap_id=found.id,
        old_state=found.state,
        new_state=TRANSITIONS[move.action][1],
        reason=printable(move.reason),
        detail={
            "kind": found.kind,
            "old_uri": found.old_uri,
            "new_uri": move.values.get("new_uri") or found.new_uri,
            "expires_at": found.expires_at.isoformat() if found.expires_at else None,
            "force": force,
            "flags": sorted(found.flags),
            **move.detail,
        },
    )


CHANNEL = "redirectd_routing"


def notify_nodes(connection: Connection) -> None:
    """Notifies all nodes, when the caller's transaction commits, that what is approved has changed.

    PostgreSQL alone can; nodes on another database find out by their schedule.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {CHANNEL}"))
