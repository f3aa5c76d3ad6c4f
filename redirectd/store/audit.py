"""The audit of all decisions: append-only, each entry bound to the one before it by a hash (R35)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, select

from redirectd.store.schema import audit, setting
from redirectd.store.statements import insert_or_add
from redirectd.store.turns import take_turn

_HEAD = "audit_head"

BEGINNING = "0" * 64
"""What the first entry is bound to."""

TURN = "audit"
"""What a decision takes before it reads what it decides on, so that two decisions never rest on the same state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did what, when and why; for a remap, from which state to which. `at` is aware UTC."""

    at: datetime
    actor: str
    action: str
    remap_id: int | None = None
    old_state: str | None = None
    new_state: str | None = None
    reason: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)


def append(connection: Connection, entry: AuditEntry) -> None:
    """Adds an entry within the caller's transaction: the change and its entry are committed together."""
    append_all(connection, [entry])


def append_all(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Adds entries in their order, as `append` adds one, in one statement."""
    if not entries:
        return
    take_turn(connection, TURN)
    newest = connection.execute(select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)).one_or_none()
    last, previous = (newest.id, newest.hash) if newest else (0, BEGINNING)
    if (head := written(connection)) is not None:
        last = max(last, head[0])  # where entries were cut off, a gap shows it for ever
    rows: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, last + 1):
        detail = json.dumps(dict(entry.detail), sort_keys=True)
        rows.append(
            {
                "id": number,
                "at": entry.at,
                "actor": entry.actor,
                "action": entry.action,
                "remap_id": entry.remap_id,
                "old_state": entry.old_state,
                "new_state": entry.new_state,
                "reason": entry.reason,
                "detail": detail,
                "previous": previous,
                "hash": _hash(number, previous, entry, detail),
            }
        )
        previous = rows[-1]["hash"]
    connection.execute(audit.insert(), rows)
    # Counted with leading zeros, so that the greater text is the newer one.
    told = {"node": "", "name": _HEAD, "value": f"{rows[-1]['id']:020d} {previous}"}
    insert_or_add(connection, setting, [told], ["node", "name"], [], ["value"])


def written(connection: Connection) -> tuple[int, str] | None:
    """The number and hash of the entry that was written last, as kept apart from the entries; None where it is not."""
    query = select(setting.c.value).where(setting.c.node == "", setting.c.name == _HEAD)
    value = connection.scalar(query)
    number, _, name = (value or "").partition(" ")
    return (int(number), name) if number.isdecimal() else None


def broken_at(connection: Connection) -> int | None:
    """The id of the first entry that was changed or comes where one was removed; None for a whole chain.

    Entries cut off at the very end leave a whole, shorter chain: `redirectd.store.audit_verify` finds those.
    """
    previous, expected = BEGINNING, 1
    for row in connection.execute(select(audit).order_by(audit.c.id)):
        entry = _entry(row)
        if (row.id, row.previous, row.hash) != (expected, previous, _hash(row.id, previous, entry, row.detail)):
            return int(row.id)
        previous, expected = row.hash, expected + 1
    return None


def entries_of(connection: Connection, remap_id: int) -> list[AuditEntry]:
    """The decisions about one remap, oldest first."""
    rows = connection.execute(select(audit).where(audit.c.remap_id == remap_id).order_by(audit.c.id))
    return [_entry(row, json.loads(row.detail)) for row in rows]


def page(
    connection: Connection, *, after: int, limit: int, remap_id: int | None = None
) -> tuple[list[tuple[int, AuditEntry]], bool]:
    """Entries with a greater id than `after`, of one remap where given, oldest first; and whether there are more."""
    query = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit + 1)
    if remap_id is not None:
        query = query.where(audit.c.remap_id == remap_id)
    rows = connection.execute(query).all()
    return [(row.id, _entry(row, json.loads(row.detail))) for row in rows[:limit]], len(rows) > limit


def newest(
    connection: Connection, *, before: int | None, limit: int, remap_id: int | None = None
) -> list[tuple[int, AuditEntry]]:
    """The newest entries, of a lower id than `before` and of one remap where given, newest first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    if remap_id is not None:
        query = query.where(audit.c.remap_id == remap_id)
    return [(row.id, _entry(row, json.loads(row.detail))) for row in connection.execute(query)]


def _entry(row: Row[Any], detail: Mapping[str, object] | None = None) -> AuditEntry:
    return AuditEntry(
        at=row.at,
        actor=row.actor,
        action=row.action,
        remap_id=row.remap_id,
        old_state=row.old_state,
        new_state=row.new_state,
        reason=row.reason,
        detail=detail or {},
    )


def _hash(number: int, previous: str, entry: AuditEntry, detail: str) -> str:
    fields = [
        number,
        previous,
        entry.at.isoformat(timespec="microseconds"),
        entry.actor,
        entry.action,
        entry.remap_id,
        entry.old_state,
        entry.new_state,
        entry.reason,
        detail,
    ]
    return sha256(json.dumps(fields).encode()).hexdigest()
