"""INSERT with a conflict clause, which SQLite and PostgreSQL spell one way and MariaDB another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, case, func

from redirectd.store.bulk import Row, run_many

Value = TypeVar("Value")

_MYSQL = frozenset({"mysql", "mariadb"})


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Inserts rows whose keys are new."""
    run_many(connection, _insert(table), rows)


def insert_missing(connection: Connection, table: Table, rows: Sequence[Row], key: Iterable[str]) -> None:
    """Inserts the rows whose key is not there yet; the others stay as they are."""
    run_many(connection, _insert_missing(connection.dialect.name, table, tuple(key)), rows)


def insert_or_add(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    key: Iterable[str],
    add: Iterable[str],
    latest: Iterable[str],
    *,
    first: Iterable[str] = (),
) -> None:
    """Inserts rows, or adds to the counters `add` of those there.

    Columns in `latest` take the greater value, those in `first` keep theirs; either takes any for none.
    """
    statement = _insert_or_add(connection.dialect.name, table, tuple(key), tuple(add), tuple(latest), tuple(first))
    run_many(connection, statement, rows)


@lru_cache
def _insert(table: Table) -> Any:  # noqa: ANN401 - as below
    return table.insert()


@lru_cache
def _insert_missing(database: str, table: Table, key: tuple[str, ...]) -> Any:  # noqa: ANN401 - as below
    statement = _insert_of(database, table)
    if database in _MYSQL:
        return statement.on_duplicate_key_update({key[0]: table.c[key[0]]})
    return statement.on_conflict_do_nothing(index_elements=list(key))


@lru_cache
def _insert_or_add(
    database: str,
    table: Table,
    key: tuple[str, ...],
    add: tuple[str, ...],
    latest: tuple[str, ...],
    first: tuple[str, ...],
) -> Any:  # noqa: ANN401 - as below
    statement = _insert_of(database, table)
    new = statement.inserted if database in _MYSQL else statement.excluded
    changes = {name: table.c[name] + new[name] for name in add}
    for name in latest:
        greater = case((new[name] > table.c[name], new[name]), else_=table.c[name])
        changes[name] = func.coalesce(greater, new[name]) if table.c[name].nullable else greater
    changes |= {name: func.coalesce(table.c[name], new[name]) for name in first}
    if database in _MYSQL:
        return statement.on_duplicate_key_update(changes)
    return statement.on_conflict_do_update(index_elements=list(key), set_=changes)


def _insert_of(database: str, table: Table) -> Any:  # noqa: ANN401 - the dialects' inserts share no base
    """The INSERT of this database; importing the others' would take longer than most commands."""
    name = "mysql" if database in _MYSQL else database
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
