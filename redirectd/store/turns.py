"""Writers that have to take turns: two nodes must not count one answer twice or close a cycle between them (R34)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from redirectd.errors import StoreError
from redirectd.store.schema import setting
from redirectd.store.statements import insert_or_add

LONGEST_UPGRADE = 60
"""Seconds that another node's upgrade is waited for."""


def take_turn(connection: Connection, what: str) -> None:
    """Waits until no other transaction has the turn `what`, and keeps it to the end of this one.

    Call it before the first read that the write depends on. SQLite lets one writer in at a time anyway.
    """
    if connection.dialect.name == "sqlite":
        return
    row = {"node": "", "name": f"turn:{what}", "value": ""}
    insert_or_add(connection, setting, [row], ["node", "name"], [], ["value"])


@contextmanager
def upgrading(connection: Connection) -> Iterator[None]:
    """Waits until nobody else upgrades this database, by the server's own lock, since there may be no table yet.

    Raises StoreError where MariaDB's was waited for too long.

    PostgreSQL frees it with the transaction. MariaDB's transactions end with every change of a table, so it is of the
    session there. SQLite lets one writer in at a time anyway.
    """
    name = connection.dialect.name
    if name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('redirectd upgrade'))"))
    if name != "mysql":
        yield
        return
    key = "CONCAT('redirectd ', MD5(DATABASE()))"
    if not connection.scalar(text(f"SELECT GET_LOCK({key}, {LONGEST_UPGRADE})")):
        why = f"another node has been upgrading it for {LONGEST_UPGRADE} s"
        raise StoreError("database", why, "try again when it has ended: 'redirectd db current' tells")
    try:
        yield
        connection.exec_driver_sql("COMMIT")  # the last revision too, or the next one would migrate from that before
    finally:
        connection.execute(text(f"SELECT RELEASE_LOCK({key})"))
