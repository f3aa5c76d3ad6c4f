"""`asterisk-console`: the pjsip logger and chan_sip on a captured console or on the daemon's standard output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from redirectd.dialects.asterisk_blocks import BLOCKS, Lead, frame_block, framed
from redirectd.dialects.console_glimpse import glimpse_183
from redirectd.dialects.frame import Frame, Framed, Glimpse, Incomplete
from redirectd.dialects.framing import Grammar, Stretch, ahead, entry_around, find_ahead
from redirectd.dialects.linehead import line_head
from redirectd.dialects.printed import DATED_HEADER, HEADERS_WITHOUT_CR, MARKS, NOISE, Printed
from redirectd.dialects.window import REACH, Window

_PLAIN_HEADER = HEADERS_WITHOUT_CR[0]
_LONGEST_LINE = 1024
_BEFORE, _BEHIND = 2 * REACH, 8 * REACH
"""Bytes around a place that are freed of what the console did: the places behind it mostly lie in the same."""


class AsteriskConsole:
    """A terminal adds a CR to each LF, a prompt and ANSI codes; `-T` puts `[date] ` before every line of a block."""

    name: ClassVar[str] = "asterisk-console"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    grammar: ClassVar[Grammar[Any]] = BLOCKS
    reads_lines: ClassVar[bool] = True
    glimpsed: ClassVar[bytes] = b"SIP/2.0 183"

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        low, high = max(0, at - _BEFORE), min(len(window), at + _LONGEST_LINE)
        if all(find_ahead(window, mark, low, high) < 0 for mark in MARKS):
            return None
        is_plain = (
            ahead(window, DATED_HEADER, low, high) is None and ahead(window, _PLAIN_HEADER, low, high) is not None
        )
        printed = None if is_plain else _printed(window, at)
        if printed is None or not printed.changed:
            return frame_block(window, at, self.name, (Lead.CONSOLE,), final=final, printed=False)
        final = final and printed.high == len(window)
        inside = printed.inside(at)
        entry = entry_around(printed.text, BLOCKS, inside, final=final)
        if entry is None or (entry.head.size >= 0 and entry.head.lead is not Lead.CONSOLE):
            return None
        block = framed(printed.text, inside, entry, self.name, final=final)
        if isinstance(block, Incomplete):
            return Incomplete(printed.outside(block.start))
        if not isinstance(block, Frame):
            return None
        start = printed.outside(block.start)
        stamp = line_head(NOISE.sub(b"", bytes(window[start : start + 256]))).stamp
        return replace(block, start=start, end=printed.outside(block.end), stamp=stamp)

    def glimpse(self, window: Window, at: int) -> Glimpse | None:
        """See `Glimpsing.glimpse`."""
        return glimpse_183(window, at)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


def _printed(window: Window, at: int) -> Printed:
    """The text around a place as Asterisk wrote it; a page remembers the last one."""
    known = window.places.get(Printed) if isinstance(window, Stretch) else None
    if known is not None:
        low, high, printed = known
        if low <= at <= high:
            assert isinstance(printed, Printed)
            return printed
    low = max(0, at - _BEFORE)
    high = min(len(window), at + (_BEHIND if isinstance(window, Stretch) else _BEFORE))
    printed = Printed(window, window.find(b"\n", low, at) + 1 if low else 0, high)
    if isinstance(window, Stretch):
        printed.text = Stretch(printed.text, gappy=window.gappy)
        near = low if not low else low + _BEFORE
        window.places[Printed] = (near, high if high == len(window) else high - _BEFORE, printed)
    return printed
