"""`asterisk-chan-sip`: chan_sip's `sip debug` blocks, received, sent and sent again, raw over several lines."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from redirectd.dialects.asterisk_blocks import in_pjsip
from redirectd.dialects.chan_sip_block import (
    MARK,
    ChanSipEnd,
    ChanSipHeader,
    counted_around,
    find_end,
    leads_in_message,
    read_chan_header,
)
from redirectd.dialects.enclosure import body_reaches, lowest, outermost
from redirectd.dialects.entry_buffer import ENTRY_BUFFER
from redirectd.dialects.frame import Frame, Framed, Incomplete
from redirectd.dialects.linehead import line_head
from redirectd.dialects.printed import Printed
from redirectd.dialects.window import MOST_TRIES, REACH, Window

_MARKS = (b"<--- SIP read from ", b"ransmitting ")
_PJSIP_MARK = b" bytes) "
_LONGEST_HEADER = 512
_BLOCK_REACH = 4 * ENTRY_BUFFER


class AsteriskChanSip:
    """Blocks in Asterisk's log files, on its standard output and, line by line, in a syslog."""

    name: ClassVar[str] = "asterisk-chan-sip"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        header = _find_header(window, at)
        if header is None:
            return None
        low = lowest(window, header.end)
        if body_reaches(window, low, header.start) or counted_around(window, header.start):
            marks = (mark.start() for mark in MARK.finditer(window, low, header.start))
            header = outermost(header, marks, partial(read_chan_header, window), partial(_reach, window))
        end = find_end(window, header)
        if window.endswith(b"\r\n", header.end - 2, header.end) or not leads_in_message(window, header.end):
            return None  # on a terminal or with dates: `asterisk-console` undoes what that did to the message
        if _in_pjsip_block(window, header):
            return None
        short = len(window) < header.end + REACH and not final
        if (end is None or end.cut) and short:
            return Incomplete(_line(window, header.start)[0])
        return self._framed(window, at, header, end or _next_entry(window, header))

    def _framed(self, window: Window, at: int, header: ChanSipHeader, end: ChanSipEnd) -> Frame | None:
        start, stamp = _line(window, header.start)
        behind = end.block + (window[end.block : end.block + 1] == b"\n")
        if at >= behind:
            return None
        return Frame(
            start=start,
            end=behind,
            payload=bytes(window[header.end : end.message]),
            dialect=self.name,
            direction=header.direction,
            peer=header.peer,
            stamp=stamp,
            cut=end.cut,
        )

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


def _find_header(window: Window, at: int) -> ChanSipHeader | None:
    line_end = window.find(b"\n", at, at + _LONGEST_HEADER)
    stop = line_end + 1 if line_end >= 0 else min(len(window), at + _LONGEST_HEADER)
    low = max(0, at - REACH)
    for _ in range(MOST_TRIES):
        found = max(window.rfind(mark, low, stop) for mark in _MARKS)
        if found < 0:
            return None
        line_start = window.rfind(b"\n", max(0, found - _LONGEST_HEADER), found) + 1
        mark = MARK.search(window, max(line_start, found - 32), found + 64)
        header = read_chan_header(window, mark.start()) if mark else None
        if header:
            return header
        stop = found
    return None


def _in_pjsip_block(window: Window, header: ChanSipHeader) -> bool:
    """Whether a header is text within a message that the pjsip logger wrote, on a console or in a file."""
    low = max(0, header.start - _BLOCK_REACH)
    if window.rfind(_PJSIP_MARK, low, header.start) < 0:
        return False
    low = window.find(b"\n", low, header.start) + 1 if low else 0
    printed = Printed(window, low, min(len(window), header.start + _BLOCK_REACH))
    return in_pjsip(printed.text, printed.inside(header.start))


def _next_entry(window: Window, header: ChanSipHeader) -> ChanSipEnd:
    """End of a block without delimiter: where the next log line begins."""
    limit = min(len(window), header.end + REACH)
    found = window.find(b"\n[", header.end, limit)
    end = found + 1 if found >= 0 else limit
    return ChanSipEnd(end, end, cut=True)


def _reach(window: Window, header: ChanSipHeader) -> int:
    end = find_end(window, header)
    return end.block if end and (end.full or not end.cut) else header.end


def _line(window: Window, mark: int) -> tuple[int, str]:
    """Start and date of a block's first line: `...chan_sip.c: ` stands on the line before a received block's mark."""
    start = window.rfind(b"\n", max(0, mark - _LONGEST_HEADER), mark) + 1
    if start == mark and start:
        before = window.rfind(b"\n", max(0, start - 1 - _LONGEST_HEADER), start - 1) + 1
        if b"chan_sip.c" in window[before:start]:
            start = before
    return start, line_head(bytes(window[start : start + 128])).stamp
