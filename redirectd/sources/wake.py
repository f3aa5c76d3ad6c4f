"""Waiting for a log to change, without burning a processor and without missing the end."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from inotify_simple import INotify, flags

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

POLLING = 0.25
"""Seconds between two looks where the kernel can't tell of changes."""

_IN_FOLDER = flags.CREATE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.ATTRIB | flags.MOVE_SELF
_IN_FILE = flags.MODIFY | flags.ATTRIB | flags.MOVE_SELF | flags.DELETE_SELF
_WATCHED = 2  # files of one path: the live one and the one before, whose writer may still hold it


class Wake:
    """Wakes when one of `paths` is written, rotated, comes or goes, when a joined descriptor is readable, or on `wake`.

    `wake_fd` takes any byte and may be given to `signal.set_wakeup_fd`, so that SIGTERM ends a wait at once.
    Where inotify can't be had (no watches left, a folder that does not exist) waits become short instead.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._paths = tuple(paths)
        self._files: dict[Path, list[int]] = {path: [] for path in self._paths}
        self._wake_read, self.wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        self._inotify: INotify | None = None
        if self._paths:
            with suppress(OSError):
                self._inotify = INotify()
                self._poll.register(self._inotify.fileno(), select.POLLIN)

    def join(self, fd: int) -> None:
        """Wake also when `fd` can be read."""
        self._poll.register(fd, select.POLLIN)

    def leave(self, fd: int) -> None:
        """Undo `join`."""
        with suppress(KeyError):
            self._poll.unregister(fd)

    def wake(self) -> None:
        """End the wait that runs, or the next one; from any thread."""
        with suppress(BlockingIOError):
            os.write(self.wake_fd, b"w")

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; False where nothing happened in that time.

        Returns at once after it began to watch a file: nobody reported what came before that.
        """
        fresh, blind = self._watch()
        if fresh:
            return True
        until = min(timeout, POLLING) if blind else timeout
        happened = bool(self._poll.poll(max(0, until) * 1000))
        self._drain()
        return happened

    def close(self) -> None:
        """Give the descriptors back."""
        if self._inotify is not None:
            self._inotify.close()
        os.close(self._wake_read)
        os.close(self.wake_fd)

    def _watch(self) -> tuple[bool, bool]:
        """Watch what can be watched: whether a new file came under watch, and whether something can't be."""
        if self._inotify is None:
            return False, bool(self._paths)
        fresh = blind = False
        for path, watches in self._files.items():
            try:
                self._inotify.add_watch(path.parent, _IN_FOLDER | flags.ONLYDIR)
            except OSError:
                blind = True
            try:
                watch = self._inotify.add_watch(path, _IN_FILE)
            except FileNotFoundError:
                continue  # its folder reports when it appears
            except OSError:
                blind = True
                continue
            if watch not in watches:
                fresh = True
                watches.append(watch)
                self._forget(watches)
        return fresh, blind

    def _forget(self, watches: list[int]) -> None:
        assert self._inotify is not None
        while len(watches) > _WATCHED:
            with suppress(OSError):  # gone with its file
                self._inotify.rm_watch(watches.pop(0))

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wake_read, 512):
                pass
        if self._inotify is None:
            return
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.IGNORED:
                for watches in self._files.values():
                    if event.wd in watches:
                        watches.remove(event.wd)
