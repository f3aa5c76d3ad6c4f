"""What the dialects share that are read from a file's beginning, and that no search finds (`StreamDialect`)."""

from __future__ import annotations

from typing import ClassVar

from redirectd.dialects.frame import Framed
from redirectd.dialects.window import Window


class Unsearched:
    """A position inside such a file does not show where a message begins: packets, wrapped lines, rows by columns."""

    literals: ClassVar[tuple[bytes, ...]] = ()

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """Always None, since nothing is searched for."""
        return None

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped."""
        return text
