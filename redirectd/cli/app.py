"""What commands share: the configuration and the database, each opened when first asked for."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from redirectd.config.model import Config
    from redirectd.store.database import Database


class App:
    """One run of the command line.

    `reads_only`: an SQLite database that is not there is not made, but taken as empty.
    """

    def __init__(self, config_file: Path | None) -> None:
        self.config_file = config_file
        self.reads_only = False
        self._database: Database | None = None

    @cached_property
    def config(self) -> Config:
        """The configuration. Raises ConfigError."""
        from redirectd.config.load import load

        return load(self.config_file)

    @property
    def database(self) -> Database:
        """The database at the program's revision. Raises ConfigError and StoreError."""
        if self._database is None:
            from redirectd.store.revision import is_newest

            self._database = self.unchecked_database()
            if self.reads_only and self._database.file is not None and not self._database.file.exists():
                self._database = _empty(self._database)
                return self._database
            if not is_newest(self._database):
                from redirectd.store.migrate import ensure

                ensure(self._database)
        return self._database

    def readable_database(self) -> Database:
        """The database to look at: an SQLite one is upgraded where it can be, and not made. Raises ConfigError."""
        from redirectd.errors import StoreError

        database = self.unchecked_database()
        if database.file is None:
            return database
        if not database.file.exists():
            return _empty(database)
        from redirectd.store.revision import is_newest

        if not is_newest(database):
            from redirectd.store.migrate import ensure

            with suppress(StoreError):  # status shows by itself what is wrong
                ensure(database)
        return database

    def unchecked_database(self) -> Database:
        """The database at whatever revision it is. Raises ConfigError."""
        from redirectd.config.database_url import database_url, make_folder
        from redirectd.store.database import Database

        database = Database(database_url(self.config))
        if not self.reads_only:
            make_folder(database.file)
        return database

    @property
    def actor(self) -> str:
        """Who decides, for the audit: the person behind sudo, else the user."""
        return os.environ.get("SUDO_USER") or getpass.getuser()

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    def close(self) -> None:
        """Closes what was opened."""
        if self._database is not None:
            self._database.close()


def _empty(database: Database) -> Database:
    """A database without anything in it, in memory, in place of a file that nothing was written to yet."""
    from redirectd.store.database import Database
    from redirectd.store.migrate import ensure

    empty = Database("sqlite://", shown=f"{database.shown} (not made yet)")
    ensure(empty)
    return empty


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a command that only reads: where nothing was stored yet, it makes no database."""

    @wraps(command)
    def with_app(app: App, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click calls with anything
        app.reads_only = True
        return command(app, *args, **kwargs)

    return with_app


pass_app = click.make_pass_decorator(App)
