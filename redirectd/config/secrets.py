"""Passwords: from the environment, a systemd credential or a file named by a key, and never shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from redirectd.errors import ConfigError


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
