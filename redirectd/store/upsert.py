"""INSERT with a conflict clause, which SQLite and PostgreSQL spell one way and MariaDB another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, case
from sqlalchemy.dialects import mysql, postgresql, sqlite

Row = Mapping[str, Any]
Value = TypeVar("Value")


def insert_missing(connection: Connection, table: Table, rows: Sequence[Row], key: Iterable[str]) -> None:
    """Inserts the rows whose key is not there yet; the others stay as they are."""
    if not rows:
        return
    if connection.dialect.name in {"mysql", "mariadb"}:
        first = next(iter(key))
        statement: Any = mysql.insert(table)
        statement = statement.on_duplicate_key_update({first: table.c[first]})
    else:
        statement = _insert(connection, table).on_conflict_do_nothing(index_elements=list(key))
    connection.execute(statement, list(rows))


def insert_or_add(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    key: Iterable[str],
    add: Iterable[str],
    latest: Iterable[str],
) -> None:
    """Inserts rows, or adds to the counters `add` of those there; columns in `latest` take the greater value."""
    if not rows:
        return
    names = list(key)
    if connection.dialect.name in {"mysql", "mariadb"}:
        statement: Any = mysql.insert(table)
        new = statement.inserted
    else:
        statement = _insert(connection, table)
        new = statement.excluded
    changes = {name: table.c[name] + new[name] for name in add}
    for name in latest:
        changes[name] = case((new[name] > table.c[name], new[name]), else_=table.c[name])
    if connection.dialect.name in {"mysql", "mariadb"}:
        statement = statement.on_duplicate_key_update(changes)
    else:
        statement = statement.on_conflict_do_update(index_elements=names, set_=changes)
    connection.execute(statement, list(rows))


def _insert(connection: Connection, table: Table) -> Any:  # noqa: ANN401 - the two dialects' inserts share no base
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def chunks(values: Iterable[Value], size: int = 500) -> Iterable[list[Value]]:
    """Parts of at most `size`: databases bound the number of parameters."""
    part: list[Value] = []
    for value in values:
        part.append(value)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
