"""`asterisk-console`: the pjsip logger on a captured console or on the daemon's standard output."""

from __future__ import annotations

import re
from typing import ClassVar

from redirectd.dialects.extent import measure
from redirectd.dialects.frame import Frame, Framed, Incomplete
from redirectd.dialects.linehead import line_head
from redirectd.dialects.pjsip_block import BlockHeader
from redirectd.dialects.pjsip_raw import find_header
from redirectd.dialects.window import REACH, Window

_NOISE = re.compile(rb"\x1b\[[0-9;]{0,16}[A-Za-z]|\r|[^\s>]{1,64}\*CLI> ")
_DATE = re.compile(rb"\[[^\]\r\n]{0,64}\] ")


class AsteriskConsole:
    """A terminal adds a CR to each LF, a prompt and ANSI codes; `-T` puts `[date] ` before every line of a block."""

    name: ClassVar[str] = "asterisk-console"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        header = find_header(window, at)
        if header is None:
            return None
        start = window.rfind(b"\n", max(0, header.start - 1024), header.start) + 1
        lead = _NOISE.sub(b"", bytes(window[start : header.start]))
        date = _DATE.fullmatch(lead)
        if lead and not date:
            return None
        terminal = window.startswith(b"\r\n", header.end)
        begin = header.end + (2 if terminal else 1)
        payload, end = _message(window, begin, header, terminal=terminal, dated=date is not None)
        if at >= max(end, begin) and len(payload) >= header.size:
            return None
        cut = len(payload) < header.size
        if cut and end == len(window) and not final:
            return Incomplete(start)
        if at >= end:
            return None
        behind = end + (2 if window.startswith(b"\r\n", end) else window.startswith(b"\n", end))
        return Frame(
            start=start,
            end=behind,
            payload=payload,
            dialect=self.name,
            direction=header.direction,
            peer=header.peer,
            stamp=line_head(lead).stamp,
            cut=cut,
        )

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


def _message(window: Window, begin: int, header: BlockHeader, *, terminal: bool, dated: bool) -> tuple[bytes, int]:
    """The message as it was before the console printed it, and where it ends: line by line up to its count."""
    message, position, limit = bytearray(), begin, min(len(window), begin + 2 * REACH)
    while len(message) < header.size and position < limit:
        newline = window.find(b"\n", position, limit)
        if newline < 0:  # half a line can be half a date
            return bytes(message), limit
        line = bytes(window[position : newline + 1])
        if dated and (date := _DATE.match(line)):
            line = line[date.end() :]
        message += line[:-2] + b"\n" if terminal and line.endswith(b"\r\n") else line
        position = newline + 1
    if len(message) > header.size + 1:
        extent = measure(message, 0)
        return bytes(message[: extent.end] if extent.end else message[: header.size]), position
    return bytes(message[: header.size]), position
