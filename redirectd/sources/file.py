"""Logs read once: plain files, compressed ones, standard input."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Self

from redirectd.errors import SourceError
from redirectd.sources.compressed import LONGEST_MAGIC, Packing, Unpack, packing_of, refusal
from redirectd.sources.rotation import older_sibling
from redirectd.sources.spool import SpoolLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from redirectd.sources.log import Log

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
