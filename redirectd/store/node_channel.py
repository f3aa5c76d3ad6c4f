"""What wakes the nodes that share a PostgreSQL: a word on a channel, sent by the transaction that decides."""

from __future__ import annotations

from sqlalchemy import Connection, text

CHANNEL = "redirectd_routing"


def tell_nodes(connection: Connection) -> None:
    """Notifies all nodes, when the caller's transaction commits, that what is approved has changed.

    PostgreSQL alone can; nodes on another database find out by their schedule.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {CHANNEL}"))
