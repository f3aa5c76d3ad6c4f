"""The database: reachable, at the right revision, its audit whole."""

from __future__ import annotations

from collections.abc import Iterator

from redirectd.cli.checks.finding import Finding, Level, fault, good
from redirectd.config.database import database_url, make_folder
from redirectd.config.model import Config
from redirectd.errors import RedirectdError
from redirectd.store import audit
from redirectd.store.database import Database
from redirectd.store.migrate import current, head, refuse_newer
from redirectd.store.remaps import counts


def check_database(config: Config) -> Iterator[Finding]:
    """Opens the database and looks at what is in it."""
    try:
        database = Database(database_url(config))
        make_folder(database.file)
    except RedirectdError as error:
        yield from fault(error)
        return
    try:
        yield from _look(database)
    except RedirectdError as error:
        yield from fault(error)
    finally:
        database.close()


def _look(database: Database) -> Iterator[Finding]:
    where = f"database {database.shown}"
    found = current(database)
    refuse_newer(database, found)
    if found is None:
        yield Finding(where, Level.WARNING, "it has no tables yet", "run 'redirectd db upgrade'")
        return
    if found != head():
        why = f"its tables are at {found}, this program needs {head()}"
        yield Finding(where, Level.FAULT, why, "run 'redirectd db upgrade'")
        return
    with database.read() as connection:
        by_state = counts(connection)
        yield good(where, f"revision {found}; " + ", ".join(f"{n} {state}" for state, n in by_state.items() if n))
        broken = audit.broken_at(connection)
    if broken is not None:
        yield Finding(
            f"{where}, audit entry {broken}",
            Level.FAULT,
            "it was changed, or one before it was removed, by something other than redirectd",
            "find out who writes to this database, compare with a backup, and review the approved remaps",
        )
