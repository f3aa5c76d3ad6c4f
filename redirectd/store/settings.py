"""Single texts by name that a node keeps for itself, or all nodes together under the node ""."""

from __future__ import annotations

from sqlalchemy import Connection, select

from redirectd.store.schema import setting


def get_setting(connection: Connection, node: str, name: str) -> str | None:
    """The text; None where there is none."""
    value: str | None = connection.scalar(select(setting.c.value).where(setting.c.node == node, setting.c.name == name))
    return value


def put_setting(connection: Connection, node: str, name: str, value: str | None) -> None:
    """Stores a text in place of the one before; None removes it."""
    connection.execute(setting.delete().where(setting.c.node == node, setting.c.name == name))
    if value is not None:
        connection.execute(setting.insert().values(node=node, name=name, value=value))
