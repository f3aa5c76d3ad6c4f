"""`ngrep`: text of `ngrep -W byline`, with or without `-t` and `-q`."""

from __future__ import annotations

from typing import Any, ClassVar

from redirectd.dialects.arrow import Arrows
from redirectd.dialects.frame import Framed
from redirectd.dialects.framing import Grammar
from redirectd.dialects.window import Window


def _undo(text: bytes) -> bytes:
    return text.replace(b".\n", b"\r\n")


_ARROWS = Arrows(_undo)


class Ngrep:
    """ngrep prints `.` for each byte that is not a printable character; at a line's end that was the CR."""

    name: ClassVar[str] = "ngrep"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    grammar: ClassVar[Grammar[Any]] = _ARROWS
    reads_lines: ClassVar[bool] = False

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        return _ARROWS.frame(window, at, lettered=True, dialect=self.name, final=final)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text
