"""The hold that a rollback puts on later applies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select

from redirectd.store.schema import setting

_NAME = "apply_hold"


@dataclass(frozen=True, slots=True)
class Hold:
    """Who holds applies on a node, since when (RFC 3339) and why."""

    actor: str
    at: str
    reason: str


def get_hold(connection: Connection, node: str) -> Hold | None:
    """Give the hold on `node`, if there is one."""
    value = connection.scalar(select(setting.c.value).where(setting.c.node == node, setting.c.name == _NAME))
    return None if value is None else Hold(**json.loads(value))


def put_hold(connection: Connection, node: str, hold: Hold) -> None:
    """Hold applies on `node`, instead of an earlier hold."""
    clear_hold(connection, node)
    connection.execute(insert(setting).values(node=node, name=_NAME, value=json.dumps(asdict(hold))))


def clear_hold(connection: Connection, node: str) -> bool:
    """Let applies go on; say if there was a hold."""
    result = connection.execute(delete(setting).where(setting.c.node == node, setting.c.name == _NAME))
    return result.rowcount > 0
