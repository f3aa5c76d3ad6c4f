"""Passwords, database URLs and record keys: from the environment, a systemd credential or a file, and never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from redirectd.config.model import DEFAULT_URL, Config
from redirectd.config.sections import NotifySection, SourceSection
from redirectd.errors import ConfigError
from redirectd.sip.text import mask_url, printable


def in_capitals(name: str) -> str:
    """A name of the configuration as it is within the name of an environment variable."""
    return "".join(char if char.isalnum() else "_" for char in name.upper())


def read_secret(name: str, variable: str, file: Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret `name`: environment `variable`, else the systemd credential `name`, else the first line of `file`.

    None where there is none of them. Raises ConfigError for a file that can't be read or is empty.
    """
    if environ.get(variable):
        return environ[variable]
    folder = environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder) / name if folder else None
    if credential is not None and os.path.lexists(credential):
        file = credential
    if file is None:
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"password file {file}",
            f"it can't be read: {why}",
            "create it readable for the user that runs redirectd and nobody else (mode 0600)",
        ) from error
    if not lines or not lines[0]:
        raise ConfigError(f"password file {file}", "its first line is empty", "write the password into the first line")
    return lines[0]


def notify_url(section: NotifySection, file: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """The URL, in clear: not for people. `file` is the resolved `url_file`. Raises ConfigError where there is none."""
    variable = f"REDIRECTD_NOTIFY_{in_capitals(section.name)}_URL"
    url = read_secret(f"notify-{section.name}-url", variable, file, environ)
    if url is None:
        raise ConfigError(
            f"notify {section.name}",
            "it has no URL",
            f"set {variable}, the systemd credential notify-{section.name}-url, or url_file",
        )
    return url.strip()


def oidc_secret(config: Config, environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret of the console as a client of its OIDC provider; None for a public one. Raises ConfigError."""
    section = config.console.oidc if config.console is not None else None
    file = section.client_secret_file if section is not None else None
    found = read_secret(
        "console-oidc-secret", "REDIRECTD_CONSOLE_OIDC_SECRET", config.resolve(file) if file else None, environ
    )
    return None if found is None else found.strip()


def database_url(config: Config, environ: Mapping[str, str] = os.environ) -> str:
    """The URL to open, with its password in clear: not for people. A relative SQLite path starts at the file's folder.

    Raises ConfigError for a text that is not a URL or a password file that can't be read.
    """
    text = environ.get("REDIRECTD_DATABASE_URL") or config.database.url
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is not a number
        raise ConfigError(
            "database.url",
            f"{mask_url(text)} is not a database URL",
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


DEFAULT = Path("/etc/redirectd/record.key")
"""The installation's own key, as `redirectd init` makes it."""

_KEY = re.compile(rb"[0-9a-f]{64}")


def key_files(source: SourceSection | None, config: Config) -> list[Path]:
    """The files that hold a source's keys; the installation's own where the configuration names none."""
    if source is None or source.record_keys is None:
        return [DEFAULT]
    return [config.resolve(file) for file in source.record_keys]


def read_key(file: Path) -> bytes | None:
    """The key in a file; None where it can't be read or does not hold 64 hex digits."""
    try:
        with file.open("rb") as opened:
            text = opened.read(128).strip()
    except OSError:
        return None
    return text if _KEY.fullmatch(text) else None


def keys_of(source: SourceSection | None, config: Config) -> tuple[bytes, ...]:
    """All keys of a source that can be read; without any, its records are unkeyed."""
    found = (read_key(file) for file in key_files(source, config))
    return tuple(dict.fromkeys(key for key in found if key is not None))
