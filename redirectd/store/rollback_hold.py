"""The hold that a rollback puts on later applies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from redirectd.store.schema import setting

_NAME = "apply_hold"


@dataclass(frozen=True, slots=True)
class Hold:
    """Who holds applies on a node, since when (RFC 3339) and why.

    `generation` is the rollback's own, which ends its hold if it does not come into service; `earlier` is the hold
    that stood before it, to be put back then.
    """

    actor: str
    at: str
    reason: str
    generation: int = 0
    earlier: Mapping[str, Any] | None = None


def get_hold(connection: Connection, node: str) -> Hold | None:
    """Give the hold on `node`, if there is one."""
    value = connection.scalar(select(setting.c.value).where(setting.c.node == node, setting.c.name == _NAME))
    return None if value is None else Hold(**json.loads(value))


def put_hold(connection: Connection, node: str, hold: Hold) -> None:
    """Hold applies on `node`; an earlier hold is kept in it."""
    earlier = get_hold(connection, node)
    if earlier is not None:
        hold = replace(hold, earlier=asdict(replace(earlier, earlier=None)))
    _put(connection, node, hold)


def end_hold_of(connection: Connection, node: str, generation: int) -> Hold | None:
    """End the hold of a rollback that did not come into service, back to the one before; give what ended."""
    hold = get_hold(connection, node)
    if hold is None or hold.generation != generation:
        return None
    if hold.earlier is None:
        clear_hold(connection, node)
    else:
        _put(connection, node, Hold(**hold.earlier))
    return hold


def _put(connection: Connection, node: str, hold: Hold) -> None:
    clear_hold(connection, node)
    connection.execute(insert(setting).values(node=node, name=_NAME, value=json.dumps(asdict(hold))))


def clear_hold(connection: Connection, node: str) -> bool:
    """Let applies go on; say if there was a hold."""
    result = connection.execute(delete(setting).where(setting.c.node == node, setting.c.name == _NAME))
    return result.rowcount > 0
