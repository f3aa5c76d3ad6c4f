"""Where each source was read to, in the same transaction as what was found before it, and how new that was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from redirectd.store.schema import position

TRAFFIC = "traffic_at"
"""Key in a position: when the newest SIP message that was read was logged, RFC 3339."""


def load(connection: Connection, node: str, source: str) -> dict[str, Any] | None:
    """The stored position as the source wrote it, None where it was never read."""
    value = connection.scalar(select(position.c.value).where(position.c.node == node, position.c.source == source))
    return None if value is None else json.loads(value)


def save(connection: Connection, node: str, source: str, value: Mapping[str, Any], now: datetime) -> None:
    """Stores a position in place of the one before."""
    connection.execute(delete(position).where(position.c.node == node, position.c.source == source))
    connection.execute(
        position.insert().values(node=node, source=source, value=json.dumps(dict(value)), updated_at=now)
    )


def with_traffic(value: Mapping[str, Any], at: datetime | None, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The position with the later of `at` and what the position `before` had."""
    known = traffic_of(before)
    latest = max((one for one in (at, known) if one is not None), default=None)
    return {**value, TRAFFIC: latest.isoformat()} if latest is not None else dict(value)


def traffic_of(value: Mapping[str, Any] | None) -> datetime | None:
    """What `with_traffic` has put into a position."""
    text = (value or {}).get(TRAFFIC)
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def traffic(connection: Connection) -> dict[str, datetime]:
    """By node, when the newest SIP message in its logs was logged, as far as they were read."""
    found: dict[str, datetime] = {}
    rows = select(position.c.node, position.c.value).where(position.c.value.contains(TRAFFIC))
    for node, value in connection.execute(rows):
        at = traffic_of(json.loads(value))
        if at is not None:
            found[node] = max(at, found.get(node, at))
    return found
