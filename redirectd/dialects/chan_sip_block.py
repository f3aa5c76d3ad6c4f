"""What chan_sip prints with `sip set debug on` (up to Asterisk 20): blocks between delimiters, without a length."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from redirectd.dialects.envelope import LogEntry
from redirectd.dialects.extent import Extent, find_message, measure
from redirectd.dialects.frame import Direction, Frame, Peer
from redirectd.dialects.framing import Stretch
from redirectd.dialects.window import REACH, Window

MARK = re.compile(rb"<--- SIP read from |(?:Reliably Transmitting|Transmitting|Retransmitting #\d{1,4}) \(")
_ADDRESS = rb"(\[[0-9A-Fa-f:.%a-z]{2,64}\]|[^\s:\[\]]{1,64}):(\d{1,5})"
_READ = re.compile(rb"<--- SIP read from (?:([A-Za-z]{2,4}):)?" + _ADDRESS + rb" --->\r?\n")
_SEND = re.compile(
    rb"(?:Reliably Transmitting|Transmitting|Retransmitting #\d{1,4}) \([^)\r\n]{0,32}\) to " + _ADDRESS + rb":\r?\n"
)
_READ_END, _SEND_END = b"\n<------------->", re.compile(rb"\n---\r?(?:\n|\Z)")
_ENTRY_END = re.compile(rb"\r?\n<------------->\s{0,4}\Z")
_COUNT = re.compile(rb" headers (\d{1,4}) lines")
_COUNT_REACH = 320
_FEW = 24
_COUNTED = re.compile(rb"\n<------------->(?:\r?\n)?[^\n]{0,280} headers (\d{1,4}) lines")
ENTRY_BUFFER = 8_191
"""Bytes of one entry in Asterisk's buffer (16.28), which cuts a longer one without a mark and without line end."""

_MOST_LINES = 256
"""chan_sip counts no more lines of a body (SIP_MAX_LINES)."""

Span = tuple[int, int]
"""Where a delimiter begins and ends."""


@dataclass(frozen=True, slots=True)
class ChanSipHeader:
    """The line before a message: its position and end, and what it says of the other side."""

    start: int
    end: int
    direction: Direction
    peer: Peer


@dataclass(frozen=True, slots=True)
class ChanSipEnd:
    """End of the message and of its block; `cut` where no delimiter is where the message's length says.

    `full` where Asterisk's own buffer cut it: then the end is sure, too. `counted`: the number of its lines is right.
    """

    message: int
    block: int
    cut: bool
    full: bool = False
    counted: bool = False


def read_chan_header(text: Window, at: int) -> ChanSipHeader | None:
    """The header that begins exactly at `at`."""
    match = _READ.match(text, at)
    if match:
        peer = Peer((match[1] or b"").decode().lower(), match[2].decode("ascii", "replace").strip("[]"), int(match[3]))
        return ChanSipHeader(at, match.end(), Direction.RECEIVED, peer)
    match = _SEND.match(text, at)
    if match:
        peer = Peer("", match[1].decode("ascii", "replace").strip("[]"), int(match[2]))
        return ChanSipHeader(at, match.end(), Direction.SENT, peer)
    return None


def find_end(text: Window, begin: int, start: int, *, received: bool, full: int = -1) -> ChanSipEnd | None:
    """The end of the block that starts at `start` with its message at `begin`; None if there is none.

    What chan_sip received is followed by the number of lines that its body has: the last delimiter with the right
    number ends it. Where no number fits, the first delimiter does at which the message has its Content-Length. `full`
    is where Asterisk's own buffer cut it, -1 where it did not.
    """
    limit = min(len(text), begin + REACH)
    if full > begin:
        limit = min(limit, full)
    extent = measure(text, begin, limit)
    counted = False
    if received:
        found, counted = _received_end(text, (start, begin), extent, limit)
    else:
        first = begin if extent.end is None else min(extent.end, limit)
        found = next(_send_ends(text, first - 1, limit), None)
    if found:
        return ChanSipEnd(*found, cut=extent.body < 0, counted=counted)
    if full > begin:
        return ChanSipEnd(full, full, cut=True, full=True)
    return first_end(text, begin, limit, received=received)


def first_end(text: Window, begin: int, limit: int, *, received: bool) -> ChanSipEnd | None:
    """The first delimiter behind `begin`, whatever the message says."""
    found = next((_read_ends if received else _send_ends)(text, begin - 1, limit), None)
    return ChanSipEnd(*found, cut=True) if found else None


def _read_ends(text: Window, begin: int, limit: int) -> Iterator[Span]:
    """The delimiters behind what was received: by `find`, which is far quicker than an expression for them."""
    at = begin
    while (at := text.find(_READ_END, at, limit)) >= 0:
        yield at - (at > begin and text[at - 1] == 0x0D), at + len(_READ_END)
        at += len(_READ_END)


def _send_ends(text: Window, begin: int, limit: int) -> Iterator[Span]:
    return (match.span() for match in _SEND_END.finditer(text, begin, limit))


def _received_end(text: Window, block: Span, extent: Extent, limit: int) -> tuple[Span | None, bool]:
    """The delimiter that ends a block, and whether the number of lines behind it is right."""
    if extent.body < 0:
        return next(_read_ends(text, block[1] - 1, limit), None), False
    body, near = extent.body, min(limit, block[0] + ENTRY_BUFFER)
    ends = _ends_from(text, body, near, limit)
    claimed = None if extent.end is None else ends.printed(body, extent.end - body, near)
    if claimed is None and extent.end is not None and near < limit:
        ends = _ends_from(text, body, limit, limit)
        claimed = ends.printed(body, extent.end - body, limit)
    counted = ends.counted(body, max(near, claimed[1] if claimed else 0))
    if counted is not None:
        return counted, True
    return claimed if extent.end is not None else next(_read_ends(text, block[1] - 1, limit), None), False


def _has_count(text: Window, body: int, end: Span) -> bool:
    """Whether the line behind a delimiter counts as many lines as are before it."""
    return _counts(_number_behind(text, end[1]), text, body, end[0], text.count(b"\n", body, end[0]))


def _counts(number: int, text: Window, body: int, last: int, line_ends: int) -> bool:
    """Whether a number is that of the lines before `last`; an empty one at the end may have been counted or not."""
    lines = line_ends + (last > body)
    unsure = last > body and text.endswith(b"\n", body, last)
    return number in {min(lines, _MOST_LINES), min(lines - unsure, _MOST_LINES)}


def _number_behind(text: Window, end: int) -> int:
    """The number of lines that the line behind a delimiter counts; -1 where it counts none."""
    line = text.find(b"\n", end, end + 2) + 1
    stop = text.find(b"\n", line, line + _COUNT_REACH) if line else -1
    match = _COUNT.search(text, line, stop) if stop >= 0 else None
    return -1 if match is None else int(match[1])


class _ReadEnds:
    """The delimiters behind what was received in a stretch, with what is counted at each: many heads ask for them."""

    def __init__(self, text: Window, low: int, high: int) -> None:
        self._text = text
        self._found = list(_read_ends(text, low, high))
        self._numbers = [_number_behind(text, end) for _, end in self._found]
        self._lines: list[int] = []  # line ends from `low` to each
        position = lines = 0
        for start, _ in self._found:
            lines += text.count(b"\n", position or low, start)
            position = start
            self._lines.append(lines)

    def of(self, body: int, limit: int) -> tuple[int, int]:
        """Which ones are behind a body's beginning, and before `limit`."""
        first = bisect_left(self._found, body - 2 + len(_READ_END), key=_span_end)
        return first, bisect_right(self._found, limit, first, key=_span_end)

    def printed(self, body: int, claimed: int, limit: int) -> Span | None:
        """The first behind as many bytes as the body had before its CRs were taken out."""
        first, stop = self.of(body, limit)
        before = self._before(body, first, stop)

        def size(index: int) -> int:
            start = self._found[index][0]
            return 2 + start - body + self._lines[index] - before if start > body else 2

        index = bisect_left(range(stop), claimed, first, stop, key=size)
        return self._span(index, body) if index < stop else None

    def counted(self, body: int, limit: int) -> Span | None:
        """The last before `limit` behind which a line counts as many lines as are before it."""
        first, stop = self.of(body, limit)
        before = self._before(body, first, stop)
        for index in range(stop - 1, first - 1, -1):
            number, start = self._numbers[index], self._found[index][0]
            line_ends = max(0, self._lines[index] - before)
            if number >= 0 and _counts(number, self._text, body, start, line_ends):
                return self._span(index, body)
        return None

    def _before(self, body: int, first: int, stop: int) -> int:
        """Line ends before a body's beginning."""
        if first == stop:
            return 0
        start = self._found[first][0]
        return self._lines[first] - self._text.count(b"\n", body, start) + self._text.count(b"\n", start, body)

    def _span(self, index: int, body: int) -> Span:
        start, end = self._found[index]
        return max(start, body - 2), end


def _span_end(span: Span) -> int:
    return span[1]


def _ends_from(text: Window, body: int, near: int, limit: int) -> _ReadEnds:
    """The delimiters from a body on, to `near` where few are so near; of many, a page remembers the last ones."""
    low = max(0, body - 2)
    if not isinstance(text, Stretch) or (near < limit and text.count(_READ_END, low, near) <= _FEW):
        return _ReadEnds(text, low, near)
    known = text.places.get(_ReadEnds)
    if known is not None and known[0] <= low and near <= known[1]:
        found: _ReadEnds = known[2]
        return found
    ends = _ReadEnds(text, low, min(len(text), limit + REACH))
    text.places[_ReadEnds] = (low, limit + REACH, ends)
    return ends


class Delimiters:
    """The delimiters of a stretch by the number of lines before them, to ask for many blocks which ones end them."""

    def __init__(self, window: Window, low: int, high: int) -> None:
        self._window = window
        self._at = [low]
        self._lines = [0]  # line ends between `low` and each
        self._last: dict[int, int] = {}  # by the line ends before a body that it would end: the last one
        self._any_number = False
        for match in _COUNTED.finditer(window, low, min(len(window), high)):
            last, counted = match.start(), int(match[1])
            last -= last > low and window[last - 1] == 0x0D
            lines = self._lines[-1] + window.count(b"\n", self._at[-1], last)
            self._at.append(last)
            self._lines.append(lines)
            self._last[lines + 1 - counted] = match.end(1)
            if window.endswith(b"\n", low, last):
                self._last[lines - counted] = match.end(1)
            self._any_number = self._any_number or counted >= _MOST_LINES

    def only_end(self, body: int, limit: int) -> int:
        """End of the one delimiter before `limit` that counts the lines from `body` on; -1 if that is not sure."""
        first = self._window.find(_READ_END, max(0, body - 2), limit)
        if self._any_number or first < 0:
            return -1
        span = first - (first > 0 and self._window[first - 1] == 0x0D), first + len(_READ_END)
        if not _has_count(self._window, body, span):
            return -1
        before = bisect_right(self._at, body) - 1
        last = self._last.get(self._lines[before] + self._window.count(b"\n", self._at[before], body), -1)
        return span[1] if last < first + _COUNT_REACH else -1


def leads_in_message(window: Window, begin: int) -> bool:
    """Whether a start line comes right after a header: on a dated console, a date does."""
    line = bytes(window[begin : window.find(b"\n", begin, begin + REACH)])
    return line.startswith(b"SIP/2.0 ") or (line.rstrip().endswith(b" SIP/2.0") and not line.startswith(b"["))


def read_chan_sip(entry: LogEntry, dialect: str) -> Frame | None:
    """The message of a block that is whole in one log entry (JSON, escaped syslog); see `read_block`."""
    mark = MARK.search(entry.text)
    header = read_chan_header(entry.text, mark.start()) if mark else None
    if header is None or find_message(entry.text, 0, header.start) >= 0:
        return None
    last = _ENTRY_END.search(entry.text, header.end - 1) if header.direction is Direction.RECEIVED else None
    if last:  # nothing else is in the entry, whatever the message says of its length
        end: ChanSipEnd | None = ChanSipEnd(last.start(), last.end(), cut=measure(entry.text, header.end).body < 0)
    else:
        end = find_end(entry.text, header.end, header.start, received=header.direction is Direction.RECEIVED)
    end = end or ChanSipEnd(len(entry.text), len(entry.text), cut=True)
    return Frame(
        start=entry.start,
        end=entry.end,
        payload=entry.text[header.end : end.message],
        dialect=dialect,
        direction=header.direction,
        peer=header.peer,
        stamp=entry.stamp,
        cut=end.cut or entry.cut,
    )
