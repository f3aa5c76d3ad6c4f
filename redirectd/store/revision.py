"""The revision of a database's tables, without loading the migrations: alembic takes longer than most commands."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

import redirectd
from redirectd.errors import StoreError
from redirectd.store.database import Database


def scripts() -> Path:
    """The folder of migration scripts: beside the code when installed, at the top level in a checkout."""
    package = Path(redirectd.__file__).parent
    shipped = package / "migrations"
    return shipped if shipped.is_dir() else package.parent / "alembic"


def newest() -> str:
    """The revision this program works with: files of `versions` are named NUMBER_words.py, and the last one counts."""
    return max(file.name.partition("_")[0] for file in (scripts() / "versions").glob("[0-9]*_*.py"))


def is_newest(database: Database) -> bool:
    """Whether the database needs no migration. False where it can't be determined; whoever migrates finds out why."""
    try:
        with database.read() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    except StoreError:
        return False
    return found == [newest()]
