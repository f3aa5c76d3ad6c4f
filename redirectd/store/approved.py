"""The approved remaps as the plan takes them, with what is known of the URIs this proxy was asked for (R5).

The last simulation of each node, small, for people; and the remaps that a node routes by, whatever their state.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from redirectd.collect.verdict import digest
from redirectd.dialects.frame import Authenticity
from redirectd.plan.route import Approved, RouteKind
from redirectd.sip.uri import SipUri
from redirectd.store.remap import State, stored_uri
from redirectd.store.schema import audit, in_service, remap, remap_incoming, setting
from redirectd.store.settings import put_setting
from redirectd.store.statements import chunks

_ROUTED: dict[str, RouteKind] = {"user": "user", "gateway": "gateway"}
"""The kinds that route, each as the one text that all its remaps share."""

_SEEN = (
    remap.c.state.in_([State.PENDING, State.APPROVED, State.REJECTED]),
    or_(remap.c.state == State.APPROVED, remap.c.authenticity >= Authenticity.FRAMED.value),
)
"""Where nobody has said that an old URI is asked for no more, and no line that a caller may have forged says that it
was (R39)."""

_AT_ONCE = 10_000
_NEVER: tuple[tuple[SipUri, ...], bool] = ((), False)

_MOST_OLD = 64
"""Old URIs of one incoming URI that are looked at. More than that are no chain of proxies, which has R33's 10 hops."""

ASKED_ALONE = "asked_alone"
"""Key in an approval's audit detail: its incoming URIs, which led to no other old URI then, by no forked request."""

MOST_ALONE = 1_000
"""Incoming URIs that an approval notes at most; with more of them it notes none."""

_MOST_ASKED = 7
"""Other old URIs that are given at most: one is enough to hold a remap, the rest is for people."""


def approved(connection: Connection, *, now: datetime) -> list[Approved]:
    """The approved user and gateway remaps that have not expired (R18), in no order: sorting here costs memory.

    An incoming URI that meant only its old URI when that was approved still does, whatever was found of it since:
    what is live stays live (R44).
    """
    query = select(remap.c.id, remap.c.kind, remap.c.old_uri, remap.c.new_uri, remap.c.decided_at).where(
        remap.c.state == State.APPROVED,
        remap.c.kind.in_(list(_ROUTED)),
        remap.c.new_uri.is_not(None),
        or_(remap.c.expires_at.is_(None), remap.c.expires_at > now),
    )
    asked, also = _incoming(connection), also_asked(connection)
    doubted = {*also, *(number for number, (_, forked) in asked.items() if forked)}
    for number, hashes in asked_alone(connection, doubted).items():
        also.pop(number, None)
        asked[number] = tuple(uri for uri in asked[number][0] if short_hash(str(uri)) in hashes), False
    confirmed = _approved_before_confirmed(connection)
    times: dict[datetime, datetime] = {}  # those of one decision share one value

    rows = connection.execute(query.execution_options(yield_per=_AT_ONCE))
    return [
        Approved(
            number,
            _ROUTED[kind],
            stored_uri(old),
            stored_uri(new),
            *asked.get(number, _NEVER),
            also.get(number, ()),
            times.setdefault(since, since) if since else None,
        )
        for part in rows.partitions()
        for number, kind, old, new, at in part
        for since in (confirmed.get(number, at),)
    ]


def short_hash(uri: str) -> str:
    """How the audit names an incoming URI: there may be many of them."""
    return digest(uri)[:16]


def asked_alone(connection: Connection, numbers: Iterable[int]) -> dict[int, frozenset[str]]:
    """The incoming URIs, by their short hashes, that meant only one old URI at its last approval."""
    found: dict[int, frozenset[str]] = {}
    for part in chunks(sorted(numbers)):
        query = select(audit.c.remap_id, audit.c.detail).where(audit.c.remap_id.in_(part), audit.c.action == "approve")
        for number, detail in connection.execute(query.order_by(audit.c.id)):
            found[number] = frozenset(json.loads(detail).get(ASKED_ALONE, ()))
    return {number: hashes for number, hashes in found.items() if hashes}


def _approved_before_confirmed(connection: Connection) -> dict[int, datetime]:
    """When those that were confirmed since were approved: a confirmation makes an approval no later one (R44)."""
    confirmed = select(audit.c.remap_id).where(audit.c.action == "confirm")
    query = select(audit.c.remap_id, func.max(audit.c.at).label("at")).where(
        audit.c.remap_id.in_(confirmed), audit.c.action == "approve"
    )
    return {row.remap_id: row.at for row in connection.execute(query.group_by(audit.c.remap_id))}


def _incoming(connection: Connection) -> dict[int, tuple[tuple[SipUri, ...], bool]]:
    """By the id of an approved remap, the URIs this proxy was asked for, and whether the request had forked."""
    in_force = select(remap.c.id).where(remap.c.state == State.APPROVED)
    found: defaultdict[int, list[tuple[str, bool]]] = defaultdict(list)
    for row in connection.execute(select(remap_incoming).where(remap_incoming.c.remap_id.in_(in_force))):
        found[row.remap_id].append((row.uri, row.forked))
    return {
        number: (tuple(stored_uri(uri) for uri, _ in sorted(asked)), any(forked for _, forked in asked))
        for number, asked in found.items()
    }


@dataclass(slots=True)
class _Learnt:
    """What one incoming URI led to, of one kind: the old URIs by their hashes, and which of them lead to which."""

    uris: dict[str, str] = field(default_factory=dict)
    onward: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    known: dict[str, frozenset[str]] = field(default_factory=dict)

    def others(self, old_hash: str) -> frozenset[str]:
        """The first of the old URIs to which a proxy that follows its 301s does not come from that of `old_hash`."""
        if old_hash not in self.known:
            met, waiting = {old_hash}, [old_hash]
            # Of too many some are out of the reach of any chain: which ones is not looked for.
            while waiting and len(self.uris) <= _MOST_OLD:
                further = self.onward[waiting.pop()] - met
                met |= further
                waiting += further
            found = sorted(uri for hashed, uri in self.uris.items() if hashed not in met)
            self.known[old_hash] = frozenset(found[:_MOST_ASKED])
        return self.known[old_hash]


_Groups = Mapping[tuple[str, str], _Learnt]
"""By the hash of an incoming URI and the kind."""


def also_asked(connection: Connection, *who: ColumnElement[bool]) -> dict[int, tuple[SipUri, ...]]:
    """By the id of a remap, other old URIs that one of its incoming URIs led to: a few of each.

    Of the approved remaps, or of those that the conditions `who` name. What is read grows with these alone: of the
    others the database gives a bounded sample.
    """
    who = who or _in_force()
    groups = _groups(connection, who)
    found: defaultdict[int, set[str]] = defaultdict(set)
    if groups:
        _link(connection, groups)
        columns = (remap.c.id, remap_incoming.c.hash, remap.c.kind, remap.c.old_hash)
        for number, asked, kind, old_hash in connection.execute(_asked(*columns).where(*who)):
            if (group := groups.get((asked, kind))) and len(found[number]) < _MOST_ASKED:
                found[number] |= group.others(old_hash)
    uris: dict[str, SipUri] = {}  # the same few again and again
    return {
        number: tuple(uris.setdefault(uri, stored_uri(uri)) for uri in sorted(theirs)[:_MOST_ASKED])
        for number, theirs in found.items()
        if theirs
    }


def _groups(connection: Connection, who: tuple[ColumnElement[bool], ...]) -> _Groups:
    """The incoming URIs of these remaps that led to several old URIs, with the first few of these."""
    asked, kind = remap_incoming.c.hash, remap.c.kind
    shared = select(asked).group_by(asked).having(func.count() > 1)
    olds = (
        _asked(asked, kind, remap.c.old_hash, func.min(remap.c.old_uri).label("old_uri"))
        .where(asked.in_(shared), asked.in_(_asked(asked).where(*who)), *_SEEN)
        .group_by(asked, kind, remap.c.old_hash)
        .subquery()
    )
    place = func.row_number().over(partition_by=(olds.c.hash, olds.c.kind), order_by=olds.c.old_hash)
    ranked = select(olds, place.label("place")).subquery()
    first = select(ranked.c.hash, ranked.c.kind, ranked.c.old_hash, ranked.c.old_uri)
    groups: defaultdict[tuple[str, str], _Learnt] = defaultdict(_Learnt)
    for hashed, of_kind, old_hash, old_uri in connection.execute(first.where(ranked.c.place <= _MOST_OLD + 1)):
        groups[hashed, of_kind].uris[old_hash] = old_uri
    return {key: group for key, group in groups.items() if len(group.uris) > 1}


def _link(connection: Connection, groups: _Groups) -> None:
    """Takes in which of a group's old URIs lead to which, where that may matter: not where they are too many."""
    small = sorted({key[0] for key, group in groups.items() if len(group.uris) <= _MOST_OLD})
    anywhere = select(remap.c.old_hash).where(*_SEEN)
    columns = (remap_incoming.c.hash, remap.c.kind, remap.c.old_hash, remap.c.new_hash)
    for part in chunks(small):
        links = _asked(*columns).where(remap_incoming.c.hash.in_(part), *_SEEN, remap.c.new_hash.in_(anywhere))
        for asked, kind, old_hash, new_hash in connection.execute(links.distinct()):
            group = groups.get((asked, kind))
            if group and old_hash in group.uris and new_hash in group.uris:
                group.onward[old_hash].add(new_hash)


def _asked(*columns: Any) -> Select[Any]:  # noqa: ANN401 - columns and functions of them
    return select(*columns).select_from(remap_incoming.join(remap, remap.c.id == remap_incoming.c.remap_id))


def _in_force() -> tuple[ColumnElement[bool], ...]:
    return remap.c.state == State.APPROVED, remap.c.kind.in_(list(_ROUTED))


_SIMULATION = "simulation"

MAX_PENDING = 100_000
"""Pending remaps that are taken as if they were approved."""


def keep_simulation(connection: Connection, node: str, document: dict[str, Any]) -> None:
    """Stores a simulation in place of the one before."""
    put_setting(connection, node, _SIMULATION, json.dumps(document))


def last_simulations(connection: Connection) -> list[dict[str, Any]]:
    """The last one of each node."""
    query = select(setting.c.value).where(setting.c.name == _SIMULATION).order_by(setting.c.node)
    return [json.loads(value) for value in connection.scalars(query)]


def installed_remaps(connection: Connection, node: str, now: datetime) -> list[Approved]:
    """The remaps that are installed on a node, also those that were revoked since."""
    numbers = set(connection.scalars(select(in_service.c.remap_id).where(in_service.c.node == node)))
    known = [one for one in approved(connection, now=now) if one.id in numbers]
    rest = numbers - {one.id for one in known}
    columns = (remap.c.id, remap.c.kind, remap.c.old_uri, remap.c.new_uri)
    query = select(*columns).join(in_service, in_service.c.remap_id == remap.c.id).where(in_service.c.node == node)
    return known + [
        Approved(row.id, _ROUTED[row.kind], stored_uri(row.old_uri), stored_uri(row.new_uri))
        for row in connection.execute(query)
        if row.id in rest and row.kind in _ROUTED and row.new_uri
    ]


def pending_remaps(connection: Connection) -> list[Approved]:
    """The pending remaps with one new URI, the oldest first, as if they were approved."""
    columns = (remap.c.id, remap.c.kind, remap.c.old_uri, remap.c.new_uri)
    query = select(*columns).where(
        remap.c.state == State.PENDING, remap.c.kind.in_(list(_ROUTED)), remap.c.new_uri.is_not(None)
    )
    return [
        Approved(row.id, _ROUTED[row.kind], stored_uri(row.old_uri), stored_uri(row.new_uri))
        for row in connection.execute(query.order_by(remap.c.id).limit(MAX_PENDING))
    ]
