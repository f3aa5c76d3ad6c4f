"""Which rotated files lie beside a log, in the order they were written."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from heapq import merge
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUFFIX = re.compile(
    r"(?:\.(?P<number>[0-9]{1,5})|[-.](?P<date>[0-9]{8}[0-9T_.-]{0,24}))"
    r"(?P<packed>\.(?:gz|xz|bz2|zst|lz4|lzma|lz|lzo|Z|zip|7z))?"
)

_LISTINGS = 20


@dataclass(frozen=True, slots=True)
class Sibling:
    """One rotated file: `number` of `path.N`, or `date` as written in `path-YYYYMMDD` and its like."""

    path: Path
    number: int | None
    date: str
    mtime_ns: int
    device: int
    inode: int
    size: int


def siblings(path: Path) -> list[Sibling]:
    """The rotated files of `path`, oldest first; raises `OSError` where its directory can't be listed.

    logrotate counts upwards into the past (`.1` is the newest), Asterisk's own `logger rotate` upwards into the
    present with `rotatestrategy=sequential`, or appends the epoch with `timestamp`; all are recognised.

    A directory is listed name by name, and a rotation meanwhile would hide files: two listings must agree.
    """
    found = _listed(path)
    for _ in range(_LISTINGS):
        before, found = found, _listed(path)
        if found.keys() == before.keys():
            break
    return in_order(found.values())


def _listed(path: Path) -> dict[tuple[str, int], Sibling]:
    found: dict[tuple[str, int], Sibling] = {}
    name = path.name
    with os.scandir(path.parent) as entries:
        for entry in entries:
            match = _SUFFIX.fullmatch(entry.name, len(name)) if entry.name.startswith(name) else None
            if match is None or (match["packed"] and (path.parent / entry.name[: match.start("packed")]).exists()):
                continue  # beside `path.1`, `path.1.gz` is being written
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            found[entry.name, status.st_ino] = Sibling(
                Path(entry.path),
                int(match["number"]) if match["number"] else None,
                match["date"] or "",
                status.st_mtime_ns,
                status.st_dev,
                status.st_ino,
                status.st_size,
            )
    return found


def in_order(files: Iterable[Sibling]) -> list[Sibling]:
    """`files` oldest first."""
    files = list(files)
    dated = sorted((file for file in files if file.date), key=lambda file: (file.date, file.path.name))
    numbered = sorted((file for file in files if file.number is not None), key=lambda file: file.number or 0)
    if not _counts_into_the_present(numbered):
        numbered.reverse()
    return list(merge(dated, numbered, key=lambda file: file.mtime_ns))


def _counts_into_the_present(numbered: list[Sibling]) -> bool:
    """Whether a higher number is newer, by the majority of neighbours; a single pair proves it only with a `.0`."""
    votes = [(a.mtime_ns < b.mtime_ns) - (a.mtime_ns > b.mtime_ns) for a, b in pairwise(numbered)]
    return sum(votes) > 0 and (len(votes) > 1 or numbered[0].number == 0)


def base_of(path: Path) -> Path:
    """The log that a rotated file is of, by its name; the path itself where it is none."""
    match = re.fullmatch(r"(?P<base>.+?)" + _SUFFIX.pattern, path.name)
    return path.with_name(match["base"]) if match else path


def older_sibling(path: str | Path) -> Path | None:
    """The file that was written before `path`, which may be rotated itself."""
    path = Path(path)
    base = base_of(path)
    try:
        names = [sibling.path for sibling in siblings(base)]
    except OSError:
        return None
    if path not in names:
        return names[-1] if names and base == path else None
    at = names.index(path)
    return names[at - 1] if at else None
