"""`sngrep`: calls saved as text by sngrep."""

from __future__ import annotations

from typing import Any, ClassVar

from redirectd.dialects.arrow import Arrows
from redirectd.dialects.frame import Framed
from redirectd.dialects.framing import Grammar
from redirectd.dialects.window import Window

_ARROWS = Arrows(bytes)


class Sngrep:
    """`2026/11/22 16:24:29.123456 192.0.2.1:5060 -> 192.0.2.2:5060`, the message as it was, an empty line."""

    name: ClassVar[str] = "sngrep"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    grammar: ClassVar[Grammar[Any]] = _ARROWS
    reads_lines: ClassVar[bool] = False

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        return _ARROWS.frame(window, at, lettered=False, dialect=self.name, final=final)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text
