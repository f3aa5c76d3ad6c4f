"""`asterisk-pjsip`: the pjsip logger in Asterisk's own log files, default and `[plain]` formatter."""

from __future__ import annotations

from typing import Any, ClassVar

from redirectd.dialects.asterisk_blocks import BLOCKS, Lead, frame_block
from redirectd.dialects.frame import Framed, Glimpse, Heard
from redirectd.dialects.framing import Grammar
from redirectd.dialects.pjsip_glimpse import glimpse_183, glimpse_request, heard_183
from redirectd.dialects.plain import Plain
from redirectd.dialects.window import Window


class AsteriskPjsip:
    """Raw blocks behind `[date] VERBOSE[thread] res_pjsip_logger.c: `, or `VERBOSE[thread]: file:line function: `."""

    name: ClassVar[str] = "asterisk-pjsip"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    grammar: ClassVar[Grammar[Any]] = BLOCKS
    reads_lines: ClassVar[bool] = False
    glimpsed: ClassVar[bytes] = b"SIP/2.0 183"

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        return frame_block(window, at, self.name, (Lead.FILE,), final=final, printed=False)

    def glimpse(self, window: Window, at: int) -> Glimpse | None:
        """See `Glimpsing.glimpse`."""
        return glimpse_183(window, at)

    def heard(self, window: Window, glimpse: Glimpse) -> Heard | None:
        """See `Hearing.heard`."""
        return heard_183(window, glimpse)

    def glimpse_request(self, window: Window, at: int) -> Plain | None:
        """See `GlimpsingCalls.glimpse_request`."""
        return glimpse_request(window, at)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text
