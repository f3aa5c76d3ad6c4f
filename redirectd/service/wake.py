"""Sleeping until a log has grown or was rotated: inotify on its folder, and looking now and then without it."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from pathlib import Path

from inotify_simple import INotify, flags

LOOK_SECONDS = 1.0
"""How often a log is looked at where inotify can't tell: a network file system, a folder not there, no watch left."""

_GATHER_SECONDS = 0.02
_CHANGES = (
    flags.MODIFY | flags.CREATE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.ATTRIB
    | flags.MOVE_SELF | flags.DELETE_SELF | flags.ONLYDIR
)  # fmt: skip
_FOLDER_GONE = flags.MOVE_SELF | flags.DELETE_SELF | flags.IGNORED | flags.UNMOUNT
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"})


class LogWaker:
    """Wakes one thread when something happens to `path` or a rotated sibling of it.

    The folder is watched, not the file: a rename is then seen whatever stands in its place, and other files' changes
    are slept through.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._interrupt = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._inotify: INotify | None = None
        with suppress(OSError):  # no instance left (fs.inotify.max_user_instances): look now and then
            self._inotify = INotify(nonblocking=True)
        self._names: dict[int, str] = {}
        self._watch()

    def wait(self, seconds: float) -> None:
        """Returns when the log may have changed, at an `interrupt`, or after `seconds`."""
        deadline = time.monotonic() + seconds
        if not self._names:
            self._watch()
        if not self._names:
            seconds = min(seconds, LOOK_SECONDS)
            deadline = time.monotonic() + seconds
        waiting = select.poll()
        waiting.register(self._interrupt, select.POLLIN)
        if self._inotify is not None:
            waiting.register(self._inotify.fileno(), select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = waiting.poll(left * 1000)
            if not ready or any(descriptor == self._interrupt for descriptor, _ in ready):
                return
            if self._concerns_us():
                # A busy logger writes thousands of times a second: read once for all of them.
                time.sleep(_GATHER_SECONDS)
                return

    def interrupt(self) -> None:
        """Ends `wait`, this one or the next. For other threads."""
        os.eventfd_write(self._interrupt, 1)

    def close(self) -> None:
        """Ends the watching. Nobody may call `interrupt` any longer."""
        if self._inotify is not None:
            self._inotify.close()
        os.close(self._interrupt)

    def _watch(self) -> None:
        """Watches the folder, and for a symbolic link also the one it leads to."""
        if self._inotify is None:
            return
        places = {self._path, Path(os.path.realpath(self._path))}
        for place in places:
            if _is_remote(place.parent):
                self._names.clear()
                return
            with suppress(OSError):
                self._names[self._inotify.add_watch(place.parent, _CHANGES)] = place.name

    def _concerns_us(self) -> bool:
        assert self._inotify is not None, "only its events come here"
        concerns = False
        for event in self._inotify.read(timeout=0):
            if event.mask & _FOLDER_GONE or event.mask & flags.Q_OVERFLOW:
                self._names.pop(event.wd, None)
                concerns = True
            concerns = concerns or event.name.startswith(self._names.get(event.wd, "\0"))
        return concerns


def _is_remote(folder: Path) -> bool:
    """Whether other hosts may write there: inotify tells only of what this host does."""
    best, kind = "", ""
    with suppress(OSError):
        real = os.path.realpath(folder) + "/"
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, mounted_on, found, *_ = line.split(" ")
            if real.startswith(mounted_on.rstrip("/") + "/") and len(mounted_on) >= len(best):
                best, kind = mounted_on, found
    return kind in _REMOTE
