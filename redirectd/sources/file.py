"""Logs read once (plain, compressed, standard input), and which rotated files are beside a log, in order."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from dataclasses import dataclass
from functools import partial
from heapq import merge
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Self

from redirectd.errors import SourceError
from redirectd.sources.compressed import LONGEST_MAGIC, Packing, Unpack, packing_of, refusal
from redirectd.sources.spool import SpoolLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from redirectd.sources.log import Log


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


_PATIENCE = 1.0  # seconds until a folder without a rotated predecessor is listed again
_RAW = 256 << 10  # bytes of a pipe or a compressed file asked for at once


class _Descriptor:
    """What owns a file descriptor, and the log of the rotated file before it once that was asked for."""

    def __init__(self, fd: int, older: Callable[[], Log | None]) -> None:
        self.fd = fd
        self._older = older
        self._previous: Log | None = None
        self._ask_again = 0.0

    def previous(self) -> Log | None:
        """The rotated file before this one. Where there was none, its folder is not looked through for a second."""
        if self._previous is None and monotonic() >= self._ask_again:
            self._previous = self._older()
            self._ask_again = monotonic() + _PATIENCE
        return self._previous

    def close(self) -> None:
        """Give the descriptors back, also those of the files before this one."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if isinstance(self._previous, _Descriptor):
            self._previous.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PlainLog(_Descriptor):
    """A `Log` over a seekable file, read by position: never mapped, since a truncated mapping kills (SIGBUS).

    `older` opens the rotated file before this one. `losses` is empty: a plain file has none of its own.
    """

    start = 0

    def __init__(self, fd: int, name: str, older: Callable[[], Log | None] = lambda: None) -> None:
        super().__init__(fd, older)
        self.name = name
        self.losses: list[SourceError] = []

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at `offset`."""
        return os.pread(self.fd, size, offset)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Bytes at `offset` into `buffer`."""
        return os.preadv(self.fd, [buffer], offset)

    def end(self) -> int:
        """The size of the file now."""
        return os.fstat(self.fd).st_size


class StreamLog(_Descriptor, SpoolLog):
    """A pipe or a compressed file as a rolling `Log`; compression is detected by the first bytes and unpacked.

    What can't be unpacked is empty, and a loss.
    """

    def __init__(self, fd: int, name: str, older: Callable[[], Log | None] = lambda: None) -> None:
        _Descriptor.__init__(self, fd, older)
        first = _read_some(fd, LONGEST_MAGIC)
        raw = partial(_once_then, [first], fd)
        self.packing = packing_of(first)
        SpoolLog.__init__(self, name, Unpack(name, self.packing, raw, self._lose) if self.packing else raw)

    def _lose(self, loss: SourceError) -> None:
        self.losses.append(loss)


OpenLog = PlainLog | StreamLog


def open_log(path: str | Path) -> OpenLog:
    """Open `path` (`-` is standard input) for one reading; a pipe or a compressed file becomes a rolling window.

    Raises `SourceError` where it can't be opened, isn't a file, or is compressed in a way that can't be unpacked.
    """
    if str(path) == "-":
        log = adopt(os.dup(sys.stdin.fileno()), "standard input")
    else:
        name = os.fspath(path)
        log = adopt(open_fd(name), name, partial(_open_older, name))
    refused = refusal(log.name, log.packing) if isinstance(log, StreamLog) and log.packing else None
    if refused is not None:
        log.close()
        raise refused
    return log


def open_fd(name: str) -> int:
    """A descriptor to read `name` with, at once; raises `SourceError` where `name` can't be opened or isn't a file.

    What is open already under such a name, as `/dev/stdin` or a shell's `<(...)`, may be a pipe.
    """
    try:
        kind = kind_of(Path(name).stat().st_mode)
        if kind and not (kind == "a FIFO" and _OPEN_ALREADY.fullmatch(name)):
            raise SourceError(name, f"is {kind}, not a regular file", instead_of(kind))
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise unreadable(name, error) from error
    os.set_blocking(fd, True)
    kind = kind_of(os.fstat(fd).st_mode)
    if kind and not _OPEN_ALREADY.fullmatch(name):
        os.close(fd)
        raise SourceError(name, f"is {kind}, not a regular file", instead_of(kind))
    return fd


def refuse_unreadable(name: str) -> None:
    """Raises `SourceError` for what `open_log` would refuse; takes nothing of a pipe."""
    fd = open_fd(name)
    try:
        packing = packing_at(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)
    if packing is not None and (refused := refusal(name, packing)) is not None:
        raise refused


_OPEN_ALREADY = re.compile(r"/dev/stdin|(?:/dev|/proc/self)/fd/[0-9]{1,9}")


def instead_of(kind: str) -> str:
    """What to name in its place."""
    instead = {
        "a directory": "name a file in it",
        "a FIFO": "let the writer pipe into 'redirectd ingest -', or log to a file",
    }
    return instead.get(kind, "name a file")


def kind_of(mode: int) -> str:
    """What a path is if it isn't a regular file; '' if it is one."""
    kinds = {
        stat.S_IFREG: "",
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def unreadable(name: str, error: OSError) -> SourceError:
    """`error` as a person needs it."""
    todo = {
        PermissionError: "give the user redirectd runs as read access (group adm or asterisk, or an ACL)",
        FileNotFoundError: "name an existing file",
    }
    other = "name a regular file" if error.errno == errno.EINVAL else "see that it can be read"
    return SourceError(name, error.strerror or str(error), todo.get(type(error), other))


def adopt(fd: int, name: str, older: Callable[[], Log | None] = lambda: None) -> OpenLog:
    """`fd` as a log, which owns it from now on."""
    if stat.S_ISREG(os.fstat(fd).st_mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0 and packing_at(fd) is None:
        return PlainLog(fd, name, older)
    return StreamLog(fd, name, older)


def packing_at(fd: int) -> Packing | None:
    """How the regular file is compressed, by how it begins; its name says nothing. None for a plain one."""
    return packing_of(os.pread(fd, LONGEST_MAGIC, 0))


def _open_older(path: str) -> Log | None:
    older = older_sibling(path)
    try:
        return open_log(older) if older is not None else None
    except SourceError:
        return None  # a request is looked for there, nothing more: without it the answer stays unpaired (R7)


def _read_some(fd: int, size: int) -> bytes:
    """At least `size` bytes if that many exist: pipes give what they have."""
    data = b""
    while len(data) < size and (more := os.read(fd, _RAW)):
        data += more
    return data


def _once_then(first: list[bytes], fd: int) -> bytes:
    return first.pop() if first and first[0] else os.read(fd, _RAW)
