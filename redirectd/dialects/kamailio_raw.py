"""A Kamailio script's message dump that stands raw over several lines (standard error, unescaped syslog)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from redirectd.dialects.enclosure import body_reaches, lowest, outermost
from redirectd.dialects.extent import Extent, find_message, measure, request_line_start
from redirectd.dialects.frame import Frame, Framed, Incomplete
from redirectd.dialects.kamailio_text import SCRIPT_HEAD, told_of
from redirectd.dialects.linehead import line_head
from redirectd.dialects.window import REACH, Window

_START_LINE = re.compile(rb"SIP/2\.0(?: [1-6]\d\d |\r?\n)")
_ANSI = re.compile(rb"\x1b\[[0-9;]{0,16}m")
_ESCAPED = re.compile(rb"#015#012|\\r\\n|(?:#012|\\n)[A-Za-z-]{1,24}[ \t]?:")
_STDERR_ENTRY = re.compile(rb"(?:\x1b\[[0-9;]{0,16}m|\s){0,8}\d{1,4}\(\d{1,10}\) " + SCRIPT_HEAD.pattern)
_LEAD_LINES = 4
_DATAGRAM = (7_900, 8_300)
"""Bytes of the longest entry in rsyslog's file, as its `maxMessageSize` of 8k and the lengths of heads make it."""
_START_LINES_TRIED = 8
"""Bodies and an operator's own lines can hold some that lead no dump in."""
_START_LINE_REACH = 4096


@dataclass(frozen=True, slots=True)
class Start:
    """Where a message's start line begins, and where the log entry's own first line does."""

    start: int
    entry: int


def frame_dump(window: Window, at: int, *, syslog: bool, dialect: str, final: bool) -> Framed:
    """The dump that holds `at`, if its first line has a syslog head (`syslog`) or has none."""
    nearest = _nearest(window, at)
    if nearest is None:
        return None
    found, low = nearest, lowest(window, nearest.start)
    if body_reaches(window, low, nearest.start):
        marks = (mark.start() for mark in _START_LINE.finditer(window, low, nearest.start))
        found = outermost(nearest, marks, partial(_entry_start, window), partial(_told_end, window))
    lead = _ANSI.sub(b"", bytes(window[found.entry : found.start]))
    head = line_head(lead)
    if head.syslog is not syslog:
        return None
    limit = min(len(window), found.start + REACH)
    extent = measure(window, found.start, limit)
    full = _full_datagram(window, found, extent)
    end = extent.end if extent.end is not None else extent.body
    if end < 0 or end > len(window):
        if not final and limit == len(window):
            return Incomplete(found.entry)
        end = limit
    if full >= 0:
        end = full
    cut = full >= 0 or extent.body < 0 or (extent.end is not None and extent.end > len(window))
    behind = end + (window[end : end + 1] == b"\n")
    if at >= behind:
        return None
    direction, peer = told_of(lead)
    return Frame(
        start=found.entry,
        end=behind,
        payload=bytes(window[found.start : end]),
        dialect=dialect,
        direction=direction,
        peer=peer,
        stamp=head.stamp,
        cut=cut,
    )


def _nearest(window: Window, at: int) -> Start | None:
    """The last start line at or before `at` that a Kamailio log entry leads in: a line is looked at once."""
    low = max(0, at - REACH)
    newline = window.find(b"\n", at, at + _START_LINE_REACH)
    stop = newline + 1 if newline >= 0 else min(len(window), at + _START_LINE_REACH)
    for _ in range(_START_LINES_TRIED):
        mark = low - 1
        for ending in (b"SIP/2.0 ", b"SIP/2.0\r\n", b"SIP/2.0\n"):
            mark = max(mark, window.rfind(ending, max(mark, low), stop))
        if mark < low:
            return None
        line = _line_start(window, mark)
        if line < 0:
            stop = max(low, mark - _START_LINE_REACH)  # no start line is so long, so none of them leads one in
            continue
        found = _first_of_line(window, line, mark)
        if found:
            return found
        stop = line
    return None


def _line_start(window: Window, at: int) -> int:
    """Start of the line that holds `at`; -1 where it is out of reach."""
    low = max(0, at - _START_LINE_REACH)
    return window.rfind(b"\n", low, at) + 1 or (0 if not low else -1)


def _first_of_line(window: Window, line: int, mark: int) -> Start | None:
    """A reason phrase can hold another status line: the first one on the line is the message's (R2)."""
    first = find_message(window, line, mark)
    return (first >= 0 and _entry_start(window, first)) or _entry_start(window, mark)


def _entry_start(window: Window, mark: int) -> Start | None:
    """The message whose start line has its `SIP/2.0` at `mark`, or None if that is no start line of a raw dump."""
    if not _START_LINE.match(window, mark):
        return None
    start = mark
    if find_message(window, mark, mark + 12) != mark:
        start = request_line_start(window, mark - 1, max(0, mark - _START_LINE_REACH)) if mark else -1
    newline = window.find(b"\n", mark, mark + _START_LINE_REACH)
    line_end = newline if newline >= 0 else min(len(window), mark + _START_LINE_REACH)
    escaped = not window.endswith(b"\r", mark, line_end) and _ESCAPED.search(window, mark, line_end)
    if start < 0 or escaped or _is_entry(window, line_end + 1):
        return None
    return _led_in(window, start)


def _led_in(window: Window, start: int) -> Start | None:
    """The message at `start` with the entry that begins on its line or a few before it, each looked at once."""
    entry = start
    for number in range(_LEAD_LINES):
        line = _line_start(window, entry if not number else entry - 1)
        if line < 0:
            return None
        lead = bytes(window[line:entry])
        if b"<--- " in lead or b"\r\n" in lead:
            return None
        if SCRIPT_HEAD.search(lead):
            return Start(start, line)
        if not line:
            return None
        entry = line
    return None


def _is_entry(window: Window, at: int) -> bool:
    """Whether a log entry begins at `at`: then the line before it only speaks of a message (debug level 3)."""
    head = bytes(window[at : at + 96])
    return line_head(head).syslog or _STDERR_ENTRY.match(head) is not None


def _told_end(window: Window, found: Start) -> int:
    extent = measure(window, found.start, min(len(window), found.start + REACH))
    full = _full_datagram(window, found, extent)
    if full >= 0:
        return full
    return extent.end if extent.end is not None else found.start


def _full_datagram(window: Window, found: Start, extent: Extent) -> int:
    """Where rsyslog cut an entry at its longest datagram, without a mark, and the next entry follows; -1 if it did not.

    What such a message tells of its length reaches over the entries behind it.
    """
    if extent.body >= 0 and (extent.end is None or extent.end <= found.entry + _DATAGRAM[0]):
        return -1
    if not line_head(bytes(window[found.entry : found.entry + 64])).syslog:
        return -1
    at = found.entry + _DATAGRAM[0]
    while (at := window.find(b"\n", at, found.entry + _DATAGRAM[1])) >= 0:
        at += 1
        if line_head(bytes(window[at : at + 64])).syslog:
            return at - 1
    return -1
