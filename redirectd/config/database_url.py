"""The database's URL with everything the configuration and the environment say about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from redirectd.config.model import DEFAULT_URL, Config
from redirectd.config.secrets import in_capitals, read_secret
from redirectd.errors import ConfigError
from redirectd.sip.text import mask_url, printable


def database_url(config: Config, environ: Mapping[str, str] = os.environ) -> str:
    """The URL to open, with its password in clear: not for people. A relative SQLite path starts at the file's folder.

    Raises ConfigError for a text that is not a URL or a password file that can't be read.
    """
    text = environ.get("REDIRECTD_DATABASE_URL") or config.database.url
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise ConfigError(
            "database.url",
            f"{mask_url(text)} is no database URL",
            "use sqlite:////path/file.db, postgresql+psycopg://user@host/name or mysql+pymysql://user@host/name",
        ) from error
    if url.get_backend_name() == "sqlite":
        return _sqlite_url(url, config)
    file = config.database.password_file
    password = read_secret(
        "database-password", "REDIRECTD_DATABASE_PASSWORD", config.resolve(file) if file else None, environ
    )
    return _in_clear(url, password)


def target_database(config: Config, name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The URL of a target's database with its password, not for people. Raises ConfigError for a file without one."""
    target = next(target for target in config.target if target.name == name)
    url = make_url(target.database or "")
    file = config.resolve(target.database_password_file) if target.database_password_file else None
    variable = f"REDIRECTD_TARGET_{in_capitals(name)}_DATABASE_PASSWORD"
    return _in_clear(url, read_secret(f"target-{name}-database-password", variable, file, environ))


def with_password(text: str, file: Path | None) -> str:
    """A URL of the command line with the password in a file. Raises ConfigError."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(mask_url(text), "this is not a database URL", "mysql+pymysql://user@host/name") from error
    return _in_clear(url, read_secret("", "", file, {}))


def _in_clear(url: URL, password: str | None) -> str:
    """The URL as text, with the password if there is one, else with its own."""
    return (url if password is None else url.set(password=password)).render_as_string(hide_password=False)


def _sqlite_url(url: URL, config: Config) -> str:
    if not url.database or url.database == ":memory:":
        return url.render_as_string()
    path = config.resolve(Path(url.database))
    try:
        return url.set(database=str(path)).render_as_string()
    except UnicodeEncodeError as error:  # bytes of the folder's name that are not UTF-8, or a locale that has none
        raise ConfigError(
            "database.url",
            f"the path {printable(str(path))} can't be written as UTF-8",
            "set database.url to a path in UTF-8, and LC_ALL to a locale such as C.UTF-8",
        ) from error


def make_folder(file: Path | None) -> None:
    """Creates the default database's folder where it is missing and may be created; any other is left to the user."""
    if file is None or file != Path(DEFAULT_URL.removeprefix("sqlite:///")) or file.parent.exists():
        return
    try:
        file.parent.mkdir(mode=0o750)
    except OSError as error:
        raise ConfigError(
            f"folder {file.parent}",
            f"the default database can't be put there: {error.strerror}",
            "run as root or as the user redirectd, or set database.url: 'redirectd init' writes a configuration",
        ) from error
