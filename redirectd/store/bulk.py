"""One statement for many rows.

SQLAlchemy writes the statement and converts the values, once for all rows; the driver gets them as they are. That takes
a third of what `Connection.execute` takes for a list of rows, and storing a log of nothing but 301s is mostly that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Update

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
    connection.exec_driver_sql(written.text, values)


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
