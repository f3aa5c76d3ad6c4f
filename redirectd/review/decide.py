"""The one state machine of a remap: approve, reject, revoke, reopen, expire; each change with its audit entry (R35)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select, update

from redirectd.config.policy import Policy
from redirectd.errors import RedirectdError, RefusedError, UsageError
from redirectd.plan.cycle import would_close_cycle
from redirectd.plan.route import Approved, RouteKind
from redirectd.review.chain import onward
from redirectd.review.holds import NEED_FORCE, with_holds
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.store import audit, remaps
from redirectd.store.lock import take_turn
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap as table
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


def load(connection: Connection, number: int) -> Remap:
    """A remap by id. Raises UsageError where there is none."""
    found = remaps.get(connection, number)
    if found is None:
        raise UsageError(f"remap {number}", "there is no remap of that id", "see the ids with 'redirectd list'")
    return found


def approve(connection: Connection, number: int, decision: Decision, policy: Policy) -> Remap:
    """Approves a remap. Raises RefusedError where a hold or a cycle forbids it, UsageError for a wrong choice."""
    take_turn(connection, audit.TURN)
    found = load(connection, number)
    _check("approve", found)
    chosen = _chosen(found, decision)
    found = with_holds(replace(found, new_uri=chosen), policy)
    _refuse_held(found, decision)
    _refuse_cycle(connection, found, decision)
    replaced = [
        other
        for other in remaps.by_old_key(connection, found.old_key)
        if other.id != number and other.kind == found.kind and other.state is State.APPROVED
    ]
    for other in replaced:
        _change(connection, other, "supersede", replace(decision, reason=f"replaced by remap {number}"))
    review = decision.at + policy.revalidate_after if policy.revalidate_after else None
    values = {"new_uri": chosen, "revalidate_after": review, "replaces": replaced[0].id if replaced else None}
    return _change(connection, found, "approve", decision, **values)


def reject(connection: Connection, number: int, decision: Decision) -> Remap:
    """Rejects a pending remap; it stays rejected on new sightings (R31)."""
    take_turn(connection, audit.TURN)
    return _change(connection, load(connection, number), "reject", decision)


def revoke(connection: Connection, number: int, decision: Decision) -> Remap:
    """Takes an approval back, at the next apply (R35)."""
    take_turn(connection, audit.TURN)
    return _change(connection, load(connection, number), "revoke", decision)


def reopen(connection: Connection, number: int, decision: Decision) -> Remap:
    """Puts a decided remap back among the pending; a choice of Contact is open again."""
    take_turn(connection, audit.TURN)
    found = load(connection, number)
    choice = found.contacts[0].uri if len(found.contacts) == 1 and "ambiguous" not in found.flags else None
    return _change(connection, found, "reopen", decision, new_uri=choice)


def expire(connection: Connection, *, now: datetime) -> list[int]:
    """Ends the approved remaps whose lifetime has run out (R18); gives their ids."""
    query = select(table.c.id).where(table.c.state == State.APPROVED, table.c.expires_at <= now)
    if connection.execute(query.limit(1)).first() is None:
        return []  # nearly always: no turn is taken for it
    take_turn(connection, audit.TURN)
    numbers = [int(row.id) for row in connection.execute(query.order_by(table.c.id))]
    for number in numbers:
        by = Decision(actor="redirectd", at=now, reason="its lifetime has run out")
        _change(connection, load(connection, number), "expire", by)
    return numbers


def _check(action: str, found: Remap) -> None:
    allowed, _ = TRANSITIONS[action]
    if found.state not in allowed:
        ways = {name for name, (states, _) in TRANSITIONS.items() if found.state in states} - {"supersede", "expire"}
        raise RedirectdError(
            f"remap {found.id}",
            f"it is {found.state}, and only {' or '.join(sorted(allowed))} remaps can be taken for '{action}'",
            f"what can be done with it: {', '.join(f'redirectd {name} {found.id}' for name in sorted(ways))}",
        )


def _chosen(found: Remap, decision: Decision) -> str:
    """The new URI that is approved. Several Contacts need a choice (R15)."""
    if decision.contact is not None:
        if not 1 <= decision.contact <= len(found.contacts):
            raise UsageError(
                f"remap {found.id}",
                f"it has no Contact {decision.contact}",
                f"choose --contact 1 to {len(found.contacts)}; 'redirectd show {found.id}' lists them",
            )
        return found.contacts[decision.contact - 1].uri
    if found.new_uri is None:
        listed = "; ".join(f"{index}: {one.uri}" for index, one in enumerate(found.contacts[:5], 1))
        raise RefusedError(
            f"remap {found.id}",
            f"it is ambiguous, with the Contacts {listed}",
            f"choose one: redirectd approve {found.id} --contact N",
        )
    return found.new_uri


def _refuse_held(found: Remap, decision: Decision) -> None:
    """The holds that a person passes only on purpose (R14, R27), and what can't be approved at all (R18)."""
    if found.expires_at is not None and found.expires_at <= decision.at:
        raise RefusedError(
            f"remap {found.id}",
            f"its lifetime ended on {found.expires_at:%Y-%m-%d %H:%M:%S} UTC (R18)",
            f"reject it, or wait for a newer 301: redirectd reject {found.id}",
        )
    held = {name: reason for name, reason in found.flags.items() if name in NEED_FORCE}
    if found.kind == "registrar":
        held["registrar"] = "a 301 to REGISTER is how registrations are hijacked (26.1.2); it goes into no routing file"
    if held and not (decision.force and decision.reason.strip()):
        raise RefusedError(
            f"remap {found.id}",
            "; ".join(f"{name}: {reason}" for name, reason in sorted(held.items())),
            f"if you are sure: redirectd approve {found.id} --force --reason 'why it is right'",
        )


def _refuse_cycle(connection: Connection, found: Remap, decision: Decision) -> None:
    """R34: an approval that would close a cycle is refused, with the cycle in its words."""
    if found.kind not in {"user", "gateway"}:
        return
    old, new = parse_uri(found.old_uri), parse_uri(found.new_uri or "")
    assert isinstance(old, SipUri)
    assert isinstance(new, SipUri)
    kind: RouteKind = "user" if found.kind == "user" else "gateway"
    # The chain that starts at the new URI is all that can lead back: the whole table is never read for one approval.
    in_force = onward(connection, kind, new, now=decision.at)
    cycle = would_close_cycle(in_force, Approved(found.id, kind, old, new))
    if cycle is None:
        return
    by_id = {one.id: one for one in in_force}
    hops = [f"{found.old_uri} -> {found.new_uri} (remap {found.id})"]
    hops += [f"{by_id[one].old} -> {by_id[one].new} (remap {one})" for one in cycle[1:]]
    raise RefusedError(
        f"remap {found.id}",
        "it would close a cycle: " + ", ".join(hops),
        "revoke one of the others first: " + " or ".join(f"redirectd revoke {one}" for one in cycle[1:]),
    )


def _change(connection: Connection, found: Remap, action: str, decision: Decision, **values: object) -> Remap:
    """Moves a remap to its new state, unless somebody else has moved it meanwhile, and says so in the audit."""
    _check(action, found)
    _, state = TRANSITIONS[action]
    changed = connection.execute(
        update(table)
        .where(table.c.id == found.id, table.c.state == found.state)
        .values(state=state, decided_at=decision.at, decided_by=decision.actor, **values)
    )
    if changed.rowcount != 1:
        raise RedirectdError(
            f"remap {found.id}", "somebody else has just decided on it", f"look again: redirectd show {found.id}"
        )
    if State.APPROVED in {found.state, state}:
        tell_nodes(connection)
    audit.append(
        connection,
        audit.Entry(
            at=decision.at,
            actor=decision.actor,
            action=action,
            remap_id=found.id,
            old_state=found.state,
            new_state=state,
            reason=printable(decision.reason),
            detail={
                "old_uri": found.old_uri,
                "new_uri": values.get("new_uri") or found.new_uri,
                "force": decision.force,
                "flags": sorted(found.flags),
            },
        ),
    )
    return load(connection, found.id)
