"""The files a followed log may go on in: where reading stopped, and one of them opened."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redirectd.errors import SourceError
from redirectd.sources.file import PlainLog, StreamLog, in_order, kind_of, packing_at, siblings

if TYPE_CHECKING:
    from collections.abc import Callable

    from redirectd.sources.log import Log


HEAD = 1024
TAIL = 256


def digest(data: bytes) -> str:
    """128 bits over the length and the bytes, as hex."""
    return blake2b(b"%d:" % len(data) + data, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class FileMark:
    """A place in one file, identified by its content, not by the file's name.

    The inode alone proves nothing (it is reused, and kept by a truncation), nor does the size (a truncated log
    may have grown past it). So the first up to 1,024 bytes are hashed, and the up to 256 just before `offset`.
    For a compressed file all of it is of the text.
    """

    device: int
    inode: int
    offset: int
    head_size: int
    head_hash: str
    tail_size: int
    tail_hash: str


NOWHERE = FileMark(device=0, inode=0, offset=0, head_size=0, head_hash="", tail_size=0, tail_hash="")
"""In no file: there was none yet."""


@dataclass(frozen=True, slots=True)
class Position:
    """The `Mark` up to which all is committed, and the marks of the files before it, the newest first.

    `before` separates files that were read from those that were not, after any number of rotations.
    """

    mark: FileMark
    before: tuple[FileMark, ...] = ()

    @property
    def offset(self) -> int:
        """How far the file was read, in bytes."""
        return self.mark.offset

    def to_dict(self) -> dict[str, Any]:
        """As kept in the database: plain JSON values."""
        return {**asdict(self.mark), "before": [asdict(mark) for mark in self.before]}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Position:
        """What `to_dict` gave; raises `SourceError` for anything else."""
        marks = [{key: value for key, value in stored.items() if key != "before"}, *stored.get("before", ())]
        try:
            first, *before = (_mark(**mark) for mark in marks)
        except TypeError as error:
            raise SourceError("stored position", f"is not one: {error}", "remove it to read from the start") from error
        return cls(first, tuple(before))


def _mark(**values: Any) -> FileMark:  # noqa: ANN401 - JSON of unknown origin
    for name, value in values.items():
        text = name.endswith("_hash")
        fits = isinstance(value, str) if text else isinstance(value, int) and value >= 0
        if not fits:
            raise TypeError(f"{name} = {value!r}")
    return FileMark(**values)


_PROVES = 256  # bytes of an equal head that prove the same file; logs begin with a time


@dataclass(frozen=True, slots=True)
class Place:
    """A file as it was found when it was looked for."""

    path: Path
    device: int
    inode: int
    size: int


def live_place(path: Path) -> Place | None:
    """The live log, or None where there is none now; raises `OSError` where it can't be looked at."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Place(path, status.st_dev, status.st_ino, status.st_size)


def rotated_places(path: Path) -> list[Place]:
    """The rotated files of `path`, oldest first, without the live one.

    Where `path` is a symbolic link, those beside its target too.
    """
    live = live_place(path)
    live_id = (live.device, live.inode) if live else None
    target = Path(os.path.realpath(path))
    found = {
        (sibling.device, sibling.inode): sibling
        for base in dict.fromkeys((path, target))
        if base.parent.is_dir()
        for sibling in siblings(base)
    }
    return [
        Place(sibling.path, sibling.device, sibling.inode, sibling.size)
        for sibling in in_order(sibling for key, sibling in found.items() if key != live_id)
    ]


def neighbours(path: Path, device: int, inode: int) -> list[Place]:
    """Files of that inode beside `path` or its target, whatever they are called: a swapped link leaves them."""
    found = []
    for folder in dict.fromkeys((path.parent, Path(os.path.realpath(path)).parent)):
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            names = [Path(entry.path) for entry in entries if entry.inode() == inode]
        places = (live_place(name) for name in names)
        found += [place for place in places if place and (place.device, place.inode) == (device, inode)]
    return found


class OpenFile:
    """A file held open: renamed, deleted or compressed, its bytes stay readable."""

    def __init__(self, place: Place, older: Callable[[OpenFile], Log | None]) -> None:
        """Raises `OSError` where `place` can't be opened, `FileNotFoundError` also where it is another file now."""
        if what := kind_of(place.path.stat().st_mode):  # to open a device does something by itself
            raise OSError(errno.EINVAL, f"is {what}, not a regular file", str(place.path))
        fd = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != (place.device, place.inode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "was replaced while it was opened", str(place.path))
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "is not a regular file", str(place.path))
        self.place = place
        self.packed = packing_at(fd) is not None
        kind = StreamLog if self.packed else PlainLog
        self.log: PlainLog | StreamLog = kind(fd, str(place.path), lambda: older(self))
        self._head = self.log.read(0, HEAD) if self.packed else b""

    def is_at(self, place: Place) -> bool:
        """Whether `place` is this file."""
        return (place.device, place.inode) == (self.place.device, self.place.inode)

    def has_more(self, offset: int) -> bool:
        """Whether there is anything at `offset`."""
        return bool(self.log.read(offset, 1)) if self.packed else self.log.end() > offset

    def head(self, size: int = HEAD) -> bytes:
        """The first bytes, also of a compressed file whose window has moved on."""
        return self._head[:size] if self.packed else self.log.read(0, size)

    def mark(self, offset: int) -> FileMark:
        """What is at `offset`, to find it again."""
        size = min(offset, TAIL)
        head, tail = self.head(), self.log.read(offset - size, size)
        return FileMark(self.place.device, self.place.inode, offset, len(head), digest(head), len(tail), digest(tail))

    def is_empty(self) -> bool:
        """Whether it has no text; a compressed one that is damaged at once is not empty, but lost."""
        return not self.head(1) and not self.log.losses

    def begins_as(self, mark: FileMark) -> bool:
        """Whether the head is the marked one; an empty head proves nothing."""
        return mark.head_size > 0 and digest(self.head(mark.head_size)) == mark.head_hash

    def holds(self, mark: FileMark) -> bool:
        """Whether reading can go on at the mark: head and the bytes before its offset are unchanged.

        A compressed file is unpacked up to there for it, and only if its head fits.
        """
        if mark.offset == 0 or not self.begins_as(mark):
            return False
        return digest(self.log.read(mark.offset - mark.tail_size, mark.tail_size)) == mark.tail_hash

    def was_read(self, mark: FileMark) -> bool:
        """Whether this is the file of a mark made when it had been read to its end, or a shorter copy of it.

        A head of a few bytes proves it only with the inode or the very same size.
        """
        same_inode = (mark.device, mark.inode) == (self.place.device, self.place.inode)
        if mark.head_size == 0:
            return same_inode and self.packed and not self.head()  # damaged from its first block
        if not self.begins_as(mark):
            return False
        if mark.head_size < _PROVES and not same_inode and self.has_more(mark.offset):
            return False
        return self.packed or self.log.end() < mark.offset or self.holds(mark)

    def close(self) -> None:
        """Let go of it."""
        self.log.close()
