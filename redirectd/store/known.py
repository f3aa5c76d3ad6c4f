"""The remaps that a batch reports, as the database has them before: read once, with what the next steps ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exists, select

from redirectd.dialects.frame import Authenticity
from redirectd.store.schema import event_pack, remap
from redirectd.store.upsert import chunks


@dataclass(frozen=True, slots=True)
class Known:
    """A remap that is there. `flags` and `facts` are as stored; `is_packed` says that a pack holds answers of it.

    `is_authentic`: a proven or surely framed sighting is behind it (R39).
    """

    number: int
    state: str
    calls: int
    flags: str
    facts: str
    expires_at: datetime | None
    is_authentic: bool
    is_packed: bool


_COLUMNS = (
    remap.c.id,
    remap.c.state,
    remap.c.calls,
    remap.c.flags,
    remap.c.facts,
    remap.c.expires_at,
    (remap.c.authenticity >= Authenticity.FRAMED.value).label("is_authentic"),
)
_IS_PACKED = exists().where(event_pack.c.remap_id == remap.c.id)


def known_remaps(connection: Connection, identities: Iterable[str]) -> dict[str, Known]:
    """Those of these remaps that are there, by identity."""
    found: dict[str, Known] = {}
    for part in chunks(identities):
        query = select(remap.c.identity, *_COLUMNS, _IS_PACKED).where(remap.c.identity.in_(part))
        found.update((row[0], Known(*row[1:])) for row in connection.execute(query).all())
    return found
