"""Which answers have been counted, and under what: each one once, by its best sighting (R8)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from redirectd.collect.answer import WEAK, WHOLE, Answer
from redirectd.collect.verdict import Learnt, Verdict
from redirectd.dialects.frame import Authenticity
from redirectd.store import evidence, in_service, packed
from redirectd.store.known import Known
from redirectd.store.remap import State
from redirectd.store.schema import event, refusal, remap, remap_method, remap_peer
from redirectd.store.schema import evidence as evidence_table
from redirectd.store.upsert import chunks, insert


@dataclass(slots=True)
class Doubted:
    """Remaps and refusals that lost a call, by what `node` read: nothing may be left of them."""

    node: str
    remaps: set[int] = field(default_factory=set)
    refusals: set[int] = field(default_factory=set)


def of_calls(connection: Connection, call_keys: Iterable[str]) -> dict[str, list[Any]]:
    """The answers counted so far of each call."""
    calls: dict[str, list[Any]] = defaultdict(list)
    for part in chunks(call_keys):
        for row in connection.execute(select(event).where(event.c.call_key.in_(part))):
            calls[row.call_key].append(row)
    return calls


def covers(row: Any, answer: Answer) -> bool:  # noqa: ANN401 - a row of `event`
    """Whether what was counted for a call says as much as this sighting of an answer of the same call."""
    if answer.rank == WEAK:
        return True
    if answer.request_uri is None:
        return bool(row.event_key == answer.event_key)
    return bool(row.key == answer.move_key and row.rank >= answer.standing)


def is_beaten(row: Any, answer: Answer) -> bool:  # noqa: ANN401 - a row of `event`
    """Whether the sighting is a better one of the same answer: it takes the row's place."""
    return row.key in {answer.move_key, answer.event_key, answer.call_key}


def count(
    connection: Connection,
    fresh: Mapping[str, Verdict],
    known: Mapping[str, Known],
    ids: Mapping[str, int],
    now: datetime,
) -> None:
    """Notes the answers as counted for their remaps and refusals; `known` and `ids` are by identity."""
    kept_packed = packed.pack(connection, fresh.values(), known, ids, now)
    rows = [
        {
            "key": key,
            "event_key": one.answer.event_key,
            "call_key": one.answer.call_key,
            "remap_id": ids[one.identity] if isinstance(one, Learnt) else None,
            "refusal_id": None if isinstance(one, Learnt) else ids[one.identity],
            "rank": one.answer.standing,
            "peer": one.answer.peer_text,
            "method": evidence.method_text(one.answer),
            "seen_at": one.answer.seen_at or now,
        }
        for key, one in fresh.items()
        if key not in kept_packed
    ]
    insert(connection, event, rows)


def retract(connection: Connection, move_keys: Iterable[str], node: str) -> Doubted:
    """Takes back answers that were relayed copies of others."""
    doubted = Doubted(node)
    for part in chunks(move_keys):
        for row in connection.execute(select(event).where(event.c.key.in_(part))).all():
            uncount(connection, row, doubted)
    return doubted


def refused_among(connection: Connection, move_keys: Iterable[str]) -> set[str]:
    """Those of the answers that were counted under a refusal."""
    found: set[str] = set()
    for part in chunks(move_keys):
        query = select(event.c.key).where(event.c.key.in_(part), event.c.refusal_id.is_not(None))
        found.update(connection.scalars(query))
    return found


def uncount(connection: Connection, row: Any, doubted: Doubted) -> None:  # noqa: ANN401 - a row of `event`
    """Takes one counted answer back from all counters it went into."""
    connection.execute(delete(event).where(event.c.key == row.key))
    if row.refusal_id is not None:
        _less(connection, refusal, refusal.c.id == row.refusal_id)
        doubted.refusals.add(row.refusal_id)
    if row.remap_id is not None:
        is_authentic = row.rank > WHOLE
        if is_authentic:
            in_service.take_back(connection, doubted.node, row.remap_id, row.seen_at)
        _less(connection, remap, remap.c.id == row.remap_id)
        for table, column in ((remap_peer, "peer"), (remap_method, "method")):
            which = (table.c.remap_id == row.remap_id) & (table.c[column] == getattr(row, column))
            _less(connection, table, which, *(["authentic_calls"] if is_authentic else []))
        doubted.remaps.add(row.remap_id)


def _less(connection: Connection, table: Any, which: Any, *also: str) -> None:  # noqa: ANN401 - a table with `calls`, a condition on it
    connection.execute(update(table).where(which).values({name: table.c[name] - 1 for name in ("calls", *also)}))


def drop_empty(connection: Connection, doubted: Doubted) -> None:
    """Removes what nothing speaks for any more; a remap that somebody has decided on stays.

    One that has lost its last authentic sighting is unkeyed again (R39).
    """
    for part in chunks(doubted.refusals):
        connection.execute(delete(refusal).where(refusal.c.id.in_(part), refusal.c.calls <= 0))
    for part in chunks(doubted.remaps):
        for child in (remap_peer, remap_method):
            connection.execute(delete(child).where(child.c.remap_id.in_(part), child.c.calls <= 0))
        empty = (remap.c.id.in_(part)) & (remap.c.calls <= 0)
        untouched = (remap.c.state == State.PENDING) & remap.c.decided_at.is_(None)
        gone = connection.scalars(select(remap.c.id).where(empty, untouched)).all()
        connection.execute(delete(evidence_table).where(evidence_table.c.remap_id.in_(gone)))
        connection.execute(delete(remap).where(remap.c.id.in_(gone)))
        authentic = select(remap_peer.c.remap_id).where(remap_peer.c.authentic_calls > 0)
        lost = (remap.c.id.in_(part)) & (remap.c.authenticity > Authenticity.UNKEYED.value)
        connection.execute(
            update(remap)
            .where(lost, remap.c.id.not_in(authentic.where(remap_peer.c.remap_id.in_(part))))
            .values(authenticity=Authenticity.UNKEYED.value)
        )
