"""`asterisk-pjsip`: the pjsip logger in Asterisk's own log files, default and `[plain]` formatter."""

from __future__ import annotations

from typing import ClassVar

from redirectd.dialects.asterisk_blocks import in_chan_sip
from redirectd.dialects.entry_buffer import lead_start
from redirectd.dialects.frame import Framed, Glimpse, Heard
from redirectd.dialects.linehead import line_head
from redirectd.dialects.pjsip_glimpse import glimpse_183, glimpse_request, heard_183
from redirectd.dialects.pjsip_raw import RawBlock, find_header, frame_raw
from redirectd.dialects.plain import Plain
from redirectd.dialects.window import Window


class AsteriskPjsip:
    """Raw blocks behind `[date] VERBOSE[thread] res_pjsip_logger.c: `, or `VERBOSE[thread]: file:line function: `."""

    name: ClassVar[str] = "asterisk-pjsip"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    glimpsed: ClassVar[bytes] = b"SIP/2.0 183"

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        header = find_header(window, at, final=final)
        if header is None:
            return None
        line_start = window.rfind(b"\n", max(0, header.start - 1024), header.start) + 1
        lead = bytes(window[line_start : header.start])
        entry = max(0, lead_start(lead))  # behind an entry that was cut off, the next one follows on the same line
        head = line_head(lead[entry:])
        if b"VERBOSE[" not in lead or head.syslog or in_chan_sip(window, header.start):
            return None
        line_start += entry
        return frame_raw(window, at, RawBlock(header, line_start, head.stamp, self.name), final=final)

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
