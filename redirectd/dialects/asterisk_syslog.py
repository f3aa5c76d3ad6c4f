"""`asterisk-syslog`: Asterisk's blocks behind a syslog head, escaped on one line or raw over several."""

from __future__ import annotations

from typing import Any, ClassVar

from redirectd.dialects.asterisk_blocks import BLOCKS, Lead, frame_block
from redirectd.dialects.chan_sip_block import MARK, read_chan_sip
from redirectd.dialects.envelope import Wrapping, Writer, entry_at, spell_anyhow
from redirectd.dialects.frame import Framed, Incomplete
from redirectd.dialects.framing import Grammar, entry_around
from redirectd.dialects.pjsip_block import HEAD, read_block
from redirectd.dialects.window import Window


class AsteriskSyslog:
    """One datagram a message: rsyslog writes `#015#012`, or raw lines where its escaping is off."""

    name: ClassVar[str] = "asterisk-syslog"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d", b"SIP\\/2.0 %d")
    grammar: ClassVar[Grammar[Any]] = BLOCKS
    reads_lines: ClassVar[bool] = True

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        if entry_around(window, BLOCKS, at, final=final) is not None:
            return frame_block(window, at, self.name, (Lead.SYSLOG,), final=final, printed=False)
        entry = entry_at(window, at, final=final)
        if entry.wrapping is Wrapping.PLAIN:
            return None
        if entry.torn:
            mine = entry.wrapping.is_json or HEAD in entry.text or MARK.search(entry.text)
            return Incomplete(entry.start) if mine else None
        if entry.writer is not Writer.OTHER:
            return None
        return read_block(entry, self.name) or read_chan_sip(entry, self.name)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: a part that every template writes alike."""
        return spell_anyhow(text)
