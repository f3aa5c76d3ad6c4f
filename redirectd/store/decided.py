"""What was decided since approved remaps were read: the remaps that routing differs by, instead of all of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Row, func, select

from redirectd.plan.route import Approved, DecisionMark
from redirectd.store import audit
from redirectd.store.remap import State, stored_uri
from redirectd.store.schema import audit as entries
from redirectd.store.schema import remap
from redirectd.store.statements import chunks

MOST_ENTRIES = 5_000
"""Audit entries that are looked at, and..."""

MOST_REMAPS = 1_000
"""...remaps that the decisions concern: where there are more, all approved ones are read."""

_COLUMNS = tuple(
    remap.c[name]
    for name in ("id", "state", "kind", "old_uri", "new_uri", "old_hash", "new_hash", "decided_at", "expires_at")
)


@dataclass(frozen=True, slots=True)
class Decided:
    """The remaps that were approved at a mark and those that are now: whatever leads to a remap that was decided on,
    and whatever that leads to. `mark` is the one of now."""

    before: tuple[Approved, ...]
    after: tuple[Approved, ...]
    gone: frozenset[int]
    mark: DecisionMark


def mark_of(connection: Connection, now: datetime) -> DecisionMark | None:
    """The mark of what is approved now; None where decisions are not all that routing changes by.

    Read it before the remaps and again after them: they belong together if it is the same.
    """
    of_approved = remap.c.state == State.APPROVED
    unknown = select(remap.c.id).where(of_approved, remap.c.new_hash.is_(None)).limit(1)
    ends = connection.scalar(select(func.min(remap.c.expires_at)).where(of_approved, remap.c.expires_at.is_not(None)))
    if (ends is not None and ends <= now) or connection.scalar(unknown) is not None:
        return None
    return DecisionMark(*_head(connection), _count(connection), ends)


def decided_since(connection: Connection, mark: DecisionMark, now: datetime) -> Decided | None:
    """What was decided since a mark; None where that can't be known, or is too much."""
    head = _head(connection)
    if mark.until is not None and mark.until <= now:
        return None
    first = _first_moves(connection, mark)
    if first is None:
        return None
    rows = {row.id: row for row in _rows(connection, remap.c.id, first)}
    was = {number: old_uri for number, (old_uri, before) in first.items() if before}
    is_now = {number for number, row in rows.items() if row.state == State.APPROVED}
    if len(rows) != len(first) or any(row.kind != "user" or row.new_hash is None for row in rows.values()):
        return None  # a gateway's place is not found by its hash
    if _count(connection) != mark.approved + len(is_now) - len(was):
        return None  # somebody else has changed the table
    ends = [mark.until, *(rows[number].expires_at for number in is_now)]
    until = min((end for end in ends if end is not None), default=None)
    around = _around(connection, list(rows.values()))
    if around is None or (until is not None and until <= now) or _head(connection) != head:
        return None
    before = [replace(_approved(rows[number]), old=stored_uri(old_uri)) for number, old_uri in was.items()]
    after = [_approved(rows[number]) for number in is_now]
    beside = [_approved(row) for row in around if row.id not in rows]
    return Decided(
        (*before, *beside),
        (*after, *beside),
        frozenset(was.keys() - is_now),
        DecisionMark(*head, mark.approved + len(is_now) - len(was), until),
    )


def _head(connection: Connection) -> tuple[int, str]:
    return audit.written(connection) or (0, audit.BEGINNING)


def _count(connection: Connection) -> int:
    return int(connection.scalar(select(func.count()).where(remap.c.state == State.APPROVED)) or 0)


def _first_moves(connection: Connection, mark: DecisionMark) -> dict[int, tuple[str, bool]] | None:
    """By remap, its old URI at its first change of state since the mark, and whether it was approved before that."""
    columns = (entries.c.previous, entries.c.remap_id, entries.c.old_state, entries.c.new_state, entries.c.detail)
    query = select(*columns).where(entries.c.id > mark.entry).order_by(entries.c.id).limit(MOST_ENTRIES + 1)
    found = connection.execute(query).all()
    if not found:
        return {} if _head(connection) == (mark.entry, mark.hash) else None
    if found[0].previous != mark.hash or len(found) > MOST_ENTRIES:
        return None
    first: dict[int, tuple[str, bool]] = {}
    for _, number, before, after, detail in found:
        if number is not None and before != after and State.APPROVED in {before, after}:
            first.setdefault(number, (json.loads(detail).get("old_uri", ""), before == State.APPROVED))
    return first if len(first) <= MOST_REMAPS and all(uri for uri, _ in first.values()) else None


def _around(connection: Connection, decided: Collection[Row[Any]]) -> list[Row[Any]] | None:
    """The approved remaps that lead to any of these, and then those that all of them lead to; None for too many."""
    known = {row.id: row for row in decided}
    new = list(decided)
    while new and len(known) <= MOST_REMAPS:
        new = [row for row in _in_force(connection, remap.c.new_hash, new, "old_hash") if row.id not in known]
        known |= {row.id: row for row in new}
    new = list(known.values())
    same = _in_force(connection, remap.c.old_hash, new, "old_hash")
    known |= {row.id: row for row in same}
    new = list(known.values())
    while new and len(known) <= MOST_REMAPS:
        new = [row for row in _in_force(connection, remap.c.old_hash, new, "new_hash") if row.id not in known]
        known |= {row.id: row for row in new}
    return list(known.values()) if len(known) <= MOST_REMAPS else None


def _in_force(connection: Connection, column: Column[Any], rows: Iterable[Row[Any]], name: str) -> list[Row[Any]]:
    found = _rows(connection, column, {getattr(row, name) for row in rows}, State.APPROVED)
    return [row for row in found if row.kind == "user" and row.new_uri is not None]


def _rows(
    connection: Connection, column: Column[Any], values: Iterable[Any], state: str | None = None
) -> list[Row[Any]]:
    """Rows by the values of a column; where there are too many, more than MOST_REMAPS of them."""
    rows: list[Row[Any]] = []
    for part in chunks(values):
        query = select(*_COLUMNS).where(column.in_(part)).limit(MOST_REMAPS + 1)
        rows += connection.execute(query if state is None else query.where(remap.c.state == state))
    return rows


def _approved(row: Row[Any]) -> Approved:
    return Approved(row.id, "user", stored_uri(row.old_uri), stored_uri(row.new_uri), approved_at=row.decided_at)
