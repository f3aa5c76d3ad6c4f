"""Which sources of a node have shown a record with a right proof: from then on they need one (R39)."""

from __future__ import annotations

from sqlalchemy import Connection

from redirectd.collect.verdict import digest
from redirectd.store.schema import setting
from redirectd.store.settings import get_setting
from redirectd.store.upsert import insert_missing


def is_proven(connection: Connection, node: str, source: str) -> bool:
    """Whether the source has shown one."""
    return get_setting(connection, node, _name(source)) is not None


def note(connection: Connection, node: str, source: str) -> None:
    """Keeps that it has."""
    row = {"node": node, "name": _name(source), "value": source}
    insert_missing(connection, setting, [row], ["node", "name"])


def _name(source: str) -> str:
    return "proven " + digest(source)
