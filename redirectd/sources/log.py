"""The one face every source shows: bytes at absolute offsets, read again as often as needed."""

from __future__ import annotations

from typing import Protocol


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
