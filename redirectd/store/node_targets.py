"""The targets of each node by its configuration: every decider has to know what an approval meets there (R44)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, select

from redirectd.store.database import Database
from redirectd.store.schema import setting
from redirectd.store.settings import get_setting, put_setting

_NAME = "targets"


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """One target of a node: its name, kind and `match`, and what else than a route key it moves (`width`, R41)."""

    name: str
    kind: str
    match: str
    width: str | None = None


def publish(database: Database, node: str, targets: Sequence[NodeTarget]) -> None:
    """Makes the targets of `node` known to all nodes; writes nothing where they are. Raises StoreError."""
    value = json.dumps([asdict(one) for one in targets])
    with database.read() as connection:
        if get_setting(connection, node, _NAME) == value:
            return
    with database.begin() as connection:
        put_setting(connection, node, _NAME, value)


def published(connection: Connection) -> list[tuple[str, NodeTarget]]:
    """The targets of all nodes, each with its node's name."""
    rows = connection.execute(select(setting.c.node, setting.c.value).where(setting.c.name == _NAME))
    return [(row.node, NodeTarget(**one)) for row in rows for one in json.loads(row.value)]
