"""`asterisk-chan-sip`: chan_sip's `sip debug` blocks, received, sent and sent again, raw over several lines."""

from __future__ import annotations

from typing import Any, ClassVar

from redirectd.dialects.asterisk_blocks import BLOCKS, Lead, frame_block
from redirectd.dialects.frame import Framed
from redirectd.dialects.framing import Grammar
from redirectd.dialects.window import Window


class AsteriskChanSip:
    """Blocks in Asterisk's log files, on its standard output and, line by line, in a syslog."""

    name: ClassVar[str] = "asterisk-chan-sip"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    grammar: ClassVar[Grammar[Any]] = BLOCKS
    reads_lines: ClassVar[bool] = False

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`: on a terminal or with dates, `asterisk-console` undoes what that did to the message."""
        return frame_block(window, at, self.name, tuple(Lead), final=final, printed=True)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text
