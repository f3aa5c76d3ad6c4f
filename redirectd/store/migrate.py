"""Brings a database to the program's revision by the scripts in `alembic/` (`redirectd/migrations` in a wheel)."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

import redirectd
from redirectd.errors import StoreError
from redirectd.store.database import Database, scripts
from redirectd.store.turns import upgrading


def head() -> str:
    """The revision this program works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None, "the program ships at least one migration"
    return revision


def current(database: Database) -> str | None:
    """The database's revision, None for one that has no tables of ours yet. Raises StoreError."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database) -> tuple[str | None, str]:
    """Migrates to the program's revision; gives the revision before and after. Raises StoreError."""
    before = current(database)
    refuse_newer(database, before)
    config = _config()
    with database.begin() as connection, upgrading(connection):
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreError(
                f"database {database.shown}", str(error), "restore it from a backup or report this"
            ) from error
    return before, head()


def ensure(database: Database) -> None:
    """Ready for use, or an error: SQLite is migrated by itself, a server only by `redirectd db upgrade`.

    Several hosts may share a server, and its owner decides when its tables change.
    """
    found = current(database)
    if found == head():
        return
    refuse_newer(database, found)
    if database.backend == "sqlite":
        upgrade(database)
        return
    raise StoreError(
        f"database {database.shown}",
        "it has no tables of redirectd yet" if found is None else f"its revision {found} is older than this program's",
        "run 'redirectd db upgrade'",
    )


def is_newer(found: str | None) -> bool:
    """Whether a revision is none that this program knows."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return found is not None and found not in known


def refuse_newer(database: Database, found: str | None) -> None:
    """Raises StoreError for a revision this program doesn't know: a newer redirectd has been here."""
    if is_newer(found):
        raise StoreError(
            f"database {database.shown}",
            f"its revision {found} is unknown to redirectd {redirectd.__version__}: a newer one has upgraded it",
            "install the newer redirectd on this host too, or restore the backup made before the upgrade",
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
