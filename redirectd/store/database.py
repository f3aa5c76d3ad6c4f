"""Opening the database: SQLite, PostgreSQL or MariaDB, each set to keep what it has confirmed.

The revision of its tables is read without the migrations: alembic takes longer to load than most commands.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import uniform
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

import redirectd
from redirectd import ownership
from redirectd.errors import BusyStoreError, ConfigError, RedirectdError, StoreError, UsageError
from redirectd.sip.text import mask_url, printable
from redirectd.store.statements import send_together

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry


Result = TypeVar("Result")

PATIENCE_SECONDS = 60.0
"""How long a transaction that others were in the way of is tried again."""

BUSY_TIMEOUT_MS = 10_000
"""How long a lock that another holds is waited for, in every kind of database: then the caller hears of it."""

_FILE_MODE = 0o640
"""Of a new SQLite file, or less by the umask: evidence and the audit are not for everybody. Its log files follow it."""

CONNECT_SECONDS = 10
SILENT_SECONDS = 30
"""How long a server's host may leave what was sent unconfirmed before the connection counts as broken."""

_CORRECT = "correct what follows the ? in database.url"


class Database:
    """A database by its SQLAlchemy URL; connections are made when first needed."""

    def __init__(self, url: str, *, shown: str | None = None) -> None:
        """Nothing is connected yet. `shown` is what people are shown instead of the URL.

        Raises ConfigError for a URL or driver that can't be used.
        """
        self._shown = shown
        try:
            self._url = make_url(url)
            self.engine = _engine(url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ConfigError(
                "database.url",
                f"this URL can't be used: {error}",
                "use sqlite:////path/file.db, postgresql+psycopg://user@host/name or mysql+pymysql://user@host/name "
                "and install the extra for it (redirectd[postgresql], redirectd[mysql])",
            ) from error
        except (TypeError, ValueError) as error:
            raise ConfigError("database.url", driver_refuses(error), _CORRECT) from error
        self.epoch = 0
        """Counts up when the file of an SQLite database is found to be another one."""
        self._opened: tuple[int, int] | None = None
        self._looking = Lock()
        if self.file is not None:
            event.listen(self.engine, "do_connect", lambda *_: self._make_file())
            event.listen(self.engine, "connect", lambda _connection, _record: self._note_file())

    @property
    def shown(self) -> str:
        """The URL with its passwords masked, for people and logs."""
        return self._shown or mask_url(self._url.render_as_string(hide_password=True))

    @property
    def backend(self) -> str:
        """`sqlite`, `postgresql` or `mysql` (also for MariaDB)."""
        return self._url.get_backend_name()

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database, None for servers and `:memory:`."""
        name = self._url.database
        return Path(name) if self.backend == "sqlite" and name and name != ":memory:" else None

    @property
    def is_missing(self) -> bool:
        """Whether it is a file that is not there. One in a folder that this user may not look into is not missing."""
        return self.file is not None and not ownership.may_be_there(self.file)

    def file_bytes(self) -> int:
        """What an SQLite database takes on the disk, its write-ahead log included; 0 if it has no file."""
        if (file := self.file) is None:
            return 0
        parts = (file, file.with_name(file.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One write transaction: committed on leaving, rolled back on an exception. Raises StoreError."""
        self._see_same_file()
        with self._translated(), connected(self.engine, self._unusable) as connection, connection.begin():
            yield connection

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Does `work` in one write transaction, and again where others were in its way: it must begin anew each time.

        Raises BusyStoreError after a minute of that, and StoreError.
        """
        deadline = monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self.begin() as connection:
                    return work(connection)
            except BusyStoreError:
                if monotonic() >= deadline:
                    raise
                sleep(uniform(0.05, 0.5))  # noqa: S311 - so that two that met don't meet again

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading only. Raises StoreError."""
        self._see_same_file()
        with self._translated(), connected(self.engine, self._unusable) as connection:
            yield connection.execution_options(redirectd_read_only=True)

    def close(self) -> None:
        """Closes the pooled connections."""
        self.engine.dispose()

    def _make_file(self) -> None:
        assert self.file is not None, "of SQLite files alone"
        ownership.make(self.file, _FILE_MODE)
        with suppress(OSError):  # it is there, or SQLite says why it can't be made
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(self.file, flags, _FILE_MODE))

    def _note_file(self) -> None:
        if self._opened is None:
            self._opened = self._identity()

    def _see_same_file(self) -> None:
        """An open SQLite file that was removed or replaced takes whatever is written, for nobody.

        Until there is a file again it counts as away: a new and empty one is made by a start alone.
        """
        if self._opened is None or self._identity() == self._opened:
            return
        with self._looking:
            found = self._identity()
            if self._opened is None or found == self._opened:
                return
            self.engine.dispose()
            if found is None:
                raise StoreError(
                    f"database {self.shown}",
                    "its file was removed while it was in use",
                    "put it back from a backup; or restart the service, which begins with a new and empty one",
                )
            self._opened = None
            self.epoch += 1
            raise StoreError(
                f"database {self.shown}",
                "its file was replaced by another while it was in use",
                "nothing, if a backup was put back: the next attempt uses it",
            )

    def _identity(self) -> tuple[int, int] | None:
        """Device and inode of the file, None where there is none."""
        assert self.file is not None, "asked of SQLite files alone"
        try:
            status = self.file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _unusable(self, why: str) -> StoreError:
        return StoreError(f"database {self.shown}", why, _CORRECT)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            kind = BusyStoreError if _is_busy(error) else StoreError
            raise kind(f"database {self.shown}", str(error.orig), _remedy(error)) from error
        except OverflowError as error:  # SQLite's driver says so of what was typed, before anything is asked
            raise UsageError(
                f"database {self.shown}", "it has no numbers as large as that", "name a smaller one"
            ) from error
        except SQLAlchemyError as error:
            raise StoreError(
                f"database {self.shown}", str(error), "run 'redirectd check' to see what is wrong with it"
            ) from error


def connected(engine: Engine, unusable: Callable[[str], RedirectdError]) -> Connection:
    """A connection; `unusable` gives what to raise, with why, for a URL that the driver can't take.

    Raises SQLAlchemyError for all else.
    """
    try:
        return engine.connect()
    except (SQLAlchemyError, RedirectdError):
        raise
    except Exception as error:  # drivers raise anything for what they don't know in a URL
        raise unusable(driver_refuses(error)) from error


def driver_refuses(error: Exception) -> str:
    """Why a driver can't take a URL, in its own words."""
    said = error.strerror if isinstance(error, OSError) else None
    return f"its driver can't take the URL: {printable(said or str(error), 300)}"


_BUSY_MARIADB = frozenset({1205, 1213})  # lock wait timeout, deadlock
_BUSY_POSTGRESQL = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available


def _is_busy(error: DBAPIError) -> bool:
    """Whether the same transaction may well succeed when it is tried again: the database took all of it back."""
    cause = error.orig
    if getattr(cause, "sqlstate", None) in _BUSY_POSTGRESQL or getattr(cause, "sqlite_errorname", "") == "SQLITE_BUSY":
        return True
    number = cause.args[0] if cause is not None and cause.args else None
    return isinstance(number, int) and number in _BUSY_MARIADB


def _remedy(error: DBAPIError) -> str:
    """What to do about the driver's own words."""
    text = str(error.orig).lower()
    if "no such table" in text or "does not exist" in text or "doesn't exist" in text:
        return "run 'redirectd db upgrade' to create the tables"
    if "locked" in text:
        return "another process holds it for long; see which with 'fuser FILE', then try again"
    if "lock timeout" in text or "lock wait timeout" in text:
        return "another session holds a lock for long: see the server's list of sessions, then try again"
    if "not a database" in text or "malformed" in text or "already exists" in text:
        return "name another file in database.url, or restore this one from a backup"
    if "unable to open" in text:
        return "run as root or as the user redirectd; or create its folder, and give this user the right to write there"
    if "readonly" in text or "read-only" in text:
        return "give this user the right to write to the file and its folder"
    if "full" in text:
        return "free space on its disk; nothing that was read is lost, reading goes on from the same place"
    return "see that the server runs and that the user and password are right, then 'redirectd check'"


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return _server_engine(url)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _sqlite_pragmas)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _server_engine(url: str) -> Engine:
    """Nothing waits without end, as drivers do by themselves: whoever reads must hear that the database is away."""
    parsed = make_url(url)
    is_postgresql = parsed.get_backend_name() == "postgresql"
    bounds: dict[str, int | str] = {"connect_timeout": CONNECT_SECONDS}
    if is_postgresql:
        bounds |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
        bounds |= {"tcp_user_timeout": SILENT_SECONDS * 1000}
    else:
        seconds = BUSY_TIMEOUT_MS // 1000
        waits = f"lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}"
        whole = f"sql_select_limit = {2**64 - 1}"  # a limit for everybody would hide approved remaps
        bounds["init_command"] = f"SET SESSION {waits}, {whole}"
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=1,  # at rest: with the listener's, two connections a node; more are made when they are needed
        max_overflow=7,
        # MariaDB's own default would read from before a turn was taken (`store.turns`) and lock gaps between rows.
        isolation_level="READ COMMITTED",
        connect_args={name: bound for name, bound in bounds.items() if name not in parsed.query},
    )
    if is_postgresql:
        event.listen(engine, "connect", _postgresql_lock_timeout)
    if engine.driver == "psycopg":
        driver: Any = engine.dialect.loaded_dbapi
        if driver.Pipeline.is_supported():  # libpq has it from 14 on; psycopg[binary] brings its own
            send_together(engine)
    return engine


def _postgresql_lock_timeout(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """For the session; within a transaction it would end with that."""
    connection.autocommit = True
    with connection.cursor() as cursor:  # type: ignore[attr-defined]  # psycopg's cursors are context managers
        cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
    connection.autocommit = False


def _sqlite_pragmas(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """WAL with full sync: a confirmed sighting survives a power cut; readers never block the writer."""
    # pysqlite would open transactions by itself, and too late; SQLAlchemy's begin event opens them instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: Connection) -> None:
    """Write transactions take the lock at once: a later upgrade from reading to writing could fail with 'locked'."""
    options = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN" if options.get("redirectd_read_only") else "BEGIN IMMEDIATE")


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
