"""Writers that wait for each other: two nodes must not count one answer twice or close a cycle between them (R34).

What is rare takes a turn of the whole fleet. Who stores sightings locks what they are about: the calls, the remaps, the
budgets of those that are new. So nodes wait for each other only where they report the same.

Who takes several does so in this order, or two could wait for each other: locked calls, remaps and refusals (all at
once); budgets; the quarantine; the turn of decisions; that of events; the calls of approved targets; their figures.
Where one can't (a sighting taken back of another remap), the server ends one of the two, and the one is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, delete, text

from redirectd.errors import StoreError
from redirectd.store.schema import key_lock, setting
from redirectd.store.statements import insert_missing, insert_or_add, run_many

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


_UNLOCK = delete(key_lock).where(key_lock.c.key == bindparam("of"))


def lock_keys(connection: Connection, keys: Iterable[str]) -> None:
    """Waits until no other transaction has any of `keys` locked, and locks them to the end of this one.

    They are digests (`verdict.digest`), any number of them; one may be locked again. Each is inserted as a row and
    deleted at once: who inserts the same waits for the end of this transaction, and nothing is left. A server's own
    locks by name are bounded, by some thousands for all nodes. SQLite lets one writer in at a time anyway.
    """
    if connection.dialect.name == "sqlite":
        return
    wanted = sorted(set(keys))  # one order for all, or two could wait for each other
    insert_missing(connection, key_lock, [{"key": key} for key in wanted], ["key"])
    run_many(connection, _UNLOCK, [{"of": key} for key in wanted])


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
