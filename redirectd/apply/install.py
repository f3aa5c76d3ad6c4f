"""Putting a file into place, and the old one back, so that nobody ever reads half of one."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EACCES, EBUSY, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path

from redirectd import ownership
from redirectd.apply.files import Files
from redirectd.errors import ChangedMeanwhileError, InstallError
from redirectd.plan.target_spec import TargetSpec

_NEW = ".redirectd-new"
_OLD = ".redirectd-old"


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a target's file is, links followed, with the names of its two companions in the same directory."""

    path: str

    @property
    def directory(self) -> str:
        """The directory of the file."""
        return str(Path(self.path).parent)

    @property
    def staged(self) -> str:
        """The new file until it is renamed. Hidden, so that no include by pattern takes it."""
        return self._companion(_NEW)

    @property
    def backup(self) -> str:
        """The old file until the new one has proven itself."""
        return self._companion(_OLD)

    def _companion(self, suffix: str) -> str:
        path = Path(self.path)
        return str(path.with_name(f".{path.name}{suffix}"))


class Installer:
    """Stages, swaps and restores files by the steps of `files`. Every method raises InstallError."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def place(self, path: str) -> FilePlace:
        """Find the real file of a target and see that only trusted users can put another in its place."""
        with _told(path):
            place = FilePlace(self._files.resolve(path))
            directory = self._files.look(place.directory)
            status = self._files.look(place.path)
        if directory is None or not stat.S_ISDIR(directory.st_mode):
            raise InstallError(path, "its directory does not exist", f"make {place.directory} or fix the path")
        if directory.st_mode & stat.S_IWOTH and not directory.st_mode & stat.S_ISVTX:
            raise InstallError(
                path,
                f"everyone may replace files in {place.directory}, so what is installed there can't be trusted",
                f"chmod o-w {place.directory}",
            )
        if status is not None and not stat.S_ISREG(status.st_mode):
            raise InstallError(path, "it is not a regular file", "move it away or fix the path")
        return place

    def read_anew(self) -> None:
        """From now on take nothing as known that can be read; files are always read."""

    def read(self, path: str) -> bytes | None:
        """Read a target's file or base file; None where there is none."""
        with _told(path):
            return self._files.read(path)

    def stage(self, place: FilePlace, content: bytes, spec: TargetSpec) -> None:
        """Write the new file beside the old one, with its owner, mode and attributes, down to the disk."""
        with _told(place.path):
            old = self._files.look(place.path)
            self._files.remove(place.staged)
            self._write(place.staged, place, content, spec, old)

    def back_up(self, place: FilePlace, expected: bytes | None) -> str | None:
        """Give the old file a second name and return it; None if there isn't an old file.

        `expected` is what the plan saw: a file that was changed since is not overwritten.
        """
        with _told(place.path):
            self._files.remove(place.backup)
            if expected is not None:
                self._second_name(place)
            found = self._files.read(place.path if expected is None else place.backup)
            self._files.sync_directory(place.directory)
        _see_same(place, found, expected)
        return None if expected is None else place.backup

    def back_up_blank(self, place: FilePlace, content: bytes, spec: TargetSpec) -> str:
        """Write `content` as the old file of a target that has none, so that going back never takes a table away."""
        with _told(place.path):
            self._files.remove(place.backup)
            self._write(place.backup, place, content, spec, None)
            self._files.sync_directory(place.directory)
            found = self._files.read(place.path)
        _see_same(place, found, None)
        return place.backup

    def see_unchanged(self, place: FilePlace, expected: bytes | None) -> None:
        """See that the file is still what the plan saw."""
        _see_same(place, self.read(place.path), expected)

    def swap(self, place: FilePlace, now: int, *, step: bool) -> None:
        """Put the staged file into service; with `step`, dated a whole second after the old one."""
        with _told(place.path):
            if step:
                self._date(place.staged, place.path, now)
            self._files.rename(place.staged, place.path)
            self._files.sync_directory(place.directory)

    def refresh(self, place: FilePlace, now: int) -> None:
        """Date the file a whole second later, so that a server that goes by the date reads it again."""
        with _told(place.path):
            self._date(place.path, place.path, now)

    def restore(self, place: FilePlace, backup: str | None, now: int, *, step: bool) -> None:
        """Put the old file back; without a backup there was none, and the new one goes."""
        with _told(place.path):
            if backup is None:
                self._files.remove(place.path)
            else:
                if step:
                    self._date(backup, place.path, now)
                self._files.rename(backup, place.path)
            self._files.sync_directory(place.directory)

    def tidy(self, place: FilePlace, *, keep_backup: bool = False) -> None:
        """Remove what an apply left beside the file."""
        # Looked for first: removing even a missing name fails on a read-only file system.
        with _told(place.path):
            for companion in (place.staged,) if keep_backup else (place.staged, place.backup):
                if self._files.look(companion) is not None:
                    self._files.remove(companion)

    def _keep(self, path: str, content: bytes) -> None:
        """Write a file that only redirectd reads, down to the disk."""
        folder = str(Path(path).parent)
        with _told(path):
            self._files.remove(path)
            fd = self._files.create(path)
            try:
                self._files.write(fd, content)
                self._files.own(fd, *ownership.of_folder(folder))
                self._files.sync(fd)
            finally:
                self._files.close(fd)
            self._files.sync_directory(folder)

    def _discard(self, path: str) -> None:
        with _told(path):
            if self._files.look(path) is not None:
                self._files.remove(path)

    def _write(self, path: str, place: FilePlace, content: bytes, spec: TargetSpec, old: os.stat_result | None) -> None:
        """Write a new file with owner, mode and attributes of the `old` one, or those a new one is to have."""
        fd = self._files.create(path)
        try:
            self._files.write(fd, content)
            uid, gid = _owner(spec, place) if old is None else (old.st_uid, old.st_gid)
            self._files.own(fd, uid, gid)
            self._files.permit(fd, spec.mode if old is None else stat.S_IMODE(old.st_mode))
            if old is not None:
                self._files.copy_attributes(place.path, fd)
            self._files.sync(fd)
        finally:
            self._files.close(fd)

    def _second_name(self, place: FilePlace) -> None:
        try:
            self._files.link(place.path, place.backup)
        except OSError:
            # File systems without hard links, or protected_hardlinks and another owner.
            self._copy(place)

    def _copy(self, place: FilePlace) -> None:
        content = self._files.read(place.path)
        status = self._files.look(place.path)
        if content is None or status is None:
            raise FileNotFoundError(place.path)
        fd = self._files.create(place.backup)
        try:
            self._files.write(fd, content)
            self._files.own(fd, status.st_uid, status.st_gid)
            self._files.permit(fd, stat.S_IMODE(status.st_mode))
            self._files.copy_attributes(place.path, fd)
            self._files.sync(fd)
        finally:
            self._files.close(fd)

    def _date(self, path: str, before: str, now: int) -> None:
        status = self._files.look(before)
        self._files.date(path, now if status is None else max(now, int(status.st_mtime) + 1))


def _see_same(place: FilePlace, found: bytes | None, expected: bytes | None) -> None:
    if found != expected:
        raise ChangedMeanwhileError(place.path)


def _owner(spec: TargetSpec, place: FilePlace) -> tuple[int, int]:
    """Give the numbers of a new file's configured owner and group, else the folder's for root, else -1."""
    uid, gid = ownership.of_folder(place.directory)
    try:
        uid = uid if spec.owner is None else pwd.getpwnam(spec.owner).pw_uid
        gid = gid if spec.group is None else grp.getgrnam(spec.group).gr_gid
    except KeyError as error:
        raise InstallError(spec.path, f"{error.args[0]}", "fix owner or group of the target") from error
    return uid, gid


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn the system's error into one that says where, why and what to do."""
    try:
        yield
    except OSError as error:
        at = f" ({os.fspath(error.filename)})" if isinstance(error.filename, str) else ""
        raise InstallError(path, f"{error.strerror}{at}", _remedy(error.errno)) from error


def _remedy(number: int | None) -> str:
    if number in {ENOSPC, EDQUOT}:
        return "free space on that disk; the old file is still in place, and the next apply goes on"
    if number == EROFS:
        return "mount it writable, or give the path as ReadWritePaths= to the service"
    if number == EBUSY:
        return "it is mounted by itself, as containers do: mount its directory, so that the file can be exchanged whole"
    if number in {EPERM, EACCES}:
        return (
            "run redirectd as the file's owner, or give its user the right to write to the directory and own the file"
        )
    return "fix that and apply again; the old file is still in place"
