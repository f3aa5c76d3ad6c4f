"""Statements for many rows, and INSERT with a conflict clause.

SQLAlchemy writes a statement and converts the values, once for all rows; the driver gets them as they are. That takes
a third of what `Connection.execute` takes for a list of rows, and storing a log of nothing but 301s is mostly that.
SQLite and PostgreSQL spell the conflict clause one way and MariaDB another.

PostgreSQL gets such statements together: they wait until something is asked or committed, and go there in one round
trip. What they lock, others then wait for during the server's own work, not for the way there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Dialect, Engine, Insert, Table, Update, case, event, func
from sqlalchemy.exc import DBAPIError

Row = Mapping[str, Any]

_STATEMENTS = 256
"""Statements that are kept written out; there are about twenty, for each database that is open."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A statement in the words of one database: its text, the names of its values in their order, who converts them."""

    text: str
    names: tuple[str, ...]
    converters: Mapping[str, Callable[[Any], Any]]
    by_name: bool


def run_many(connection: Connection, statement: Insert | Update | Delete, rows: Sequence[Row]) -> None:
    """Executes `statement` with each of `rows`, which all have the same names.

    The statement is to be one that the caller keeps (a constant, or cached): it is what its text is remembered by.
    """
    if not rows:
        return
    written = _written(statement, tuple(rows[0]), connection.dialect)
    columns: list[Iterable[Any]] = []
    for name in written.names:
        column = map(itemgetter(name), rows)
        convert = written.converters.get(name)
        columns.append(column if convert is None else map(convert, column))
    values: list[Any] = list(zip(*columns, strict=True))
    if written.by_name:
        values = [dict(zip(written.names, row, strict=True)) for row in values]
    waiting = connection.info.get(_WAITING)
    if waiting is None:
        connection.exec_driver_sql(written.text, values)
    else:
        waiting.append((written.text, values))


_WAITING = "redirectd statements that wait"
_SINGLY = 20
"""Rows that go as statements of their own, so that no answer is waited for; more cost less by executemany."""


def send_together(engine: Engine) -> None:
    """Has the statements of `run_many` wait for the next question or the commit. For psycopg alone.

    What is wrong with one is raised there. A rollback drops them.
    """

    def forget(connection: Connection) -> None:
        if not connection.invalidated:  # else it is gone with all that waited
            connection.info[_WAITING].clear()

    event.listen(engine, "connect", lambda _connection, record: record.info.update({_WAITING: []}))
    event.listen(engine, "before_cursor_execute", lambda connection, *_: _send(connection, commit=False))
    event.listen(engine, "commit", lambda connection: _send(connection, commit=True))
    event.listen(engine, "rollback", forget)


def _send(connection: Connection, *, commit: bool) -> None:
    """Sends what waits in its order, with the commit where that is next; psycopg commits nothing twice."""
    waiting = connection.info[_WAITING]
    if not waiting:
        return
    statements, waiting[:] = list(waiting), []
    driver: Any = connection.connection.driver_connection
    failing: Any = connection.dialect.loaded_dbapi.Error
    text = ""
    try:
        with driver.pipeline(), driver.cursor() as cursor:
            for text, rows in statements:
                if len(rows) > _SINGLY:
                    cursor.executemany(text, rows)
                    continue
                for row in rows:
                    cursor.execute(text, row)
            if commit:
                driver.commit()
    except failing as error:
        raise DBAPIError.instance(text, None, error, failing, dialect=connection.dialect) from error


@lru_cache(maxsize=_STATEMENTS)
def _written(statement: Insert | Update | Delete, names: tuple[str, ...], dialect: Dialect) -> _Written:
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names), for_executemany=True)
    assert not compiled.insert_prefetch, "a value that SQLAlchemy would fill in is to be given"
    converters = {}
    for name in names:
        convert = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            converters[name] = lru_cache(maxsize=16)(convert)  # the same time comes again and again
    order = tuple(compiled.positiontup) if compiled.positional else names
    return _Written(compiled.string, order, converters, not compiled.positional)


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
    new: Iterable[str] = (),
) -> None:
    """Inserts rows, or adds to the counters `add` of those there.

    Columns in `latest` take the greater value, those in `first` keep theirs; either takes any for none. Those in `new`
    take the new value.
    """
    name, taken = connection.dialect.name, tuple(new)
    statement = _insert_or_add(name, table, tuple(key), tuple(add), tuple(latest), tuple(first), taken)
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
    taken: tuple[str, ...],
) -> Any:  # noqa: ANN401 - as below
    statement = _insert_of(database, table)
    new = statement.inserted if database in _MYSQL else statement.excluded
    changes = {name: table.c[name] + new[name] for name in add}
    for name in latest:
        greater = case((new[name] > table.c[name], new[name]), else_=table.c[name])
        changes[name] = func.coalesce(greater, new[name]) if table.c[name].nullable else greater
    changes |= {name: func.coalesce(table.c[name], new[name]) for name in first}
    changes |= {name: new[name] for name in taken}
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
