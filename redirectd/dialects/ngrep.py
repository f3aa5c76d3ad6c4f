"""`ngrep`: text of `ngrep -W byline`, with or without `-t` and `-q`."""

from __future__ import annotations

from typing import ClassVar

from redirectd.dialects.arrow_text import frame_arrow
from redirectd.dialects.frame import Framed
from redirectd.dialects.window import Window


class Ngrep:
    """ngrep prints `.` for each byte that is no printable character; at a line's end that was the CR."""

    name: ClassVar[str] = "ngrep"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        return frame_arrow(window, at, _undo, lettered=True, dialect=self.name, final=final)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


def _undo(text: bytes) -> bytes:
    return text.replace(b".\n", b"\r\n")
