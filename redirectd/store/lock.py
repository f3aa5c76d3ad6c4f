"""Writers that have to take turns: two nodes must not count one answer twice or close a cycle between them (R34)."""

from __future__ import annotations

from sqlalchemy import Connection

from redirectd.store.schema import setting
from redirectd.store.upsert import insert_or_add


def take_turn(connection: Connection, what: str) -> None:
    """Waits until no other transaction has the turn `what`, and keeps it to the end of this one.

    Call it before the first read that the write depends on. SQLite lets one writer in at a time anyway.
    """
    if connection.dialect.name == "sqlite":
        return
    row = {"node": "", "name": f"turn:{what}", "value": ""}
    insert_or_add(connection, setting, [row], ["node", "name"], [], ["value"])
