"""Migrations: the scripts make what the schema says, on every database; who may upgrade what, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from redirectd.errors import StoreError
from redirectd.store import migrate
from redirectd.store.database import Database
from redirectd.store.schema import metadata
from tests.store.conftest import SERVERS


def differences(database: Database) -> list[object]:
    """What alembic would still change."""
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


def test_sqlite_equals_the_schema(tmp_path: Path) -> None:
    """From nothing, the scripts make exactly the tables of the schema; a second upgrade changes nothing."""
    database = Database(f"sqlite:///{tmp_path}/new.db")
    assert migrate.current(database) is None
    assert migrate.upgrade(database) == (None, migrate.head())
    assert differences(database) == []
    assert migrate.upgrade(database) == (migrate.head(), migrate.head())


def test_sqlite_ids_are_not_reused(tmp_path: Path) -> None:
    """The migration, too, makes the remap table such that an id is never given twice."""
    database = Database(f"sqlite:///{tmp_path}/new.db")
    migrate.upgrade(database)
    with database.read() as connection:
        made = connection.execute(text("select sql from sqlite_master where name = 'remap'")).scalar_one()
    assert "AUTOINCREMENT" in made


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
def test_servers_equal_the_schema(server_url: str) -> None:
    """The same on PostgreSQL and MariaDB."""
    database = Database(server_url)
    assert migrate.upgrade(database) == (None, migrate.head())
    assert differences(database) == []
    database.close()


@pytest.mark.parametrize("server_url", SERVERS, indirect=True)
def test_a_server_is_upgraded_by_command_alone(server_url: str) -> None:
    """Several hosts share a server: using it with no tables is refused, and names the command."""
    database = Database(server_url)
    with pytest.raises(StoreError) as refused:
        migrate.ensure(database)
    assert "redirectd db upgrade" in refused.value.what_to_do
    with database.read() as connection:
        assert "remap" not in inspect(connection).get_table_names()
    migrate.upgrade(database)
    migrate.ensure(database)
    database.close()


def test_sqlite_is_upgraded_on_first_use(tmp_path: Path) -> None:
    """An SQLite file is brought to the program's revision by itself, and left alone from then on."""
    database = Database(f"sqlite:///{tmp_path}/new.db")
    migrate.ensure(database)
    assert migrate.current(database) == migrate.head()
    migrate.ensure(database)


@pytest.mark.parametrize("use", [migrate.ensure, migrate.upgrade])
def test_a_newer_database_is_refused(tmp_path: Path, use: object) -> None:
    """A revision of a newer program is refused with the way out, and nothing is changed."""
    database = Database(f"sqlite:///{tmp_path}/new.db")
    migrate.upgrade(database)
    with database.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(StoreError, match="9999") as refused:
        use(database)  # type: ignore[operator]
    assert "newer" in refused.value.what_to_do
    assert migrate.current(database) == "9999"
