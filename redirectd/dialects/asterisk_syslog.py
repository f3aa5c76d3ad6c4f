"""`asterisk-syslog`: Asterisk's blocks behind a syslog head, escaped on one line or raw over several."""

from __future__ import annotations

from typing import ClassVar

from redirectd.dialects.chan_sip_block import MARK, read_chan_sip
from redirectd.dialects.envelope import Wrapping, Writer, entry_at, spell_anyhow
from redirectd.dialects.frame import Framed, Incomplete
from redirectd.dialects.linehead import line_head
from redirectd.dialects.pjsip_block import HEAD, read_block
from redirectd.dialects.pjsip_raw import RawBlock, find_header, frame_raw
from redirectd.dialects.window import Window


class AsteriskSyslog:
    """One datagram a message: rsyslog writes `#015#012`, or raw lines where its escaping is off."""

    name: ClassVar[str] = "asterisk-syslog"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d", b"SIP\\/2.0 %d")

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_at(window, at, final=final)
        if entry.wrapping is Wrapping.PLAIN:
            return self._raw(window, at, final=final)
        if entry.torn:
            mine = entry.wrapping.is_json or HEAD in entry.text or MARK.search(entry.text)
            return Incomplete(entry.start) if mine else None
        if entry.writer is not Writer.OTHER:
            return None
        return read_block(entry, self.name) or read_chan_sip(entry, self.name)

    def _raw(self, window: Window, at: int, *, final: bool) -> Framed:
        header = find_header(window, at, final=final)
        if header is None:
            return None
        line_start = window.rfind(b"\n", max(0, header.start - 1024), header.start) + 1
        head = line_head(bytes(window[line_start : header.start]))
        if not head.syslog:
            return None
        return frame_raw(window, at, RawBlock(header, line_start, head.stamp, self.name), final=final)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: a part that every template writes alike."""
        return spell_anyhow(text)
