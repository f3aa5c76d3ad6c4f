"""Remaps by filter, page by page: the same for the terminal, JSON and a browser, at any number of remaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, exists, false, func, not_, or_, select

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import DOUBTFUL
from redirectd.dialects.frame import Authenticity
from redirectd.review.four_eyes import with_approvals
from redirectd.review.holds import FAILING, INEFFECTIVE, LOOKS, REDUNDANT, STALE, is_trusted, suspects, with_holds
from redirectd.review.target_health import failing, may_fail
from redirectd.store.remap import Remap, State
from redirectd.store.remaps import RemapFilter, counts, find, ids_of, of_ids, uris_of
from redirectd.store.schema import in_service, remap, remap_method, remap_peer
from redirectd.store.statements import chunks

CHUNK = 500
"""Remaps that are read at a time where a flag has to be worked out in Python."""

HELD, UNROUTED = "held", "not-in-force"
"""What a filter takes beside the names of flags: any that holds a remap; approved, and on no node in service."""

MOST_GATEWAYS = 50
"""Approved gateway moves whose users the database looks for by their host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which remaps; what is None or empty does not restrict.

    `peer` is a part of the peer's text, `domain` of either side's host, `flag` the name of a hold (`none`: those
    without any), `seen_before` the time before which they were last seen. With `now`, remaps carry the flags of
    `redirectd.review.attention` too, and can be looked for by them.
    """

    states: Sequence[State] = ()
    kind: str | None = None
    peer: str | None = None
    domain: str | None = None
    flag: str | None = None
    seen_before: datetime | None = None
    now: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing but the state restricts."""
        return not any((self.kind, self.peer, self.domain, self.flag, self.seen_before))


@dataclass(frozen=True, slots=True)
class Page:
    """One page, oldest id first; `after` is what the next page begins behind, None at the end."""

    remaps: tuple[Remap, ...]
    after: int | None


def page(connection: Connection, query: Query, policy: Policy, *, after: int = 0, limit: int = 50) -> Page:
    """The next `limit` remaps after id `after`, with their holds under the current policy."""
    found: list[Remap] = []
    for one in matching(connection, query, policy, after=after, chunk=limit + 1):
        if len(found) == limit:
            return Page(tuple(found), found[-1].id)
        found.append(one)
    return Page(tuple(found), None)


def matching(
    connection: Connection,
    query: Query,
    policy: Policy,
    *,
    after: int = 0,
    chunk: int = CHUNK,
    also: Sequence[ColumnElement[bool]] = (),
) -> Iterator[Remap]:
    """All remaps of a query that meet the conditions `also`, oldest id first, read in parts; no snapshot is held
    between two parts."""
    size = max(chunk, CHUNK) if query.flag else chunk
    narrowed = [*also, *_narrowing(connection, query, policy)]
    wanted = replace(_filter(query), after_id=after, limit=size, also=narrowed)
    while True:
        part, after, more = _part(connection, wanted, policy, query)
        flagged = with_approvals(connection, [with_holds(one, policy) for one in part], policy)
        if query.now is not None and flagged:
            from redirectd.review.attention import with_attention

            flagged = with_attention(connection, flagged, now=query.now)
        for held in flagged:
            if _passes(held, query.flag):
                yield held
        if not more:
            return
        wanted = replace(wanted, after_id=after)


def _part(connection: Connection, wanted: RemapFilter, policy: Policy, query: Query) -> tuple[list[Remap], int, bool]:
    """The next remaps, the id behind which the next part begins, and whether there may be one."""
    if query.flag not in _BY_URIS:
        part = find(connection, wanted)
        return part, part[-1].id if part else 0, len(part) == wanted.limit
    # No query condition covers all of it, so only the URIs are looked at, and few remaps are read whole.
    rows = uris_of(connection, wanted)
    suspicious = suspects(rows, policy)
    if query.flag == "suspicious":
        kept = suspicious
    else:
        kept = {one.id for one in rows} - suspicious
        if query.now is not None:
            from redirectd.review.proposals import covered_by_gateways

            kept -= covered_by_gateways(connection, rows).keys()
    return of_ids(connection, kept), rows[-1].id if rows else 0, len(rows) == wanted.limit


_BY_URIS = frozenset({"suspicious", "none"})
"""Flags that the URIs of a remap decide, as far as the database can't."""


def _passes(held: Remap, flag: str | None) -> bool:
    if flag in {None, UNROUTED}:
        return True
    if flag == HELD:
        return bool(held.flags.keys() - LOOKS)
    return not held.flags if flag == "none" else flag in held.flags


def _filter(query: Query) -> RemapFilter:
    return RemapFilter(
        states=query.states,
        kind=query.kind,
        peer=query.peer,
        domain=query.domain,
        seen_before=query.seen_before,
    )


def _narrowing(connection: Connection, query: Query, policy: Policy) -> list[ColumnElement[bool]]:
    """What the database can say of a flag: it may let remaps pass that don't have it, never the other way round."""
    flag = query.flag
    if flag in {None, HELD, "suspicious"}:
        return []
    if flag == UNROUTED:
        routed = exists().where(in_service.c.remap_id == remap.c.id)
        return [remap.c.state == State.APPROVED, remap.c.kind != "registrar", not_(routed)]
    if query.now is not None and flag in {FAILING, INEFFECTIVE, STALE, REDUNDANT}:
        return _due(connection, flag, query.now)
    if flag == "untrusted":
        return [not_(one) for one in _trusted(connection, policy)]
    if flag in _OF_FLAG:
        return list(_OF_FLAG[flag])
    if flag == "none":
        called = or_(remap.c.kind == "gateway", (remap.c.kind == "user") & _CALLED)
        sure = remap.c.authenticity >= Authenticity.FRAMED.value
        return [remap.c.flags == "{}", sure, *_trusted(connection, policy), called]
    return [remap.c.flags.contains(f'"{flag}"', autoescape=True)]


def _believed(table: Table, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """That a row of a child table fits: one of authentic sightings, where the remap has any (R39).

    Asked of each remap, since a page needs few: the set of all that fit would be made anew for each.
    """
    rows = exists().where(table.c.remap_id == remap.c.id)
    is_authentic = table.c.authentic_calls > 0
    return or_(rows.where(is_authentic, condition), and_(not_(rows.where(is_authentic)), rows.where(condition)))


_CALLED = _believed(remap_method, remap_method.c.method == "INVITE")
_OTHER = remap.alias("other")
_OVERLAPS = exists().where(
    _OTHER.c.old_hash == remap.c.old_hash,
    _OTHER.c.id != remap.c.id,
    _OTHER.c.first_seen <= remap.c.last_seen,
    _OTHER.c.last_seen >= remap.c.first_seen,
)
"""Another remap of the same old URI was seen in the same span of time: flapping (R32) is a part of that."""

_OF_FLAG: Mapping[str, Sequence[ColumnElement[bool]]] = {
    **{name: [remap.c.authenticity < Authenticity.FRAMED.value] for name in DOUBTFUL},
    "method": [remap.c.kind == "user", not_(_CALLED)],
    "registrar": [remap.c.kind == "registrar"],
    "flapping": [_OVERLAPS],
}


def _each_peer() -> Select[Any]:
    """The peers that have reported a 301: one step in the index for each of them, not for each of its remaps."""
    first = select(func.min(remap_peer.c.peer).label("peer")).cte("peers", recursive=True)
    following = select(func.min(remap_peer.c.peer)).where(remap_peer.c.peer > first.c.peer).scalar_subquery()
    peers = first.union_all(select(following).where(first.c.peer.is_not(None)))
    return select(peers.c.peer).where(peers.c.peer.is_not(None))


def _trusted(connection: Connection, policy: Policy) -> list[ColumnElement[bool]]:
    """That a trusted peer has reported it (R26)."""
    peers: Sequence[str] = connection.scalars(_each_peer().limit(CHUNK + 1)).all()
    trusted = [peer for peer in peers if is_trusted(peer, policy)]
    if len(peers) > CHUNK:  # databases bound the number of parameters
        return []
    return [_believed(remap_peer, remap_peer.c.peer.in_(trusted))]


def _due(connection: Connection, flag: str, now: datetime) -> list[ColumnElement[bool]]:
    if flag == STALE:
        return [remap.c.state == State.APPROVED, remap.c.revalidate_after < now]
    if flag == INEFFECTIVE:
        past = select(in_service.c.remap_id).where(in_service.c.calls > 0)
        return [remap.c.state == State.APPROVED, remap.c.id.in_(past)]
    if flag == FAILING:
        return [remap.c.state == State.APPROVED, may_fail()]
    gateways = connection.scalars(
        select(remap.c.old_key)
        .where(remap.c.state == State.APPROVED, remap.c.kind == "gateway")
        .limit(MOST_GATEWAYS + 1)
    ).all()
    coverable = [remap.c.state.in_([State.PENDING, State.APPROVED]), remap.c.kind == "user"]
    if len(gateways) > MOST_GATEWAYS:
        return coverable
    # `sip:host` of a gateway is `sip:user@host` of its users.
    users = [remap.c.old_key.endswith(f"@{key.partition(':')[2]}", autoescape=True) for key in gateways]
    return [*coverable, or_(false(), *users)]


MOST_COUNTED = 20_000
"""Pending remaps of which it is counted how many are held."""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many remaps wait, and for what; `held` is None where there are too many to look at each."""

    pending: int
    held: int | None
    approved: int
    not_in_force: int
    failing: int
    rejected: int


def queue_counts(connection: Connection, policy: Policy) -> QueueCounts:
    """What there is to review."""
    by_state = counts(connection)
    pending = by_state.get(State.PENDING, 0)
    unrouted = select(func.count()).where(*_narrowing(connection, Query(flag=UNROUTED), policy))
    return QueueCounts(
        pending=pending,
        held=_count_held(connection, policy, pending),
        approved=by_state.get(State.APPROVED, 0),
        not_in_force=int(connection.scalar(unrouted) or 0),
        failing=len(failing(connection)),
        rejected=by_state.get(State.REJECTED, 0),
    )


def _count_held(connection: Connection, policy: Policy, pending: int) -> int | None:
    """How many pending remaps are held. Their URIs say it, but where others of the same old URI alternate (R32)."""
    if pending > MOST_COUNTED or not _trusted(connection, policy):
        return None
    wanted = RemapFilter(states=[State.PENDING], also=_narrowing(connection, Query(flag="none"), policy))
    rows = uris_of(connection, wanted)
    free = {one.id for one in rows} - suspects(rows, policy)
    doubtful = set(ids_of(connection, replace(wanted, also=[*wanted.also, _OVERLAPS]))) & free
    flapping = (with_holds(one, policy) for one in of_ids(connection, doubtful))
    return pending - len(free) + sum(bool(one.flags.keys() - LOOKS) for one in flapping)


def ids(connection: Connection, query: Query, policy: Policy) -> list[int]:
    """The ids of all remaps of a query: what a decision on a whole filter counts, and then takes one by one."""
    if query.flag is None:
        return ids_of(connection, _filter(query))
    return [one.id for one in matching(connection, query, policy)]


def passing(connection: Connection, query: Query, policy: Policy, numbers: Sequence[int]) -> list[int]:
    """Those of `numbers` that are in the query, in the order in which they are given."""
    found: set[int] = set()
    for part in chunks(numbers, CHUNK):
        among = [remap.c.id.in_(part)]
        found.update(one.id for one in matching(connection, query, policy, also=among))
    return [number for number in numbers if number in found]
