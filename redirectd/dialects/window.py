"""The line around a position of a window, found by bounded searches."""

from __future__ import annotations

from dataclasses import dataclass

REACH = 65_536
"""Bytes looked at on either side of a position: the largest SIP datagram, so any record written in one piece."""

Window = bytes | bytearray


@dataclass(frozen=True, slots=True)
class Line:
    """Bounds of a line: `end` is behind its newline. `ended` is false where no newline was seen in reach."""

    start: int
    end: int
    ended: bool


def line_at(window: Window, at: int, reach: int = REACH) -> Line:
    """The line that holds position `at`; its ends are at most `reach` bytes away."""
    start = window.rfind(b"\n", max(0, at - reach), at) + 1 or max(0, at - reach)
    end = window.find(b"\n", at, at + reach)
    if end < 0:
        return Line(start, min(len(window), at + reach), ended=False)
    return Line(start, end + 1, ended=True)


def runs_out(window: Window, line: Line, at: int, reach: int = REACH) -> bool:
    """Whether the line ends with the window, not with its newline and not for being longer than `reach`."""
    return not line.ended and line.end == len(window) and at + reach > len(window)
