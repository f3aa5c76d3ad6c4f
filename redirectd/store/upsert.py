"""INSERT with a conflict clause, which SQLite and PostgreSQL spell one way and MariaDB another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, case

Row = Mapping[str, Any]
Value = TypeVar("Value")


def insert_missing(connection: Connection, table: Table, rows: Sequence[Row], key: Iterable[str]) -> None:
    """Inserts the rows whose key is not there yet; the others stay as they are."""
    if not rows:
        return
    statement = _insert(connection, table)
    if _is_mysql(connection):
        first = next(iter(key))
        statement = statement.on_duplicate_key_update({first: table.c[first]})
    else:
        statement = statement.on_conflict_do_nothing(index_elements=list(key))
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
    statement = _insert(connection, table)
    new = statement.inserted if _is_mysql(connection) else statement.excluded
    changes = {name: table.c[name] + new[name] for name in add}
    for name in latest:
        changes[name] = case((new[name] > table.c[name], new[name]), else_=table.c[name])
    if _is_mysql(connection):
        statement = statement.on_duplicate_key_update(changes)
    else:
        statement = statement.on_conflict_do_update(index_elements=names, set_=changes)
    connection.execute(statement, list(rows))


def _is_mysql(connection: Connection) -> bool:
    return connection.dialect.name in {"mysql", "mariadb"}


def _insert(connection: Connection, table: Table) -> Any:  # noqa: ANN401 - the dialects' inserts share no base
    """The INSERT of this database; importing the others' would take longer than most commands."""
    name = "mysql" if _is_mysql(connection) else connection.dialect.name
    return import_module(f"sqlalchemy.dialects.{name}").insert(table)


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
