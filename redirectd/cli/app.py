"""What commands share: the configuration and the database, each opened when first asked for."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from redirectd.config.model import Config
    from redirectd.store.database import Database


class App:
    """One run of the command line."""

    def __init__(self, config_file: Path | None) -> None:
        self.config_file = config_file
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
            if not is_newest(self._database):
                from redirectd.store.migrate import ensure

                ensure(self._database)
        return self._database

    def unchecked_database(self) -> Database:
        """The database at whatever revision it is. Raises ConfigError."""
        from redirectd.config.database_url import database_url, make_folder
        from redirectd.store.database import Database

        database = Database(database_url(self.config))
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


pass_app = click.make_pass_decorator(App)
