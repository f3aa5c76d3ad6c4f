"""The steps on real files that an apply is made of; each method is one step that can fail or be killed."""

from __future__ import annotations

import os
import stat
from errno import EPERM
from pathlib import Path

MAX_FILE = 1 << 30
"""Bytes of the largest file read; a routing file of a million entries has about 100 MB."""


class Files:
    """The file system. Methods raise OSError as the system gives it."""

    def resolve(self, path: str) -> str:
        """Give the real file behind symbolic links, so that a link stays a link."""
        return os.path.realpath(path)

    def look(self, path: str) -> os.stat_result | None:
        """Give what is known of a file, None where there is none; a last symbolic link is not followed."""
        try:
            return os.lstat(path)
        except FileNotFoundError:
            return None

    def read(self, path: str) -> bytes | None:
        """Read a whole regular file; None where there is none. Raises OSError for anything else."""
        try:
            # Not to hang on a FIFO in the file's place.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(EPERM, "not a regular file", path)
            if status.st_size > MAX_FILE:
                raise OSError(EPERM, f"larger than {MAX_FILE} bytes", path)
            return file.read()

    def create(self, path: str) -> int:
        """Make a new file that nobody else can read yet; fails if anything has that name."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, fd: int, content: bytes) -> None:
        """Write everything."""
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]

    def own(self, fd: int, uid: int, gid: int) -> None:
        """Set owner and group (-1: leave); nothing is asked of the system where they are right already."""
        status = os.fstat(fd)
        if uid not in {-1, status.st_uid} or gid not in {-1, status.st_gid}:
            os.fchown(fd, uid, gid)

    def permit(self, fd: int, mode: int) -> None:
        """Set the permission bits."""
        os.fchmod(fd, mode)

    def copy_attributes(self, source: str, fd: int) -> None:
        """Copy extended attributes: access lists, and the SELinux label where the system lets us."""
        try:
            names = os.listxattr(source)
        except OSError:
            return  # the file system has none
        for name in names:
            try:
                os.setxattr(fd, name, os.getxattr(source, name))
            except OSError:
                # Labels are often given by policy alone; an access list or anything of a user's must not get lost.
                if not name.startswith(("security.", "trusted.")):
                    raise

    def date(self, path: str, seconds: int) -> None:
        """Set a file's mtime to a whole second."""
        os.utime(path, (seconds, seconds), follow_symlinks=False)

    def sync(self, fd: int) -> None:
        """Bring a file's bytes to the disk."""
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def link(self, source: str, name: str) -> None:
        """Give a file a second name, so that it outlives the replacement of the first."""
        os.link(source, name, follow_symlinks=False)

    def rename(self, source: str, name: str) -> None:
        """Put a file in the place of another: whoever opens `name` gets the whole old or the whole new one."""
        Path(source).replace(name)

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        Path(path).unlink(missing_ok=True)

    def sync_directory(self, path: str) -> None:
        """Bring a directory's names to the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
