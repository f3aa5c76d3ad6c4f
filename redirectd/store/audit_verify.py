"""What was changed bypassing redirectd: the audit's chain, its end, and remaps that it contradicts (R35).

Whoever may write to the database can hide a change by making the audit anew from there on: against that helps only
the hash of an older entry, kept elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from redirectd.store.audit import BEGINNING, broken_at, written
from redirectd.store.remap import State
from redirectd.store.schema import audit, remap


@dataclass(frozen=True, slots=True)
class Tampering:
    """One thing that redirectd has not done, where and what."""

    where: str
    why: str


def tamperings(connection: Connection) -> Iterator[Tampering]:
    """All that can be seen."""
    broken = broken_at(connection)
    if broken is not None:
        yield Tampering(f"audit entry {broken}", "it was changed or put in, or one before it was removed")
    elif (cut := _cut_off(connection)) is not None:
        yield cut
    for number, why in _remaps(connection):
        yield Tampering(f"remap {number}", why)
    for number in _removed(connection):
        yield Tampering(f"remap {number}", "it was removed, and the audit tells of decisions on it")


def _cut_off(connection: Connection) -> Tampering | None:
    """Entries that are missing at the end leave a whole chain, and not the one that was written."""
    last = written(connection)
    row = connection.execute(select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)).one_or_none()
    found = (int(row.id), str(row.hash)) if row else (0, BEGINNING)
    if last is None or last == found:
        return None
    if last[0] > found[0]:
        return Tampering(f"audit entry {last[0]}", f"it was written, and the newest one there is {found[0] or 'none'}")
    return Tampering(f"audit entry {found[0]}", f"it was put in: the newest one that was written is {last[0]}")


def _remaps(connection: Connection) -> Iterator[tuple[int, str]]:
    """Remaps in another state, or approved to another place, than the audit's last word on them."""
    states = {row.remap_id: row.new_state for row in _newest(connection, audit.c.new_state.is_not(None))}
    approvals = {row.remap_id: row.detail for row in _newest(connection, audit.c.action == "approve")}
    decided = or_(remap.c.state != State.PENDING, remap.c.id.in_(select(audit.c.remap_id)))
    query = select(remap).where(decided).order_by(remap.c.id)
    for row in connection.execute(query):
        told = states.get(row.id, State.PENDING.value)
        if row.state != told:
            yield row.id, f"it is {row.state}, and the audit's last word on it is {told}"
        elif row.state == State.APPROVED and (why := _unlike(row, json.loads(approvals.get(row.id, "null")))):
            yield row.id, why


def _unlike(row: Row[Any], was: Mapping[str, object] | None) -> str | None:
    """What of an approved remap is not as it was approved; older entries do not have kind and lifetime."""
    if was is None:
        return None
    if (was.get("old_uri"), was.get("new_uri"), was.get("kind", row.kind)) != (row.old_uri, row.new_uri, row.kind):
        return f"it moves the {row.kind} {row.old_uri} to {row.new_uri}, and something else was approved"
    end = row.expires_at.isoformat() if row.expires_at else None
    if was.get("expires_at", end) != end:
        return f"it ends {end or 'never'}, and was approved to end {was['expires_at'] or 'never'}"
    return None


def _removed(connection: Connection) -> Iterator[int]:
    """Remaps that were decided on and are gone: redirectd removes only ones that nobody has decided on."""
    known = select(remap.c.id).where(remap.c.id == audit.c.remap_id).exists()
    query = select(audit.c.remap_id).where(audit.c.remap_id.is_not(None), audit.c.action != "note", ~known)
    yield from connection.scalars(query.distinct().order_by(audit.c.remap_id))


def _newest(connection: Connection, wanted: ColumnElement[bool]) -> Iterator[Row[Any]]:
    """The newest entry of each remap among those wanted."""
    newest = select(func.max(audit.c.id)).where(wanted, audit.c.remap_id.is_not(None)).group_by(audit.c.remap_id)
    yield from connection.execute(select(audit).where(audit.c.id.in_(newest)))
