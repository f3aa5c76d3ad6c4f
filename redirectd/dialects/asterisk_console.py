"""`asterisk-console`: the pjsip logger and chan_sip on a captured console or on the daemon's standard output."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar

from redirectd.dialects.asterisk_blocks import in_chan_sip
from redirectd.dialects.asterisk_chan_sip import AsteriskChanSip
from redirectd.dialects.console_glimpse import glimpse_183
from redirectd.dialects.entry_buffer import ENTRY_BUFFER
from redirectd.dialects.frame import Frame, Framed, Glimpse, Incomplete
from redirectd.dialects.linehead import line_head
from redirectd.dialects.pjsip_raw import RawBlock, find_header, frame_raw
from redirectd.dialects.printed import NOISE, Printed
from redirectd.dialects.window import REACH, Window

_DATE = re.compile(rb"\[[^\]\r\n]{0,64}\] ")
_MARKS = (b"<--- ", b"ransmitting ")
_LONGEST_LINE = 1024
_PROVISIONAL, _NEAR, _FAR = ENTRY_BUFFER, 4 * ENTRY_BUFFER, 2 * REACH
"""Bytes around a place that hold a block of Asterisk's with its dates and CRs, and one before it that could enclose it
(less for a provisional answer, see `enclosure.lowest`); and more, for other writers' blocks."""
_CHAN_SIP = AsteriskChanSip()


class AsteriskConsole:
    """A terminal adds a CR to each LF, a prompt and ANSI codes; `-T` puts `[date] ` before every line of a block."""

    name: ClassVar[str] = "asterisk-console"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    glimpsed: ClassVar[bytes] = b"SIP/2.0 183"

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        if not any(window.rfind(mark, max(0, at - _FAR), at + _LONGEST_LINE) >= 0 for mark in _MARKS):
            return None
        near = _PROVISIONAL if window.startswith(b"SIP/2.0 1", at) else _NEAR
        framed = self._within(window, at, near, final=final)
        if isinstance(framed, Frame) and not framed.cut:
            return framed
        return self._within(window, at, _FAR, final=final)

    def glimpse(self, window: Window, at: int) -> Glimpse | None:
        """See `Glimpsing.glimpse`."""
        return glimpse_183(window, at)

    def _within(self, window: Window, at: int, reach: int, *, final: bool) -> Framed:
        """The block that holds `at`, as the text around it shows."""
        low, high = max(0, at - reach), min(len(window), at + reach)
        low = window.find(b"\n", low, at) + 1 if low else 0
        printed = Printed(window, low, high)
        framed = self._frame(printed, printed.inside(at), final=final and high == len(window))
        if isinstance(framed, Incomplete):
            return Incomplete(printed.outside(framed.start))
        if not isinstance(framed, Frame):
            return None
        start = printed.outside(framed.start)
        head = NOISE.sub(b"", bytes(window[start : start + 256]))
        return replace(
            framed,
            start=start,
            end=printed.outside(framed.end),
            dialect=self.name,
            stamp=line_head(head).stamp,
        )

    def _frame(self, printed: Printed, at: int, *, final: bool) -> Framed:
        """The block that holds `at`: the outer one, where a body holds the text of another."""
        text = printed.text
        header = find_header(text, at, final=final)
        start = _own_line(text, header.start) if header is not None else -1
        if header is not None and start >= 0 and not in_chan_sip(text, header.start):
            block = frame_raw(text, at, RawBlock(header, start, "", self.name), final=final)
            if block is not None:
                return block
        return _CHAN_SIP.frame(text, at, final=final) if printed.changed else None

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


def _own_line(text: bytes, header: int) -> int:
    """Start of the header's line, -1 where it holds more than a console puts before a header."""
    start = text.rfind(b"\n", max(0, header - _LONGEST_LINE), header) + 1
    lead = NOISE.sub(b"", text[start:header])
    return start if not lead or _DATE.fullmatch(lead) else -1
