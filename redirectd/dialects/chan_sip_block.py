"""What chan_sip prints with `sip set debug on` (up to Asterisk 20): blocks between delimiters, without a length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from redirectd.dialects.entry_buffer import ENTRY_BUFFER, full_buffer
from redirectd.dialects.envelope import LogEntry
from redirectd.dialects.extent import Extent, find_message, measure
from redirectd.dialects.frame import Direction, Frame, Peer
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
    """End of the message and of its block; `cut` where no delimiter stands where the message's length says.

    `full` where Asterisk's own buffer cut it: then the end is sure, too.
    """

    message: int
    block: int
    cut: bool
    full: bool = False


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


def find_end(text: Window, header: ChanSipHeader) -> ChanSipEnd | None:
    """The end of a block; None if there is none.

    What chan_sip received is followed by the number of lines that its body has: the last delimiter with the right
    number ends it. Where no number fits, the first delimiter does at which the message has its Content-Length.
    """
    limit = min(len(text), header.end + REACH)
    full = full_buffer(text, header.start)
    if full > header.end:
        limit = min(limit, full)
    extent = measure(text, header.end, limit)
    if header.direction is Direction.RECEIVED:
        delimiters, found = _read_ends, _received_end(text, header, extent, limit)
    else:
        begin = header.end if extent.end is None else min(extent.end, limit)
        delimiters, found = _send_ends, next(_send_ends(text, begin - 1, limit), None)
    if found:
        return ChanSipEnd(*found, cut=extent.body < 0)
    if full > header.end:
        return ChanSipEnd(full, full, cut=True, full=True)
    found = next(delimiters(text, header.end - 1, limit), None)
    return ChanSipEnd(*found, cut=True) if found else None


def _read_ends(text: Window, begin: int, limit: int) -> Iterator[Span]:
    """The delimiters behind what was received: by `find`, which is far quicker than an expression for them."""
    at = begin
    while (at := text.find(_READ_END, at, limit)) >= 0:
        yield at - (at > begin and text[at - 1] == 0x0D), at + len(_READ_END)
        at += len(_READ_END)


def _send_ends(text: Window, begin: int, limit: int) -> Iterator[Span]:
    return (match.span() for match in _SEND_END.finditer(text, begin, limit))


def counted_around(text: Window, position: int) -> bool:
    """Whether a number of lines behind `position` says that the body it counts begins before `position`."""
    return any(
        int(match[1]) > text.count(b"\n", position, match.start())
        for match in _COUNT.finditer(text, position, position + ENTRY_BUFFER)
    )


def _received_end(text: Window, header: ChanSipHeader, extent: Extent, limit: int) -> Span | None:
    told = _printed_end(text, extent, limit) if extent.end is not None else None
    if extent.body >= 0:
        stop = min(limit, max(header.start + ENTRY_BUFFER, told[1] if told else 0))
        counted = [one for one in _read_ends(text, extent.body - 2, stop) if _has_count(text, extent.body, one)]
        if counted:
            return counted[-1]
    return told if extent.end is not None else next(_read_ends(text, header.end - 1, limit), None)


def _has_count(text: Window, body: int, end: Span) -> bool:
    """Whether the line behind a delimiter counts as many lines as stand before it."""
    line = text.find(b"\n", end[1], end[1] + 2) + 1
    stop = text.find(b"\n", line, line + _COUNT_REACH) if line else -1
    match = _COUNT.search(text, line, stop) if stop >= 0 else None
    if match is None:
        return False
    last = end[0]
    lines = text.count(b"\n", body, last) + (last > body and not text.endswith(b"\n", body, last))
    return int(match[1]) == min(lines, _MOST_LINES)


def leads_in_message(window: Window, begin: int) -> bool:
    """Whether a start line stands right behind a header: on a dated console, a date does."""
    line = bytes(window[begin : window.find(b"\n", begin, begin + REACH)])
    return line.startswith(b"SIP/2.0 ") or (line.rstrip().endswith(b" SIP/2.0") and not line.startswith(b"["))


def _printed_end(text: Window, extent: Extent, limit: int) -> Span | None:
    """The first delimiter behind as many bytes as the body had before its CRs were taken out."""
    told, position, size = (extent.end or extent.body) - extent.body, extent.body, 2
    for delimiter in _read_ends(text, extent.body - 2, limit):
        end = max(delimiter[0], extent.body)
        size += end - position + text.count(b"\n", position, end)
        position = end
        if size >= told:
            return delimiter
    return None


def read_chan_sip(entry: LogEntry, dialect: str) -> Frame | None:
    """The message of a block that stands whole in one log entry (JSON, escaped syslog); see `read_block`."""
    mark = MARK.search(entry.text)
    header = read_chan_header(entry.text, mark.start()) if mark else None
    if header is None or find_message(entry.text, 0, header.start) >= 0:
        return None
    last = _ENTRY_END.search(entry.text, header.end - 1) if header.direction is Direction.RECEIVED else None
    if last:  # nothing else stands in the entry, whatever the message tells of its length
        end: ChanSipEnd | None = ChanSipEnd(last.start(), last.end(), cut=measure(entry.text, header.end).body < 0)
    else:
        end = find_end(entry.text, header)
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
