"""Logs read once: plain files, gz, standard input."""

from __future__ import annotations

import os
import stat
import sys
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Self

from redirectd.errors import SourceError
from redirectd.sources.gz import MAGIC, Gunzip
from redirectd.sources.rotation import older_sibling
from redirectd.sources.spool import SpoolLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from redirectd.sources.log import Log

_PATIENCE = 1.0  # seconds until a folder without a rotated predecessor is listed again
_RAW = 256 << 10  # bytes of a pipe or a gz asked for at once


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
    """A pipe or a gz as a rolling `Log`; what is compressed is told by its first bytes and inflated."""

    def __init__(self, fd: int, name: str, older: Callable[[], Log | None] = lambda: None) -> None:
        _Descriptor.__init__(self, fd, older)
        first = _read_some(fd, len(MAGIC))
        raw = partial(_once_then, [first], fd)
        packed = first.startswith(MAGIC)
        SpoolLog.__init__(self, name, Gunzip(name, raw, self._lose) if packed else raw)

    def _lose(self, loss: SourceError) -> None:
        self.losses.append(loss)


OpenLog = PlainLog | StreamLog


def open_log(path: str | Path) -> OpenLog:
    """Open `path` (`-` is standard input) for one reading; a pipe or gz becomes a rolling window.

    Raises `SourceError` where it can't be opened or is a directory.
    """
    if str(path) == "-":
        return adopt(os.dup(sys.stdin.fileno()), "standard input")
    name = os.fspath(path)
    return adopt(open_fd(name), name, partial(_open_older, name))


def open_fd(name: str) -> int:
    """A descriptor to read `name` with; raises `SourceError` where it can't be had."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(name, error) from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise SourceError(name, "is a directory", "name a file in it")
    return fd


def unreadable(name: str, error: OSError) -> SourceError:
    """`error` as a person needs it."""
    mend = {
        PermissionError: "give the user redirectd runs as read access (group adm or asterisk, or an ACL)",
        FileNotFoundError: "name an existing file",
    }
    return SourceError(name, error.strerror or str(error), mend.get(type(error), "see that it can be read"))


def adopt(fd: int, name: str, older: Callable[[], Log | None] = lambda: None) -> OpenLog:
    """`fd` as a log, which owns it from now on."""
    if stat.S_ISREG(os.fstat(fd).st_mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0 and not is_gz(fd):
        return PlainLog(fd, name, older)
    return StreamLog(fd, name, older)


def is_gz(fd: int) -> bool:
    """Whether the regular file begins as gz; its name says nothing."""
    return os.pread(fd, len(MAGIC), 0) == MAGIC


def _open_older(path: str) -> Log | None:
    older = older_sibling(path)
    try:
        return open_log(older) if older is not None else None
    except SourceError:
        return None  # a request is looked for there, nothing more: without it the answer stays unpaired (R7)


def _read_some(fd: int, size: int) -> bytes:
    """At least `size` bytes where there are so many: pipes give what they have."""
    data = b""
    while len(data) < size and (more := os.read(fd, _RAW)):
        data += more
    return data


def _once_then(first: list[bytes], fd: int) -> bytes:
    return first.pop() if first and first[0] else os.read(fd, _RAW)
