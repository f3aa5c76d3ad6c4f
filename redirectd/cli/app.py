"""What commands share: the configuration and the database, each opened when first asked for."""

from __future__ import annotations

import os
import pwd
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


LOGINUID = Path("/proc/self/loginuid")
"""The user id of the login session, which pam_loginuid writes once."""

_UNSET = 2**32 - 1


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
            from redirectd.store.database import is_newest

            self._database = self.unchecked_database()
            if self.reads_only and self._database.is_missing:
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
        if database.is_missing:
            return _empty(database)
        from redirectd.store.database import is_newest

        if not is_newest(database):
            from redirectd.store.migrate import ensure

            with suppress(StoreError):  # status shows by itself what is wrong
                ensure(database)
        return database

    def unchecked_database(self) -> Database:
        """The database at whatever revision it is. Raises ConfigError."""
        from redirectd.config.secrets import database_url, make_folder
        from redirectd.store.database import Database

        database = Database(database_url(self.config))
        if not self.reads_only:
            make_folder(database.file)
        return database

    @cached_property
    def account(self) -> str:
        """The login as the kernel knows it (`unix:NAME`): sudo and su keep that, and no variable changes it.

        Where nobody logged in (a container, cron), the user that runs this.
        """
        return f"unix:{_login() or _user(os.getuid())}"

    @property
    def actor(self) -> str:
        """Who decides, for the audit: who is logged in, else the user that sudo names to root, else the user."""
        sudo = os.environ.get("SUDO_USER") if os.getuid() == 0 else None
        return _login() or sudo or _user(os.getuid())

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    def close(self) -> None:
        """Closes what was opened."""
        if self._database is not None:
            self._database.close()


def _login() -> str | None:
    """The user of the login session; None where there is none."""
    try:
        number = int(LOGINUID.read_text())
    except (OSError, ValueError):
        return None
    return None if number == _UNSET else _user(number)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


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
