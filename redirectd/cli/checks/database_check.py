"""The database: reachable, at the right revision, its audit whole; and whether the servers have room for its remaps."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from math import ceil
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from redirectd.cli.checks.as_user import Finding, Level, fault, good
from redirectd.cli.checks.secrets_check import check_closed
from redirectd.config.model import DEFAULT_URL, Config
from redirectd.config.secrets import database_url
from redirectd.dialects.frame import Authenticity
from redirectd.errors import RedirectdError
from redirectd.service.applying import lock_path
from redirectd.store import audit
from redirectd.store.audit_verify import tamperings
from redirectd.store.database import Database
from redirectd.store.migrate import current, head, refuse_newer
from redirectd.store.remap import State
from redirectd.store.remaps import counts
from redirectd.store.schema import metadata, remap

DEFAULT_FILE = Path(DEFAULT_URL.removeprefix("sqlite:///"))
"""Its folder is made where it is missing, unlike any other."""

LOCK_SECONDS = 3.0
"""How long the write lock of SQLite is waited for."""

SHOWN = 5
"""Traces of tampering that are listed one by one."""

SHOWN_IDS = 20
UNKEYED_MEND = (
    "look at each with 'redirectd show ID' and revoke what is wrong; a proven record of the same move ends the warning "
    "('redirectd snippet kamailio' prints what writes them)"
)

T = TypeVar("T")

TAMPERED = "find out who writes to this database, compare with a backup, and review the approved remaps"


def check_database(config: Config) -> Iterator[Finding]:
    """Opens the database and looks at what is in it."""
    try:
        database = Database(database_url(config))
    except RedirectdError as error:
        yield from fault(error)
        return
    if database.file is not None and not _there(database.file):
        # Connecting would create it, and a check changes nothing.
        yield _not_there(database.shown, database.file)
        return
    try:
        yield from _look(database)
        yield from _check_rights(database)
        if database.file is not None:
            yield from check_closed(f"database {database.shown}", database.file, "call records")
        yield from _check_lock(database)
        yield from check_apply_lock(lock_path(config, database))
    except RedirectdError as error:
        yield from fault(error)
    finally:
        database.close()


def from_database(config: Config, question: Callable[[Database], T], otherwise: T) -> T:
    """What the database answers, or `otherwise` where it can't say, as its own check reports why."""
    try:
        database = Database(database_url(config))
    except RedirectdError:
        return otherwise
    try:
        if database.file is not None and not _there(database.file):
            return otherwise  # connecting would create it, and a check changes nothing
        return question(database)
    except (RedirectdError, SQLAlchemyError):
        return otherwise
    finally:
        database.close()


def _there(path: Path) -> bool:
    """Path.exists raises where one may not look; so far it is as good as not there."""
    return os.path.exists(path)  # noqa: PTH110


def _not_there(shown: str, file: Path) -> Finding:
    folder = next(parent for parent in file.parents if _there(parent))
    if not os.access(folder, os.X_OK):
        why = f"this user may not look into {folder}"
        return Finding(f"database {shown}", Level.FAULT, why, "run as the user redirectd or as root")
    if not os.access(folder, os.W_OK | os.X_OK):
        why = f"it is not there, and this user may not create it in {folder}"
        return Finding(f"database {shown}", Level.FAULT, why, "run as the user redirectd, or set database.url")
    if folder != file.parent and file != DEFAULT_FILE:
        why = f"its folder {file.parent} is not there"
        return Finding(f"database {shown}", Level.FAULT, why, "create the folder, or set database.url")
    return good(f"database {shown}", "not there yet; what is stored first makes it")


def _check_rights(database: Database) -> Iterator[Finding]:
    """A file that can be read but not written to would fail only when something is to be stored."""
    file = database.file
    if file is not None and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)):
        why = f"this user may not write to it or to its folder {file.parent}"
        yield Finding(
            f"database {database.shown}", Level.FAULT, why, "run as the user redirectd, or give this one the right"
        )


def _check_lock(database: Database) -> Iterator[Finding]:
    """Takes the lock that every writer needs and gives it back, nothing written; the service holds it for moments."""
    file = database.file
    if file is None or not os.access(file, os.W_OK):
        return
    try:
        with closing(sqlite3.connect(file, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        why = f"it could not be locked for writing within {LOCK_SECONDS:.0f} s: {error}"
        mend = (
            f"see which process holds it with 'fuser {file}'; until it lets go nothing is stored, and nothing is lost"
        )
        yield Finding(f"database {database.shown}", Level.WARNING, why, mend)


def _approved_unkeyed(connection: Connection) -> list[int]:
    """The ids of approved remaps that no proven and no surely framed sighting speaks for."""
    doubtful = remap.c.authenticity < Authenticity.FRAMED.value
    query = select(remap.c.id).where(remap.c.state == State.APPROVED.value, doubtful).order_by(remap.c.id)
    return [int(number) for number in connection.scalars(query)]


def _without_revision(database: Database) -> Finding:
    where = f"database {database.shown}"
    with database.read() as connection:
        foreign = sorted(metadata.tables.keys() & set(inspect(connection).get_table_names()))
    if foreign:
        why = f"it has tables such as {foreign[0]}, but not the revision that redirectd notes beside its own"
        return Finding(where, Level.FAULT, why, "name another database in database.url, or restore it from a backup")
    if database.backend == "sqlite":
        return good(where, "it has no tables yet; what is stored first makes them")
    return Finding(where, Level.WARNING, "it has no tables yet", "run 'redirectd db upgrade'")


def check_apply_lock(lock: Path) -> Iterator[Finding]:
    """Where an apply puts its lock: with a shared database in the folder of daemon.socket, which it makes if it may."""
    folder = lock.parent if _there(lock.parent) else lock.parent.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        why = f"this user may not write in {folder}, where an apply puts its lock"
        yield Finding(f"lock {lock}", Level.FAULT, why, "run as root or as the user redirectd, or set daemon.socket")


def _look(database: Database) -> Iterator[Finding]:
    where = f"database {database.shown}"
    found = current(database)
    refuse_newer(database, found)
    if found is None:
        yield _without_revision(database)
        return
    if found != head() and database.backend == "sqlite":
        yield good(where, f"its tables are at {found}; the next command upgrades them to {head()}")
        return
    if found != head():
        why = f"its tables are at {found}, this program needs {head()}"
        yield Finding(where, Level.FAULT, why, "run 'redirectd db upgrade'")
        return
    with database.read() as connection:
        by_state = counts(connection)
        unkeyed = _approved_unkeyed(connection)
        counted = ", ".join(f"{n} {state}" for state, n in by_state.items() if n) or "no remaps yet"
        yield good(where, f"revision {found}; {counted}")
        found_wrong = list(tamperings(connection))
        last = audit.written(connection)
    if unkeyed:
        shown = ", ".join(map(str, unkeyed[:SHOWN_IDS])) + (", ..." if len(unkeyed) > SHOWN_IDS else "")
        why = f"{len(unkeyed)} approved remaps are known only from lines that a caller may have forged (R39): {shown}"
        yield Finding(f"{where}, approved", Level.WARNING, why, UNKEYED_MEND)
    for one in found_wrong[:SHOWN]:
        why = f"{one.why}: something other than redirectd has done that"
        yield Finding(f"{where}, {one.where}", Level.FAULT, why, TAMPERED)
    if found_wrong[SHOWN:]:
        yield Finding(where, Level.FAULT, f"{len(found_wrong) - SHOWN} more of that kind", TAMPERED)
    if last is not None and not found_wrong:
        yield good(f"{where}, audit", f"whole up to entry {last[0]}, whose hash begins with {last[1][:16]}")


DEFAULT_ROWS = 20_000
"""Rows of a db_text table that a Kamailio with its default memory (-m 64 -M 8) has been seen to load; not 40,000."""

_SHARED_PER_ROW = 600
"""Bytes of shared memory (60 MB at 100,000 rows); a reload holds up to three times that."""


_TABLE_ROWS = 100_000
"""Rows from which db_text refuses a table ("Truncated table"), unless its max_result_rows says otherwise."""


def check_capacity(config: Config) -> Iterator[Finding]:
    """Compares the approved user moves with what a Kamailio of default size can load into an htable."""
    names = [target.name for target in config.target if target.kind == "kamailio-htable" and target.path]
    rows = _approved_users(config) if names else 0
    if rows > DEFAULT_ROWS:
        shared = 64 + ceil(rows * _SHARED_PER_ROW * 3 / 1e6)
        private = 8 * ceil(rows / DEFAULT_ROWS) + 8
        yield Finding(
            f"target {', '.join(names)}",
            Level.WARNING,
            f"{rows:,} user moves are approved, and Kamailio as it comes (-m 64 -M 8) loads about {DEFAULT_ROWS:,}",
            f"start Kamailio with at least -m {shared} -M {private} (Debian: /etc/default/kamailio)"
            + _table_rows(rows),
        )


def _table_rows(rows: int) -> str:
    """What kamailio.cfg has to say besides, where db_text would refuse the table as it comes."""
    return f', with modparam("db_text", "max_result_rows", {rows * 2}) or more' if rows >= _TABLE_ROWS else ""


def _approved_users(config: Config) -> int:
    """How many; 0 where the database can't say."""

    def ask(database: Database) -> int:
        with database.read() as connection:
            query = select(func.count()).where(remap.c.state == State.APPROVED.value, remap.c.kind == "user")
            return int(connection.execute(query).scalar_one())

    return from_database(config, ask, 0)
