"""Whose is what root makes for the service: the folder's, as SQLite has it for the files beside a database.

A person tries commands as root before the service runs for the first time, and the service must not find files that
it may not open.
"""

from __future__ import annotations

import os
from pathlib import Path


def of_folder(folder: Path | str) -> tuple[int, int]:
    """Owner and group of what root makes in `folder`; -1 and -1, which change nothing, for everybody else."""
    if os.geteuid() != 0:
        return -1, -1
    try:
        status = Path(folder).stat()
    except OSError:
        return -1, -1
    return status.st_uid, status.st_gid


def may_be_there(file: Path) -> bool:
    """Whether a file is there, or in a folder that this user may not look into: whoever opens it reports why."""
    try:
        return file.exists()
    except OSError:
        return True


def make(file: Path, mode: int) -> None:
    """Makes an empty file as root for the folder's owner; nothing where it is there, or can't be made."""
    owner = of_folder(file.parent)
    if owner in {(-1, -1), (0, 0)}:
        return
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError:
        return  # whoever opens it next reports why
    try:
        os.fchown(fd, *owner)
    finally:
        os.close(fd)
