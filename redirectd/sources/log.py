"""The one face every source shows: bytes at absolute offsets, read again as often as needed, and followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redirectd.errors import SourceError


class Log(Protocol):
    """A log as bytes at absolute offsets, whatever it is kept in: a file, compressed or not, a pipe, a journal."""

    @property
    def name(self) -> str:
        """Shown with each sighting."""
        ...

    @property
    def start(self) -> int:
        """First offset that can still be read; a rolling spool forgets what lies before it."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`, short only where the log ends now, `b''` at its end.

        Raises `ValueError` for an offset before `start`: nothing may pass for the end that is not.
        """
        ...

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Like `read` into `buffer`, without a copy of its own; how many bytes were put there."""
        ...

    def end(self) -> int:
        """First offset past what can be read now. A stream that can't know runs to its end for it."""
        ...

    def previous(self) -> Log | None:
        """The rotated file before this one, to pair a 301 whose request is in it; kept once opened."""
        ...


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes lost before they could be read: `at_least` gives the minimum, 0 where a loss is only possible."""

    path: str
    why: str
    at_least: int


@dataclass(frozen=True, slots=True)
class LogSegment:
    """What to read next: `log` from `start` on, to its end.

    `end` is how far it reached when looked at (None for a compressed file: read to the end). `final` says that nothing
    will follow, so that an unfinished message is a cut one. `gaps` were lost before it; they are repeated until a
    position after them is confirmed, and belong in the same transaction.
    """

    log: Log
    start: int
    end: int | None
    final: bool
    gaps: tuple[Gap, ...] = ()


class Stored(Protocol):
    """A position as it goes into the database."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        ...


P = TypeVar("P", bound=Stored)


class Source(Protocol[P]):
    """Turn by turn: `poll`, read the segment, ask `position`, commit it with what was found, `advance`."""

    trouble: SourceError | None
    """What keeps it from reading now; None when all is well."""

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Losses found and not confirmed yet."""
        ...

    def poll(self) -> LogSegment | None:
        """What to read next, or None where there is nothing now."""
        ...

    def position(self, segment: LogSegment, offset: int) -> P | None:
        """The position when all before `offset` is dealt with; None: throw away what was read and poll again."""
        ...

    def advance(self, position: P) -> None:
        """Confirm a committed position."""
        ...

    def unread(self) -> int:
        """Bytes known to wait."""
        ...

    def turned_away(self) -> Mapping[str, int]:
        """What came and was not taken in since it was opened, by kind; what is reported as a `Gap` is not in it."""
        ...

    def close(self) -> None:
        """Let go of everything held."""
        ...
