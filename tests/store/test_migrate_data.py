"""Databases of every earlier revision, full of rows, come to the program's revision with all that they held."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Column, MetaData, String, Table, insert, select

from redirectd.service.status_document import read_stored
from redirectd.store import migrate
from redirectd.store.database import Database
from tests.store.conftest import SERVERS
from tests.store.test_migrate import differences

ROWS = 3

NOW = datetime(2026, 11, 22, 18, 0, 0, 123456)  # noqa: DTZ001 - as the tables keep it: UTC without saying so


def earlier() -> list[str]:
    """Every revision but the newest, from the first."""
    found = [script.revision for script in ScriptDirectory.from_config(migrate._config()).walk_revisions()]
    return list(reversed(found[1:]))


def bring_to(database: Database, revision: str) -> None:
    """As the program that had this revision left it."""
    config = migrate._config()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def value_of(column: Column[Any], number: int) -> object:
    """Something that fits the column, another one for each row."""
    kind = column.type.python_type
    if kind in {int, float, Decimal} or column.foreign_keys:
        return number
    if kind is bool:
        return number == 1
    if kind is datetime:
        return NOW.replace(day=number)
    if kind is bytes:
        return b"\x00\xff" + bytes([number])
    assert isinstance(column.type, String), column.type
    text = f"{number} \u00fc {column.name}"
    if column.name == "detail":
        return json.dumps({"error": text})  # the program writes nothing else there
    return text[: column.type.length] if column.type.length else text


def reflected(database: Database) -> MetaData:
    """The tables as they are."""
    found = MetaData()
    with database.read() as connection:
        found.reflect(connection)
    found.remove(found.tables["alembic_version"])
    return found


def content(database: Database, tables: MetaData) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of these tables, in these columns."""
    with database.read() as connection:
        return {table.name: _rows(connection.execute(_all(table)).all()) for table in tables.sorted_tables}


def _all(table: Table) -> Any:
    return select(*table.c)


def _rows(found: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in found), key=repr)


@pytest.fixture(params=["sqlite", *SERVERS])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    url = (
        f"sqlite:///{tmp_path}/old.db" if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    )
    made = Database(url)
    yield made
    made.close()


def _authentic(before: dict[str, list[tuple[Any, ...]]], tables: MetaData) -> dict[str, list[tuple[Any, ...]]]:
    """The same with the answers of 0007: whoever reported them completely counts as authentic, as their remaps do."""
    place = list(tables.tables["event"].c.keys()).index("rank")
    rows = [(*row[:place], row[place] + 4 * (row[place] >= 2), *row[place + 1 :]) for row in before["event"]]
    return before | {"event": _rows(rows)}


@pytest.mark.parametrize("revision", earlier())
def test_rows_of_every_table_come_through(empty: Database, revision: str) -> None:
    """From any earlier revision: each row of each table is what it was, the tables are the schema's, status reads."""
    bring_to(empty, revision)
    tables = reflected(empty)
    with empty.begin() as connection:
        for table in tables.sorted_tables:
            rows = [{column.name: value_of(column, number) for column in table.c} for number in range(1, ROWS + 1)]
            connection.execute(insert(table), rows)
    before = content(empty, tables)
    assert {len(rows) for rows in before.values()} == {ROWS}
    assert migrate.upgrade(empty) == (revision, migrate.head())
    assert content(empty, tables) == (_authentic(before, tables) if revision < "0007" else before)
    assert differences(empty) == []
    assert read_stored(empty, NOW.replace(tzinfo=UTC))["quarantine"] == ROWS
