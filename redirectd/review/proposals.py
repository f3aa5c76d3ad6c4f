"""One gateway move for many users' moves: proposed where most users of a host moved alike, approved by a person alone.

A proposal is worked out when it is asked for and stored nowhere. Approving one makes (or finds) the gateway remap and
approves that; a gateway remap of the same move that is there in any other state than pending is an answer already, and
nothing is proposed again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select

from redirectd.collect.policy import Policy
from redirectd.collect.usable_contacts import place_of
from redirectd.collect.verdict import digest
from redirectd.dialects.frame import Authenticity
from redirectd.errors import RedirectdError
from redirectd.review.decision import Decision, DecisionStep
from redirectd.review.importing import import_rows
from redirectd.review.portable import Portable
from redirectd.review.undo import do_approve, do_reject
from redirectd.sip.compare import RouteKey, route_key
from redirectd.sip.uri import SipUri
from redirectd.store.remap import Remap, RemapTarget, State, stored_uri
from redirectd.store.remaps import Uris
from redirectd.store.schema import remap, remap_peer
from redirectd.store.statements import chunks

SHOWN = 20
"""Exceptions that are named; a proposal has at most a fifth of its users, and a host can have thousands."""

QUICK = 20_000
"""Users' remaps that are looked through without being asked to."""


class UserMove(NamedTuple):
    """A user's remap as a proposal counts it: from the place `old` to the place `new`.

    `new` is None where the remap speaks against a proposal: it was rejected, its Contact is not chosen, or the user
    part is another one there.
    """

    id: int
    user: str
    old: RouteKey
    new: RouteKey | None


class MoveReader:
    """Reads moves from what is stored; a place is read once, however many users it has."""

    def __init__(self) -> None:
        self._places: dict[str, RouteKey] = {}

    def move(self, number: int, old_key: str, new_uri: str | None, state: State) -> UserMove:
        """The move of a remap; `old_key` is the text of a route key with a user."""
        scheme, _, rest = old_key.partition(":")
        user, _, place = rest.partition("@")
        stands = new_uri is not None and state is not State.REJECTED
        return UserMove(
            number, user, self._place(f"{scheme}:{place}"), self._under(user, new_uri or "") if stands else None
        )

    def _under(self, user: str, uri: str) -> RouteKey | None:
        """The place of a URI with this very user part, None for another one."""
        scheme, _, rest = uri.partition(":")
        name, _, place = rest.partition("@")
        if name == user:  # as most are: a user part in a route key's own form
            return self._place(f"{scheme}:{place}")
        key = route_key(stored_uri(uri))
        return key.without_user if key.user == user else None

    def _place(self, uri: str) -> RouteKey:
        found = self._places.get(uri)
        if found is None:
            found = self._places[uri] = route_key(stored_uri(uri))
        return found


@dataclass(frozen=True, slots=True)
class Proposal:
    """Users of the place `old` moved to the place `new` under the same user part.

    `covered` are their remaps, `exceptions` those of the other users; `users` of `total` users moved so.
    """

    old: SipUri
    new: SipUri
    covered: tuple[int, ...]
    exceptions: tuple[int, ...]
    users: int
    total: int

    @property
    def percent(self) -> float:
        """How many percent of the place's users moved so."""
        return 100 * self.users / self.total


def propose(
    moves: Iterable[UserMove], policy: Policy, answered: Iterable[tuple[RouteKey, RouteKey]] = ()
) -> list[Proposal]:
    """The proposals for a set of moves, the one with the most users first. Pure.

    `answered` are the moves of places that somebody has decided on. A user counts for a place if nothing says that
    the user went anywhere else; what was rejected, and an open choice of Contacts, are exceptions.
    """
    done = set(answered)
    places: dict[RouteKey, dict[str, list[UserMove]]] = {}
    for move in moves:
        places.setdefault(move.old, {}).setdefault(move.user, []).append(move)
    found = []
    for old, users in places.items():
        if len(users) < policy.propose_users:
            continue
        by_place: dict[RouteKey, list[int]] = defaultdict(list)
        counts: dict[RouteKey, int] = defaultdict(int)
        for told in users.values():
            new = _place_of_all(told)
            if new is not None:
                by_place[new] += [one.id for one in told]
                counts[new] += 1
        if not counts:
            continue
        best = max(counts, key=lambda place: (counts[place], place))
        total, moved = len(users), counts[best]
        if moved < policy.propose_users or 100 * moved < policy.propose_percent * total or (old, best) in done:
            continue
        covered = set(by_place[best])
        others = [one.id for told in users.values() for one in told if one.id not in covered]
        found.append(Proposal(old.uri, best.uri, tuple(sorted(covered)), tuple(sorted(others)), moved, total))
    return sorted(found, key=lambda one: (-one.users, str(one.old)))


def _place_of_all(told: Sequence[UserMove]) -> RouteKey | None:
    """The place that all of a user's moves lead to, None where they do not."""
    first = told[0].new
    return first if all(one.new == first for one in told[1:]) else None


_COUNTED = (
    remap.c.kind == "user",
    remap.c.state.in_([State.PENDING, State.APPROVED, State.REJECTED]),
    or_(remap.c.state != State.PENDING, remap.c.authenticity >= Authenticity.FRAMED.value),  # R39
)


def is_quick(connection: Connection) -> bool:
    """Whether `proposals` takes a tenth of a second at most."""
    few = select(remap.c.id).where(*_COUNTED).limit(QUICK + 1).subquery()
    return (connection.scalar(select(func.count()).select_from(few)) or 0) <= QUICK


def proposals(connection: Connection, policy: Policy) -> list[Proposal]:
    """What can be proposed now."""
    read = MoveReader().move
    query = select(remap.c.id, remap.c.old_key, remap.c.new_uri, remap.c.state).where(*_COUNTED)
    rows = connection.execute(query.order_by(remap.c.id))
    moves = [read(number, key, new, State(state)) for number, key, new, state in rows if "@" in key]
    gateways = select(remap.c.old_uri, remap.c.new_uri).where(
        remap.c.kind == "gateway", remap.c.state != State.PENDING, remap.c.new_uri.is_not(None)
    )
    answered = [
        (route_key(stored_uri(row.old_uri)), route_key(stored_uri(row.new_uri))) for row in connection.execute(gateways)
    ]
    return propose(moves, policy, answered)


def accept(
    connection: Connection, proposal: Proposal, decision: Decision, policy: Policy
) -> tuple[Remap, DecisionStep]:
    """Approves the gateway remap of a proposal, made here where no 301 to a ping has made it yet.

    Its evidence is that of the remaps it covers: their peers decide whether it is trusted (R26). Raises RefusedError
    where a hold or a cycle forbids it.
    """
    number = _gateway(connection, proposal, decision, policy)
    return do_approve(connection, number, decision, policy)


def decline(
    connection: Connection, proposal: Proposal, decision: Decision, policy: Policy
) -> tuple[Remap, DecisionStep]:
    """Rejects it for good: the same move is not proposed again until somebody reopens it."""
    return do_reject(connection, _gateway(connection, proposal, decision, policy), decision)


def _gateway(connection: Connection, proposal: Proposal, decision: Decision, policy: Policy) -> int:
    peers: dict[str, int] = defaultdict(int)
    calls, first = 0, decision.at
    for part in chunks(proposal.covered):
        told = select(remap_peer.c.peer, func.sum(remap_peer.c.authentic_calls).label("calls")).where(
            remap_peer.c.remap_id.in_(part), remap_peer.c.authentic_calls > 0
        )
        for row in connection.execute(told.group_by(remap_peer.c.peer)):
            peers[row.peer] += int(row.calls)
        rows = connection.execute(select(remap.c.calls, remap.c.first_seen).where(remap.c.id.in_(part)))
        for one in rows:
            calls, first = calls + one.calls, min(first, one.first_seen)
    shown = ", ".join(map(str, proposal.covered[:SHOWN])) + (" and more" if len(proposal.covered) > SHOWN else "")
    wanted = Portable(
        kind="gateway",
        old_uri=str(place_of(proposal.old)),
        new_uri=str(place_of(proposal.new)),
        contacts=(RemapTarget(str(place_of(proposal.new))),),
        calls=calls,
        first_seen=first,
        last_seen=decision.at,
        peer_calls=dict(peers),
        facts={"proposal": f"{proposal.users} of {proposal.total} users moved so: remaps {shown}"},
    )
    result = import_rows(connection, [(1, wanted)], decision, policy, with_approvals=False)
    if result.faults:
        raise RedirectdError(
            f"{proposal.old}", result.faults[0].why, "decide on the users' remaps themselves: redirectd review"
        )
    query = select(remap.c.id).where(
        remap.c.kind == "gateway",
        remap.c.old_key == str(route_key(proposal.old)),
        remap.c.new_uri == wanted.new_uri,
    )
    return int(connection.execute(query).scalar_one())


def covered_by_gateways(connection: Connection, given: Sequence[Remap | Uris]) -> dict[int, int]:
    """The user remaps that say what an approved gateway remap says of the whole host, and that one's id."""
    olds = {
        one.id: route_key(stored_uri(one.old_uri)) for one in given if one.kind == "user" and one.new_uri is not None
    }
    gateways = _approved_gateways(connection, {old.without_user for old in olds.values()})
    found = {}
    for one in given:
        old = olds.get(one.id)
        if old is None or (moved := gateways.get(old.without_user)) is None:
            continue
        gateway, place = moved
        if route_key(stored_uri(one.new_uri or "")) == place._replace(user=old.user):
            found[one.id] = gateway
    return found


def _approved_gateways(connection: Connection, places: Iterable[RouteKey]) -> dict[RouteKey, tuple[int, RouteKey]]:
    """By each place that has moved as a whole: the remap that says so, and the place it moved to."""
    found = {}
    for part in chunks(digest("gateway", str(place)) for place in places):
        query = select(remap).where(remap.c.old_hash.in_(part), remap.c.state == State.APPROVED)
        for row in connection.execute(query):
            found[route_key(stored_uri(row.old_uri))] = (int(row.id), route_key(stored_uri(row.new_uri)))
    return found
