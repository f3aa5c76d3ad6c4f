"""R29: approval without a person, where a complete rule is configured and nothing at all speaks against it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from redirectd.collect.policy import AutoApprove, Policy, address_of
from redirectd.dialects.frame import Authenticity
from redirectd.errors import RedirectdError
from redirectd.plan.route import Approved
from redirectd.review.approvals import routed
from redirectd.review.decide import approve
from redirectd.review.decision import Decision
from redirectd.review.four_eyes import required
from redirectd.review.holds import with_holds
from redirectd.sip.compare import route_key
from redirectd.sip.uri import SipUri, in_domains, parse_uri
from redirectd.store import remaps
from redirectd.store.database import Database
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap, remap_peer
from redirectd.store.statements import chunks

ACTOR = "redirectd"
"""Who the audit names for what no person decided."""


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What one peer reported of a remap by authentic sightings (R39): distinct calls, when the first and the last."""

    peer: str
    calls: int
    first_seen: datetime
    last_seen: datetime


def objection(remap: Remap, reports: Iterable[PeerReport], rivals: Iterable[Remap], rule: AutoApprove) -> str | None:
    """Why the rule does not approve `remap`; None where all of it holds.

    `remap` carries its holds under the current policy, `rivals` are the other remaps of its old URI. Only what the
    rule's own peers reported counts, for the number of calls and for the age alike.
    """
    if remap.state is not State.PENDING or remap.kind not in {"user", "gateway"}:
        return f"it is {remap.state} and of kind {remap.kind}"
    if remap.flags or remap.new_uri is None or remap.expires_at is not None:
        return f"it is held: {', '.join(sorted(remap.flags)) or 'its Contact or lifetime needs a person'}"
    if remap.decided_by is not None:
        return "somebody has decided on it before"
    if any(one.id != remap.id and one.kind == remap.kind and one.state is State.APPROVED for one in rivals):
        return "it would take the place of an approved remap"
    return _evidence_objection(remap, list(reports), rule) or _target_objection(remap.new_uri, rule)


def _evidence_objection(remap: Remap, reports: Sequence[PeerReport], rule: AutoApprove) -> str | None:
    counted = [one for one in reports if _is_named(one.peer, rule)]
    # A better sighting of a call replaces the lesser one in the remap's own count only, hence the bound.
    calls = min(sum(one.calls for one in counted), remap.calls)
    if not counted or calls < rule.min_calls:
        return f"{calls} calls from the rule's peers, {rule.min_calls} are needed"
    age = max(one.last_seen for one in counted) - min(one.first_seen for one in counted)
    if age < rule.min_age:
        return f"seen over {age}, {rule.min_age} are needed"
    return None


def _is_named(peer: str, rule: AutoApprove) -> bool:
    address = address_of(peer)
    return address is not None and any(address in network for network in rule.peers)


def _target_objection(new_uri: str, rule: AutoApprove) -> str | None:
    new = parse_uri(new_uri)
    assert isinstance(new, SipUri)
    host = route_key(new).host
    return None if in_domains(host, rule.allowed_domains) else f"{host} is none of the rule's allowed_domains"


@dataclass(frozen=True, slots=True)
class AutoApproved:
    """What a run did: the remaps that are approved now, those that an approval refused, with why, and how many are
    `left` because the next apply could not carry them."""

    approved: tuple[Remap, ...] = ()
    refused: Mapping[int, str] | None = None
    left: int = 0


WithinLimits = Callable[[], Callable[[Sequence[Approved]], bool]]
"""Reads what is approved, and gives what says whether the next apply may carry more beside it."""


def approve_ready(
    database: Database, policy: Policy, *, now: datetime, within_limits: WithinLimits | None = None
) -> AutoApproved:
    """Approves every pending remap that the policy's rule covers, each in its own transaction, audited.

    Does nothing where no rule is configured. What contradicts an approved remap (R44) stays pending, and so does what
    would have the next apply refused by a safety limit: of those that are ready the first are taken, by their ids.
    """
    rule = policy.auto_approve
    if rule is None:
        return AutoApproved()
    done: list[Remap] = []
    refused: dict[int, str] = {}
    with database.read() as connection:
        found = _ready(connection, policy, rule)
        ready = found if within_limits is None or not found else _first(connection, found, within_limits())
    by = Decision(actor=ACTOR, at=now, reason=_reason(rule))
    for number in ready:
        try:
            with database.begin() as connection:
                # Once more under the write lock: what it was found by may have changed.
                if number in _ready(connection, policy, rule, only=number):
                    done.append(approve(connection, number, by, policy))
        except RedirectdError as error:
            refused[number] = error.why
    return AutoApproved(tuple(done), refused, left=len(found) - len(ready))


def _first(connection: Connection, numbers: list[int], fits: Callable[[Sequence[Approved]], bool]) -> list[int]:
    """As many of them, in their order, as fit: found by halves, since each try is a whole plan."""
    more = [routed(one) for one in remaps.of_ids(connection, numbers)]
    fit, over = 0, len(more) + 1
    at = len(more)
    while over - fit > 1:
        if fits(more[:at]):
            fit = at
        else:
            over = at
        at = (fit + over) // 2
    return [one.id for one in more[:fit]]


def _reason(rule: AutoApprove) -> str:
    peers = ", ".join(str(network) for network in rule.peers[:5])
    return f"policy.auto_approve: {rule.min_calls} calls over {rule.min_age} from {peers}"


def _ready(connection: Connection, policy: Policy, rule: AutoApprove, *, only: int | None = None) -> list[int]:
    """The ids that the rule covers now. What the database can rule out does not come into Python at all."""
    query = select(remap.c.id).where(
        remap.c.state == State.PENDING,
        remap.c.kind.in_(["user", "gateway"]),
        remap.c.authenticity >= Authenticity.FRAMED.value,
        remap.c.calls >= rule.min_calls,
        remap.c.flags == "{}",
        remap.c.new_uri.is_not(None),
        remap.c.expires_at.is_(None),
        remap.c.decided_by.is_(None),
    )
    if only is not None:
        query = query.where(remap.c.id == only)
    found: list[int] = []
    for part in chunks(connection.scalars(query.order_by(remap.c.id)).all()):
        reports = _reports(connection, part)
        for one in remaps.of_ids(connection, part):
            held = with_holds(one, policy)
            if required(held, policy) > 1:
                continue  # no rule is one of several people
            rivals = [] if held.flags else remaps.by_old_key(connection, held.old_key)
            if objection(held, reports[one.id], rivals, rule) is None:
                found.append(one.id)
    return found


def _reports(connection: Connection, numbers: Sequence[int]) -> dict[int, list[PeerReport]]:
    found: dict[int, list[PeerReport]] = defaultdict(list)
    query = select(remap_peer).where(remap_peer.c.remap_id.in_(numbers), remap_peer.c.authentic_calls > 0)
    rows: Any = connection.execute(query)
    for row in rows:
        found[row.remap_id].append(PeerReport(row.peer, row.authentic_calls, row.authentic_first, row.authentic_last))
    return found
