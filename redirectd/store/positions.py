"""Where each source was read to, in the same transaction as what was found before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from redirectd.store.schema import position


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
