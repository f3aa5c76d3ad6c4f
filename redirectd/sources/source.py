"""The one face of what is followed: a file, the journal, a HEP listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redirectd.errors import SourceError
    from redirectd.sources.log import Log


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
