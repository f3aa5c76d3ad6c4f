"""Where reading stopped, in a form that finds the place again in a rotated, copied or regrown file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from redirectd.errors import SourceError

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
