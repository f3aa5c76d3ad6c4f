"""What a console did to what it printed, undone: a CR before each LF (a terminal), a date before each line (`-T`)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from itertools import accumulate

from redirectd.dialects.window import Window

NOISE = re.compile(rb"\x1b\[[0-9;]{0,16}[A-Za-z]|\r|[^\s>]{1,64}\*CLI> ")
"""What stands before a console's own lines: colours, prompts and what wipes them out."""

_HEADER_WITHOUT_CR = re.compile(rb"(?:<--- [^\r\n]{1,200} --->|ransmitting [^\r\n]{1,100}:)\n")
_TERMINAL_CR = rb"\r(?=\n)"
_DATE = rb"^\[[^\]\r\n]{0,64}\] "
_UNDATED_HEADER = re.compile(
    rb"^<--- (?:Received|Transmitting|SIP read)|^(?:Reliably |Re)?[Tt]ransmitting ", re.MULTILINE
)
_DATED_HEADER = re.compile(_DATE + rb"(?:<--- |(?:Reliably |Re)?[Tt]ransmitting )", re.MULTILINE)


class Printed:
    """The text of `window[low:high]` as the program wrote it, with the way from its offsets to the window's and back.

    What a peer sent can't turn either of the two on or off: Asterisk ends its own header lines with a bare LF, which a
    terminal never writes, and where lines are dated, so are those of messages.
    """

    def __init__(self, window: Window, low: int, high: int) -> None:
        """`low` is the start of a line."""
        region = bytes(window[low:high])
        self._low = low
        patterns = [_TERMINAL_CR] if b"\r\n" in region and _HEADER_WITHOUT_CR.search(region) is None else []
        if _DATED_HEADER.search(region) and not _UNDATED_HEADER.search(region):
            patterns.append(_DATE)
            region = region[: region.rfind(b"\n") + 1]  # half a line can be half a date
        region = region.removesuffix(b"\r") if patterns else region
        self.changed = bool(patterns)
        if not patterns:
            self.text, self._starts, self._ends, self._taken = region, [], [], [0]
            return
        pattern = re.compile(b"|".join(patterns), re.MULTILINE)
        spans = [match.span() for match in pattern.finditer(region)]
        self.text = pattern.sub(b"", region)
        self._taken = list(accumulate((end - start for start, end in spans), initial=0))
        self._starts = [start for start, _ in spans]
        self._ends = [start - taken for (start, _), taken in zip(spans, self._taken, strict=False)]

    def inside(self, at: int) -> int:
        """Offset in `text` of a place in the window; a place that was taken out is where it stood."""
        at -= self._low
        index = bisect_right(self._starts, at)
        return max(at - self._taken[index], self._ends[index - 1] if index else 0)

    def outside(self, at: int) -> int:
        """Offset in the window of a place in `text`: before what was taken out there."""
        return self._low + at + self._taken[bisect_left(self._ends, at)]
