"""`asterisk-json`: Asterisk's `[json]` formatter, a whole block in `logmsg.message` of one line."""

from __future__ import annotations

from typing import ClassVar

from redirectd.dialects.chan_sip_block import read_chan_sip
from redirectd.dialects.envelope import Writer, entry_at, spell_json
from redirectd.dialects.frame import Framed, Incomplete
from redirectd.dialects.pjsip_block import read_block
from redirectd.dialects.window import Window


class AsteriskJson:
    """Blocks of the pjsip logger and of chan_sip. A message that is not UTF-8 never reaches such a log."""

    name: ClassVar[str] = "asterisk-json"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_at(window, at, final=final)
        if entry.torn and entry.wrapping.is_json:
            return Incomplete(entry.start)
        if entry.writer is not Writer.ASTERISK:
            return None
        return read_block(entry, self.name) or read_chan_sip(entry, self.name)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: as in a JSON string."""
        return spell_json(text)
