"""The approved remaps as the plan takes them, with what is known of the URIs this proxy was asked for (R5)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from redirectd.plan.route import Approved, RouteKind
from redirectd.sip.uri import SipUri
from redirectd.store.remap import State
from redirectd.store.schema import remap, remap_incoming
from redirectd.store.uris import stored_uri

_ROUTED: dict[str, RouteKind] = {"user": "user", "gateway": "gateway"}
"""The kinds that route, each as the one text that all its remaps share."""

_SEEN = (State.PENDING, State.APPROVED, State.REJECTED)
"""Where nobody has said that an old URI is asked for no more."""

_AT_ONCE = 10_000
_NEVER: tuple[tuple[SipUri, ...], bool] = ((), False)


def approved(connection: Connection, *, now: datetime) -> list[Approved]:
    """The approved user and gateway remaps whose time has not run out (R18), in no order: sorting here costs memory."""
    query = select(remap.c.id, remap.c.kind, remap.c.old_uri, remap.c.new_uri).where(
        remap.c.state == State.APPROVED,
        remap.c.kind.in_(list(_ROUTED)),
        remap.c.new_uri.is_not(None),
        or_(remap.c.expires_at.is_(None), remap.c.expires_at > now),
    )
    asked, also = _incoming(connection), _also_asked(connection)

    rows = connection.execute(query.execution_options(yield_per=_AT_ONCE))
    return [
        Approved(
            number, _ROUTED[kind], stored_uri(old), stored_uri(new), *asked.get(number, _NEVER), also.get(number, ())
        )
        for part in rows.partitions()
        for number, kind, old, new in part
    ]


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
    """The remaps of one kind that were learnt from one incoming URI, by the hashes of their old URIs."""

    uris: dict[str, str] = field(default_factory=dict)
    ids: list[tuple[int, str]] = field(default_factory=list)
    onward: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, number: int, old_hash: str, old_uri: str, new_hash: str | None) -> None:
        """One more of them."""
        self.uris[old_hash] = old_uri
        self.ids.append((number, old_hash))
        if new_hash is not None:
            self.onward[old_hash].add(new_hash)

    def others(self, old_hash: str) -> set[str]:
        """The old URIs to which a proxy that follows its 301s does not come from that of `old_hash`."""
        met, waiting = {old_hash}, [old_hash]
        while waiting:
            further = self.onward[waiting.pop()] - met
            met |= further
            waiting += further
        return {uri for hashed, uri in self.uris.items() if hashed not in met}


def _also_asked(connection: Connection) -> dict[int, tuple[SipUri, ...]]:
    """By the id of a remap, the other old URIs that one of its incoming URIs led to."""
    several = select(remap_incoming.c.hash).group_by(remap_incoming.c.hash).having(func.count() > 1)
    query = (
        select(remap_incoming.c.hash, remap.c.kind, remap.c.id, remap.c.old_hash, remap.c.old_uri, remap.c.new_hash)
        .join(remap, remap.c.id == remap_incoming.c.remap_id)
        .where(remap_incoming.c.hash.in_(several), remap.c.state.in_(_SEEN))
    )
    groups: defaultdict[tuple[str, str], _Learnt] = defaultdict(_Learnt)
    for asked_hash, kind, *row in connection.execute(query):
        groups[asked_hash, kind].add(*row)
    found: defaultdict[int, set[str]] = defaultdict(set)
    for group in groups.values():
        for number, old_hash in group.ids:
            found[number] |= group.others(old_hash)
    return {number: tuple(map(stored_uri, sorted(uris))) for number, uris in found.items() if uris}
