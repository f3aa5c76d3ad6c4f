"""Reading remaps: by filter and page, and one with its evidence."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from redirectd.collect.verdict import DOUBTFUL, digest, doubt
from redirectd.dialects.frame import Authenticity
from redirectd.sip.compare import route_key
from redirectd.store.remap import Remap, RemapTarget, State, stored_uri
from redirectd.store.schema import evidence, remap, remap_incoming, remap_method, remap_peer, screening
from redirectd.store.statements import chunks

KINDS = ("user", "gateway", "registrar")
"""What can have moved (R12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemapFilter:
    """Which remaps; what is None or empty does not restrict.

    `peer` is a part of the peer's text, `domain` a host of either side, `seen_before` the latest last sighting,
    `also` further conditions on the table `remap`.
    """

    states: Sequence[State] = ()
    kind: str | None = None
    peer: str | None = None
    domain: str | None = None
    seen_before: datetime | None = None
    after_id: int = 0
    limit: int | None = None
    also: Sequence[ColumnElement[bool]] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sighting of a remap: where it is logged, what was said, in safe text."""

    seen_at: datetime
    source: str
    position: int
    dialect: str
    peer: str
    method: str
    call_id: str
    text: str


class Uris(NamedTuple):
    """The URIs of a remap: `places` are those it can lead to, one or its Contacts.

    `basis` and `suspicious` are what `redirectd.review.holds` has stored of them, None where nothing.
    """

    id: int
    kind: str
    old_uri: str
    new_uri: str | None
    places: tuple[str, ...]
    basis: str | None
    suspicious: bool | None


def find(connection: Connection, wanted: RemapFilter) -> list[Remap]:
    """The remaps of a filter, oldest id first."""
    query = _query(wanted).order_by(remap.c.id)
    if wanted.limit is not None:
        query = query.limit(wanted.limit)
    return _complete(connection, connection.execute(query).all())


def ids_of(connection: Connection, wanted: RemapFilter) -> list[int]:
    """The ids of a filter's remaps, oldest first."""
    query = _query(wanted).with_only_columns(remap.c.id).order_by(remap.c.id).limit(wanted.limit)
    return [int(number) for number in connection.scalars(query)]


def uris_of(connection: Connection, wanted: RemapFilter) -> list[Uris]:
    """The URIs of a filter's remaps, oldest id first: a tenth of what whole remaps cost."""
    columns = (remap.c.id, remap.c.kind, remap.c.old_uri, remap.c.new_uri, remap.c.contacts)
    query = _query(wanted).with_only_columns(*columns, screening.c.basis, screening.c.suspicious)
    query = query.outerjoin_from(remap, screening, screening.c.remap_id == remap.c.id).order_by(remap.c.id)
    return [
        Uris(row.id, row.kind, row.old_uri, row.new_uri, _places(row), row.basis, row.suspicious)
        for row in connection.execute(query.limit(wanted.limit))
    ]


def _places(row: Any) -> tuple[str, ...]:  # noqa: ANN401 - a row
    return (row.new_uri,) if row.new_uri else tuple(one["uri"] for one in json.loads(row.contacts))


def leading_to(kind: str, new_uri: str | None) -> dict[str, str | None]:
    """The columns of `remap` that say where it leads: the new URI, and the hash that finds remaps of that URI."""
    new_hash = None if new_uri is None else digest(kind, str(route_key(stored_uri(new_uri))))
    return {"new_uri": new_uri, "new_hash": new_hash}


def get(connection: Connection, number: int) -> Remap | None:
    """One remap, None if no remap has that id."""
    found = _complete(connection, connection.execute(select(remap).where(remap.c.id == number)).all())
    return found[0] if found else None


def of_ids(connection: Connection, numbers: Iterable[int]) -> list[Remap]:
    """The remaps of these ids, oldest id first; those that there are."""
    rows: list[Any] = []
    for part in chunks(numbers):
        rows += connection.execute(select(remap).where(remap.c.id.in_(part))).all()
    return _complete(connection, sorted(rows, key=lambda row: int(row.id)))


def by_old_key(connection: Connection, old_key: str) -> list[Remap]:
    """All remaps of one old URI's route key, whatever their kind and state, oldest id first."""
    # By the hash, which has an index: the key itself has none.
    hashes = [digest(kind, old_key) for kind in KINDS]
    rows = connection.execute(select(remap).where(remap.c.old_hash.in_(hashes)).order_by(remap.c.id)).all()
    return _complete(connection, rows)


def counts(connection: Connection) -> dict[str, int]:
    """How many remaps are in each state."""
    rows = connection.execute(select(remap.c.state, func.count()).group_by(remap.c.state))
    return {state.value: 0 for state in State} | {str(state): int(count) for state, count in rows}


def evidence_of(connection: Connection, number: int) -> list[Evidence]:
    """The kept sightings of a remap, oldest first."""
    columns = [evidence.c[name] for name in Evidence.__slots__]
    rows = connection.execute(select(*columns).where(evidence.c.remap_id == number).order_by(evidence.c.id))
    return [Evidence(*row) for row in rows]


def _query(wanted: RemapFilter) -> Select[Any]:
    query = select(remap).where(remap.c.id > wanted.after_id, *wanted.also)
    if wanted.states:
        query = query.where(remap.c.state.in_(list(wanted.states)))
    if wanted.kind:
        query = query.where(remap.c.kind == wanted.kind)
    if wanted.seen_before is not None:
        query = query.where(remap.c.last_seen < wanted.seen_before)
    if wanted.peer:
        having = select(remap_peer.c.remap_id).where(remap_peer.c.peer.contains(wanted.peer, autoescape=True))
        query = query.where(remap.c.id.in_(having))
    if wanted.domain:
        either = [
            column.contains(wanted.domain.lower(), autoescape=True) for column in (remap.c.old_key, remap.c.contacts)
        ]
        query = query.where(or_(*either))
    return query


def _complete(connection: Connection, rows: Sequence[Any]) -> list[Remap]:
    """Remaps with their peers, methods and incoming URIs, and what their siblings of the same old URI mean for them."""
    numbers = [row.id for row in rows]
    peers = _children(connection, remap_peer, numbers)
    methods = _children(connection, remap_method, numbers)
    incoming = _children(connection, remap_incoming, numbers)
    siblings = _siblings(connection, {row.old_hash for row in rows})
    flapping = _flapping(siblings)
    return [
        _remap(
            row,
            peers[row.id],
            methods[row.id],
            incoming[row.id],
            flapping.get(row.id),
            _replaces(row, siblings[row.old_hash]),
        )
        for row in rows
    ]


def _children(connection: Connection, table: Any, numbers: Iterable[int]) -> Mapping[int, list[Any]]:  # noqa: ANN401 - one of the child tables
    found: dict[int, list[Any]] = defaultdict(list)
    for part in chunks(numbers):
        for row in connection.execute(select(table).where(table.c.remap_id.in_(part))):
            found[row.remap_id].append(row)
    return found


def _siblings(connection: Connection, old_hashes: Iterable[str]) -> Mapping[str, list[Any]]:
    """The remaps of each old URI, in the order in which they were first seen."""
    siblings: dict[str, list[Any]] = defaultdict(list)
    columns = [remap.c[name] for name in ("id", "old_hash", "state", "authenticity", "first_seen", "last_seen")]
    for part in chunks(old_hashes):
        query = select(*columns).where(remap.c.old_hash.in_(part)).order_by(remap.c.first_seen, remap.c.id)
        for row in connection.execute(query):
            siblings[row.old_hash].append(row)
    return siblings


def _flapping(siblings: Mapping[str, list[Any]]) -> dict[int, str]:
    """R32: ids of remaps of one old key whose targets alternate: one was seen again after another had begun.

    Each group is in the order of beginning: many logs have whole seconds only, where the ids show which came first.
    What no authentic sighting speaks for holds none that one speaks for (R39).
    """
    found: dict[int, str] = {}
    for group in siblings.values():
        if len(group) > 1:
            found |= _alternating(group)
            sure = [row for row in group if row.authenticity >= Authenticity.FRAMED.value]
            for row in sure:
                found.pop(row.id, None)
            found |= _alternating(sure)
    return found


def _alternating(group: Sequence[Any]) -> dict[int, str]:
    found: dict[int, str] = {}
    longest: Any = group[0] if group else None
    for later in group[1:]:
        if later.first_seen < longest.last_seen:
            for one, other in ((longest, later), (later, longest)):
                found[one.id] = f"its old URI alternates between this target and that of remap {other.id}"
        longest = max(longest, later, key=lambda row: row.last_seen)
    return found


def _replaces(row: Any, siblings: Iterable[Any]) -> int | None:  # noqa: ANN401 - a row
    """R30: the approved remap that a pending one would replace now; of an approved one, what it did replace."""
    if row.state != State.PENDING:
        return row.replaces  # type: ignore[no-any-return] # a row knows no types
    return next((one.id for one in siblings if one.state == State.APPROVED), None)


def _remap(
    row: Any,  # noqa: ANN401 - rows
    peers: list[Any],
    methods: list[Any],
    incoming: list[Any],
    flapping: str | None,
    replaces: int | None,
) -> Remap:
    authenticity = Authenticity(row.authenticity)
    flags = {name: reason for name, reason in json.loads(row.flags).items() if name not in DOUBTFUL}
    flags |= doubt(authenticity)
    if flapping:
        flags["flapping"] = flapping
    return Remap(
        id=row.id,
        state=State(row.state),
        kind=row.kind,
        old_key=row.old_key,
        old_uri=row.old_uri,
        new_uri=row.new_uri,
        contacts=tuple(RemapTarget(**one) for one in json.loads(row.contacts)),
        flags=flags,
        facts=json.loads(row.facts),
        calls=row.calls,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        peers=tuple(sorted(one.peer for one in peers)),
        methods=tuple(sorted(one.method for one in methods)),
        incoming=tuple(sorted(one.uri for one in incoming)),
        incoming_forked=any(one.forked for one in incoming),
        replaces=replaces,
        note=row.note,
        expires_at=row.expires_at,
        revalidate_after=row.revalidate_after,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        peer_calls={one.peer: one.calls for one in peers},
        authenticity=authenticity,
        believed_peers=tuple(sorted(one.peer for one in _believed(peers))),
        believed_methods=tuple(sorted(one.method for one in _believed(methods))),
    )


def _believed(rows: list[Any]) -> list[Any]:
    """Those with authentic sightings, or all of them where there is none (R39)."""
    return [row for row in rows if row.authentic_calls > 0] or rows
