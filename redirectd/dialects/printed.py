"""What a console did to what it printed, undone: a CR before each LF (a terminal), a date before each line (`-T`)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from operator import add

from redirectd.dialects.window import Window

NOISE = re.compile(rb"\x1b\[[0-9;]{0,16}[A-Za-z]|\r|[^\s>]{1,64}\*CLI> ")
"""What stands before a console's own lines: colours, prompts and what wipes them out."""

HEADERS_WITHOUT_CR = (re.compile(rb"<--- [^\r\n]{1,200} --->\n"), re.compile(rb"ransmitting [(#][^\r\n]{1,99}:\n"))
_DATE = rb"(?:\r|\x1b\[[0-9;]{0,16}[A-Za-z]){0,8}\[[^\]\r\n]{0,64}\] "
"""Of a line; a remote console wipes out its prompt before it."""
_TAKEN_WITH_DATES = re.compile(rb"\r(?=\n)|^" + _DATE, re.MULTILINE)
_DATES = re.compile(rb"^" + _DATE, re.MULTILINE)
_ARROW = b"<--- "
_LEAD = re.compile(rb"(?:\r|\x1b\[[0-9;]{0,16}[A-Za-z]){0,8}(\[[^\]\r\n]{0,64}\] )?((?:Reliably |Re)?[Tt])?")
SENT_MARKS = (b"ransmitting (", b"ransmitting #")
"""One of them is in each header of what chan_sip sends."""

MARKS = (_ARROW, *SENT_MARKS)
"""One of them is in each header of a block."""

DATED_ARROW = b"] <--- "
DATED_HEADER = re.compile(rb"\] (?:<--- |(?:Reliably |Re)?[Tt]ransmitting [(#])")
_UNDATED = re.compile(
    rb"(?:<--- [^\r\n]{1,200} --->|ransmitting [(#][^\r\n]{1,99}:)\r?\n"
    rb"(?:SIP/2\.0 |[A-Z][A-Z0-9_-]{1,31} [a-zA-Z]{3,4}:)"
)
"""A header with its message's start line: where lines are dated, a date comes between, whatever a peer sent."""
_LONGEST_LEAD = 96
_AFTER_ARROW = (b"Received", b"Transmitting", b"SIP read")


class Printed:
    """The text of `window[low:high]` as the program wrote it, with the way from its offsets to the window's and back.

    What a peer sent can't turn either of the two on or off: Asterisk ends its own header lines with a bare LF, which a
    terminal never writes, and where lines are dated, so are those of messages.
    """

    def __init__(self, window: Window, low: int, high: int) -> None:
        """`low` is the start of a line."""
        region = bytes(window[low:high])
        self._low, self.high = low, high
        has_cr = b"\r\n" in region and not any(one.search(region) for one in HEADERS_WITHOUT_CR)
        has_dates = _are_dated(region)
        self.changed = has_cr or has_dates
        if has_dates:
            region = region[: region.rfind(b"\n") + 1]  # half a line can be half a date
        if self.changed:
            region = region.removesuffix(b"\r")
        self._starts: Sequence[int] = ()
        self._ends: Sequence[int] = ()
        self._taken: Sequence[int] = (0,)
        self.text: Window = region
        if has_dates:
            self._take(region, _TAKEN_WITH_DATES if has_cr else _DATES)
        elif has_cr:
            self._take_cr(region)

    def _take(self, region: bytes, pattern: re.Pattern[bytes]) -> None:
        spans = [match.span() for match in pattern.finditer(region)]
        self.text = pattern.sub(b"", region)
        self._taken = list(accumulate((end - start for start, end in spans), initial=0))
        self._starts = [start for start, _ in spans]
        self._ends = [start - taken for (start, _), taken in zip(spans, self._taken, strict=False)]

    def _take_cr(self, region: bytes) -> None:
        """The same for the CR of each CR LF, without a step of Python's for each: nearly all consoles are so."""
        parts = region.split(b"\r\n")
        self.text = b"\n".join(parts)
        self._taken = range(len(parts))
        self._ends = list(map(add, accumulate(map(len, parts[:-1])), self._taken))
        self._starts = list(map(add, self._ends, self._taken))

    def inside(self, at: int) -> int:
        """Offset in `text` of a place in the window; a place that was taken out is where it was."""
        at -= self._low
        index = bisect_right(self._starts, at)
        return max(at - self._taken[index], self._ends[index - 1] if index else 0)

    def outside(self, at: int) -> int:
        """Offset in the window of a place in `text`: before what was taken out there."""
        return self._low + at + self._taken[bisect_left(self._ends, at)]


def _are_dated(region: bytes) -> bool:
    """Whether a header of Asterisk's own has a date, and none is without."""
    if DATED_HEADER.search(region) is None or _UNDATED.search(region) is not None:
        return False  # nearly all: what follows looks at each mark
    found = False
    for mark in MARKS:
        at = region.find(mark)
        while at >= 0:
            line = region.rfind(b"\n", max(0, at - _LONGEST_LEAD), at) + 1 or max(0, at - _LONGEST_LEAD)
            lead = _LEAD.fullmatch(region, line, at)
            if lead is not None and (lead[2] is None) is (mark is _ARROW):
                if lead[1] is not None:
                    found = True
                elif mark is not _ARROW or region.startswith(_AFTER_ARROW, at + len(mark)):
                    return False
            at = region.find(mark, at + 1)
    return found
