"""A log's writer and everything that rotates, copies, cuts or removes its files, on a real file system."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
from typing import TYPE_CHECKING

import zstandard

from redirectd.sources.file import siblings
from redirectd.sources.follow import FollowedFile
from redirectd.sources.log import Gap, LogSegment
from redirectd.sources.place import Position

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STYLES = [
    "rename",
    "rename-gz",
    "rename-xz",
    "rename-nocreate",
    "dateext",
    "dateext-gz",
    "dateext-zst",
    "copytruncate",
    "copytruncate-gz",
    "copytruncate-bz2",
]
PACKED: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    ".gz": (gzip.compress, gzip.decompress),
    ".xz": (lzma.compress, lzma.decompress),
    ".bz2": (bz2.compress, bz2.decompress),
    ".zst": (zstandard.compress, zstandard.decompress),
}
"""By suffix, how logrotate's compresscmd packs, and back."""


class Writer:
    """Writes numbered lines to `path`; its own clock gives every file a time of change that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self.partial = b""
        self._clock = 1_000_000_000
        self._days = 0

    def line(self, number: int) -> bytes:
        """No two lines within 200 begin alike, as no two seconds of a real log do."""
        return bytes([40 + number % 200]) + b" line %d\n" % number

    def write(self, count: int = 1) -> None:
        """Finish the half line, then write `count` whole ones."""
        data = self.partial
        if data:
            data = self.line(self.written)[len(self.partial) :]
            self.written += 1
            self.partial = b""
        for _ in range(count):
            data += self.line(self.written)
            self.written += 1
        self._append(data)

    def write_half(self, size: int = 4) -> None:
        """Write the beginning of a line."""
        if not self.partial:
            self.partial = self.line(self.written)[:size]
            self._append(self.partial)

    def cut(self) -> None:
        """Forget the half line: its rest will not be written."""
        if self.partial:
            self.partial = b""
            self.written += 1

    def _append(self, data: bytes) -> None:
        with self.path.open("ab") as sink:
            sink.write(data)
        self._touch(self.path)

    def _touch(self, path: Path) -> None:
        self._clock += 1
        os.utime(path, (self._clock, self._clock))

    def shift(self) -> Path:
        """Make room for `.1` by renaming the numbered files, and give its path."""
        numbered = [(s.number, s.path) for s in siblings(self.path) if s.number is not None]
        for number, path in sorted(numbered, reverse=True):
            suffix = path.suffix if path.suffix in PACKED else ""
            path.rename(self.path.with_name(f"{self.path.name}.{number + 1}{suffix}"))
        return self.path.with_name(f"{self.path.name}.1")

    def dated(self) -> Path:
        """The next day's name."""
        self._days += 1
        return self.path.with_name(f"{self.path.name}-{20261100 + self._days}")

    def rename(self, *, to: Path | None = None, create: bool = True, packed: str = "") -> Path:
        """Rotate by renaming (logrotate's default)."""
        self.cut()
        target = to or self.shift()
        self.path.rename(target)
        if create:
            self.path.touch()
            self._touch(self.path)
        return self.pack(target, packed) if packed else target

    def copytruncate(self, *, to: Path | None = None, packed: str = "") -> Path:
        """Rotate by copying and emptying."""
        self.cut()
        target = to or self.shift()
        shutil.copyfile(self.path, target)
        self._touch(target)
        self.truncate()
        return self.pack(target, packed) if packed else target

    def truncate(self) -> None:
        """Empty the log in place."""
        self.cut()
        os.truncate(self.path, 0)
        self._touch(self.path)

    def delete(self, *, create: bool) -> None:
        """Remove the log, and let an empty one follow."""
        self.cut()
        self.path.unlink()
        if create:
            self.path.touch()
            self._touch(self.path)

    def pack(self, path: Path, suffix: str = ".gz") -> Path:
        """Compress a rotated file as gzip(1) and its like do: new inode, old time."""
        packed = path.with_name(path.name + suffix)
        packed.write_bytes(PACKED[suffix][0](path.read_bytes()))
        status = path.stat()
        os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
        path.unlink()
        return packed

    def on_disk(self) -> set[int]:
        """Numbers of the whole lines that stand in any file now."""
        texts = [self.path.read_bytes()] if self.path.exists() else []
        for sibling in siblings(self.path):
            data = sibling.path.read_bytes()
            texts.append(PACKED[sibling.path.suffix][1](data) if sibling.path.suffix in PACKED else data)
        return {number for text in texts for number in numbers(text)[0]}


def numbers(text: bytes) -> tuple[list[int], int]:
    """The numbers of the whole lines in `text`, and where the last of them ends."""
    end = text.rfind(b"\n") + 1
    lines = text[:end].splitlines()
    return [int(line.rpartition(b" ")[2]) for line in lines if line.count(b" line ") == 1], end


def rotate(writer: Writer, style: str) -> Path:
    """One rotation in one of `STYLES`; gives the file that the old lines are in."""
    to = writer.dated() if style.startswith("dateext") else None
    suffix = f".{style.rpartition('-')[2]}"
    packed = suffix if suffix in PACKED else ""
    if style.startswith("copytruncate"):
        return writer.copytruncate(packed=packed)
    return writer.rename(to=to, create=not style.endswith("nocreate"), packed=packed)


class Reader:
    """Reads as the service does: what was found, the losses and the position are committed together."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self.path = path
        self.delivered: list[int] = []
        self.gaps: list[Gap] = []
        self.commits: list[tuple[int, int, dict[str, object] | None]] = [(0, 0, None)]
        self.follower = FollowedFile(path, from_end=from_end)

    def turn(self, meanwhile: Callable[[], None] = lambda: None) -> LogSegment | None:
        """One poll; None where it brought nothing new. `meanwhile` happens while the segment is read."""
        segment = self.follower.poll()
        if segment is None:
            return None
        meanwhile()
        text = segment.log.read(segment.start, 1 << 20)
        found, whole = numbers(text)
        consumed = segment.start + (len(text) if segment.final else whole)
        position = self.follower.position(segment, consumed)
        if position is None:
            return segment
        if consumed == segment.start and not segment.gaps and position.offset:
            return None
        self.delivered += found
        self.gaps += segment.gaps
        self.commits.append((len(self.delivered), len(self.gaps), position.to_dict()))
        self.follower.advance(position)
        return segment if consumed > segment.start or segment.gaps else None

    def drain(self) -> list[int]:
        """Turns until nothing new comes; what they delivered."""
        before = len(self.delivered)
        for _ in range(200):
            if self.turn() is None:
                return self.delivered[before:]
        raise AssertionError("polls without end")

    def restart(self, back: int = 0) -> None:
        """A new process, from the last commit or one `back` before it (what is newer was never committed)."""
        self.follower.close()
        if back:
            del self.commits[max(1, len(self.commits) - back) :]
        lines, gaps, stored = self.commits[-1]
        del self.delivered[lines:], self.gaps[gaps:]
        self.follower = FollowedFile(self.path, Position.from_dict(stored) if stored else None)
