"""The proof in the field: since when a remap routes on a node, and what its old URI has still been answered since.

A remap in service is looked up before a call goes out, so that nobody asks its old URI any more. Each further 301 of
that URI (to whatever target) shows that a call bypassed the lookup.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, false, func, or_, select, update

from redirectd.collect.verdict import Learnt
from redirectd.store import settings
from redirectd.store.database import Database
from redirectd.store.schema import generation, generation_file, in_service, remap, remap_wait
from redirectd.store.statements import chunks, insert_missing, insert_or_add, run_many

_DAY = timedelta(days=1)
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Service:
    """One remap on one node: routed there since `since` by `generation`.

    `calls_a_day` is how often its old URI was answered 301 before, `calls` how often after, the last time at
    `last_seen`. Without traffic of after `since` in a log of that node, nothing was `observed` (R45).
    """

    remap_id: int
    node: str
    generation: int
    since: datetime
    calls_a_day: float
    calls: int
    last_seen: datetime | None
    observed: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """What the remaps that work save together: 301s a day, and the time that their callers waited for each.

    `milliseconds_a_call` is over the calls whose log has it; None where none has. `unobserved` are those that no 301
    speaks against either, but no traffic was read since they were installed: nobody knows whether they work (R45).
    """

    remaps: int
    calls_a_day: float
    milliseconds_a_call: float | None
    unobserved: int = 0


def _observed(connection: Connection) -> ColumnElement[bool]:
    """Whether SIP messages were read from the node's logs that were logged since: reading an archive shows nothing."""
    seen = settings.traffic(connection).items()
    return or_(false(), *((in_service.c.node == node) & (in_service.c.since < at) for node, at in seen))


def _columns(connection: Connection) -> tuple[ColumnElement[Any], ...]:
    return (
        *(in_service.c[name] for name in Service.__slots__ if name != "observed"),
        _observed(connection).label("observed"),
    )


def put_in_service(
    database: Database, node: str, carried: Collection[int], generation: int, now: datetime, *, everything: bool
) -> None:
    """Notes that `node` routes by the remaps `carried` now; with `everything`, by no others.

    Those already in service stay as they are. Many are written in parts, so that readers of logs need not wait long;
    what a kill leaves out is written after the next apply.
    """
    wanted = set(carried)
    ours = select(in_service.c.remap_id).where(in_service.c.node == node)
    with database.read() as connection:
        if everything or len(wanted) > _AT_ONCE:
            known = set(connection.scalars(ours))
        else:
            parts = chunks(sorted(wanted))
            known = {one for part in parts for one in connection.scalars(ours.where(in_service.c.remap_id.in_(part)))}
    for part in chunks(sorted(known - wanted) if everything else (), _AT_ONCE):
        with database.begin() as connection:
            for some in chunks(part):
                connection.execute(delete(in_service).where(in_service.c.node == node, in_service.c.remap_id.in_(some)))
    for part in chunks(sorted(wanted - known), _AT_ONCE):
        with database.begin() as connection:
            for some in chunks(part):
                _begin(connection, node, some, generation, now)


def take_out(database: Database, node: str, numbers: Collection[int]) -> None:
    """Notes that `node` routes by these remaps no more."""
    for part in chunks(sorted(numbers)):
        with database.begin() as connection:
            connection.execute(delete(in_service).where(in_service.c.node == node, in_service.c.remap_id.in_(part)))


def _begin(connection: Connection, node: str, numbers: Sequence[int], generation: int, now: datetime) -> None:
    columns = (remap.c.id, remap.c.old_hash, remap.c.calls, remap.c.first_seen, remap.c.last_seen)
    rows = [
        {
            "node": node,
            "remap_id": row.id,
            "old_hash": row.old_hash,
            "generation": generation,
            "since": now,
            "calls_a_day": row.calls / max(1.0, (row.last_seen - row.first_seen) / _DAY),
            "calls": 0,
            "last_seen": None,
        }
        for row in connection.execute(select(*columns).where(remap.c.id.in_(numbers)))
    ]
    insert_missing(connection, in_service, rows, ["node", "remap_id"])


def clear(database: Database, node: str, targets: Collection[str]) -> None:
    """Notes that nobody can say which remaps these targets of `node` route by: earlier files are back in place.

    Remaps that came by a generation of other targets alone stay. One that other targets carry, too, and that came by
    these is in service again with the next apply.
    """
    theirs = select(generation_file.c.number).where(generation_file.c.target.in_(list(targets)))
    known = select(generation.c.number).where(generation.c.node == node)
    came_by = in_service.c.generation
    with database.begin() as connection:
        connection.execute(
            delete(in_service).where(in_service.c.node == node, came_by.in_(theirs) | came_by.not_in(known))
        )


def routed(connection: Connection, node: str, old_hashes: Iterable[str]) -> list[Any]:
    """The rows of `node` of these old URIs, for `note_answers`."""
    found: list[Any] = []
    for part in chunks(old_hashes):
        query = select(in_service).where(in_service.c.node == node, in_service.c.old_hash.in_(part))
        found += connection.execute(query).all()
    return sorted(found, key=lambda row: int(row.remap_id))


def note_answers(connection: Connection, routed: Iterable[Any], learnt: Iterable[Learnt], now: datetime) -> None:
    """Counts new 301s of old URIs that were in service when they were asked, as the rows `routed` say."""
    asked: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for one in learnt:
        seen_at = one.answer.seen_at or now
        # A call that was under way when the routing changed is none that went past it.
        asked[one.old_hash].append((seen_at - timedelta(milliseconds=one.answer.waited_ms or 0), seen_at))
    rows = []
    for row in routed:
        late = [seen_at for at, seen_at in asked.get(row.old_hash, ()) if at > row.since]
        if late:
            rows.append({"at_node": row.node, "of": row.remap_id, "more": len(late), "last": max(late)})
    run_many(connection, _ANSWERED, rows)


_LAST = bindparam("last", type_=in_service.c.last_seen.type)
_ANSWERED = (
    update(in_service)
    .where(in_service.c.node == bindparam("at_node"), in_service.c.remap_id == bindparam("of"))
    .values(
        calls=in_service.c.calls + bindparam("more"),
        last_seen=case((in_service.c.last_seen > _LAST, in_service.c.last_seen), else_=_LAST),
    )
)


def take_back(connection: Connection, node: str, remap_id: int, seen_at: datetime) -> None:
    """Takes one counted 301 back that turned out to be a copy, or was reported better since."""
    old_hash = select(remap.c.old_hash).where(remap.c.id == remap_id).scalar_subquery()
    place = (in_service.c.node == node) & (in_service.c.old_hash == old_hash) & (in_service.c.since < seen_at)
    connection.execute(update(in_service).where(place, in_service.c.calls > 0).values(calls=in_service.c.calls - 1))


def note_waits(connection: Connection, learnt: Iterable[tuple[int, Learnt]]) -> None:
    """Adds how long callers waited between the request and its 301, where both times are logged."""
    sums: dict[int, dict[str, int]] = {}
    for number, one in learnt:
        if one.answer.waited_ms is not None:
            row = sums.setdefault(number, {"remap_id": number, "calls": 0, "milliseconds": 0})
            row["calls"] += 1
            row["milliseconds"] += one.answer.waited_ms
    insert_or_add(connection, remap_wait, list(sums.values()), ["remap_id"], ["calls", "milliseconds"], [])


def services(connection: Connection, numbers: Iterable[int]) -> dict[int, list[Service]]:
    """Where each of these remaps is in service, by id; nothing for those that are nowhere."""
    found: dict[int, list[Service]] = defaultdict(list)
    for part in chunks(numbers):
        query = select(*_columns(connection)).where(in_service.c.remap_id.in_(part)).order_by(in_service.c.node)
        for row in connection.execute(query):
            found[row.remap_id].append(Service(*row))
    return dict(found)


def wait_of(connection: Connection, number: int) -> float | None:
    """The mean milliseconds between request and 301; None where no log has both times."""
    query = select(remap_wait.c.milliseconds, remap_wait.c.calls).where(remap_wait.c.remap_id == number)
    row = connection.execute(query).one_or_none()
    return None if row is None else row.milliseconds / row.calls


def ineffective(connection: Connection, limit: int) -> list[Service]:
    """The remaps in service whose old URI is still answered 301, most calls first, at most `limit`."""
    query = select(*_columns(connection)).where(in_service.c.calls > 0)
    return [Service(*row) for row in connection.execute(query.order_by(in_service.c.calls.desc()).limit(limit))]


def count_ineffective(connection: Connection) -> tuple[int, int]:
    """How many remaps they are, and how many calls."""
    query = select(func.count(in_service.c.remap_id.distinct()), func.sum(in_service.c.calls))
    remaps, calls = connection.execute(query.where(in_service.c.calls > 0)).one()
    return int(remaps), int(calls or 0)


def saved(connection: Connection) -> Saved:
    """What the remaps that work save; one on several nodes counts once."""
    seen = func.max(case((_observed(connection), 1), else_=0))
    by_remap = (
        select(in_service.c.remap_id, func.max(in_service.c.calls_a_day).label("calls_a_day"), seen.label("seen"))
        .group_by(in_service.c.remap_id)
        .having(func.sum(in_service.c.calls) == 0)
        .subquery()
    )
    query = select(
        func.count(by_remap.c.remap_id),
        func.sum(by_remap.c.calls_a_day),
        func.sum(remap_wait.c.milliseconds),
        func.sum(remap_wait.c.calls),
    ).select_from(by_remap.outerjoin(remap_wait, remap_wait.c.remap_id == by_remap.c.remap_id))
    remaps, a_day, milliseconds, calls = connection.execute(query.where(by_remap.c.seen == 1)).one()
    unobserved = connection.scalar(select(func.count()).select_from(by_remap).where(by_remap.c.seen == 0)) or 0
    wait = float(milliseconds) / float(calls) if calls else None
    return Saved(int(remaps), float(a_day or 0), wait, int(unobserved))
