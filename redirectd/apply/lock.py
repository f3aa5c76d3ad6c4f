"""One apply at a time on a host: command line and daemon share a lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redirectd import ownership
from redirectd.errors import InstallError, RefusedError
from redirectd.sip.text import printable

_POLL = 0.2


@contextmanager
def apply_lock(
    path: Path, holder: str, *, wait: float, sleep: Callable[[float], None], monotonic: Callable[[], float]
) -> Iterator[None]:
    """Hold the lock; the kernel frees it when the process ends, however it ends.

    `holder` is shown to whoever waits longer than `wait` seconds for it.

    Raises:
        RefusedError: somebody else held it all that time; says who.
        InstallError: the file can't be opened.
    """
    fd = _open(path)
    try:
        end = monotonic() + wait
        while not _take(fd):
            if monotonic() >= end:
                raise RefusedError(
                    str(path),
                    f"another apply is at work: {_holder(fd)}",
                    "wait for it to end, then run the command again",
                )
            sleep(_POLL)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "holder": holder}).encode(), 0)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    # Beside a shared database it is in the service's /run folder, which goes when the service stops.
    with suppress(OSError):
        path.parent.mkdir(mode=0o755)
    ownership.make(path, 0o600)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InstallError(
            str(path),
            f"the lock file can't be opened: {error.strerror}",
            f"give this user the right to write in {path.parent}, or run this as root or as the user redirectd "
            "while its service runs",
        ) from error


def _take(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> str:
    try:
        told = json.loads(os.pread(fd, 4096, 0))
        return f"{printable(str(told['holder']), 200)}, process {int(told['pid'])}"
    except (ValueError, KeyError, TypeError):
        return "unknown"
