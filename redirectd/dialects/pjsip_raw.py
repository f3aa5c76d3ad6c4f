"""Asterisk's pjsip logger where a block stands raw over several lines, framed by its exact byte count."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from redirectd.dialects.enclosure import body_reaches, lowest
from redirectd.dialects.entry_buffer import ENTRY_BUFFER, full_buffer
from redirectd.dialects.extent import measure
from redirectd.dialects.frame import Frame, Framed, Incomplete
from redirectd.dialects.pjsip_block import HEAD, BlockHeader, read_header
from redirectd.dialects.pjsip_packet import message_ends
from redirectd.dialects.window import MOST_TRIES, REACH, Window

_SIZE = re.compile(rb"<--- (?:Received|Transmitting) SIP (?:request|response) \((\d{1,6}) bytes\)( from [TW])?")
_NOTABLE = re.compile(
    rb"<--- (?:Received|Transmitting) SIP (?:request|response) "
    rb"\((\d{4,6}|\d{1,3}(?= bytes\) from [TW])) bytes\)( from [TW])?"
)
"""A block of a thousand bytes or more, or one of a stream."""
_SMALL = 1200
"""Bytes that a block of less than 1,000 takes, header and line ends included."""
_LONGEST_HEADER = 160
_LONGEST_LEAD = 160
_NEXT_ENTRY = re.compile(rb"\r?\n\r?\n|\n\[[^\]\n]{0,64}\] [A-Z]")


@dataclass(frozen=True, slots=True)
class RawBlock:
    """A block found: its header, the start of its line, the date on it and the dialect that owns it."""

    header: BlockHeader
    start: int
    stamp: str
    dialect: str


def find_header(window: Window, at: int, *, final: bool = True) -> BlockHeader | None:
    """The header of the block that position `at` is in or after: the nearest one that no other block encloses.

    A body can hold the text of a whole forged block. The count of the block around it tells: what lies
    within another block's bytes is a part of that message. Unless `final`, a block whose count reaches past the
    window encloses too: its rest is still to come.
    """
    low = max(0, at - REACH)
    line_end = window.find(b"\n", at, at + 512)
    stop = line_end if line_end >= 0 else min(len(window), at + 512)
    for _ in range(MOST_TRIES):
        nearest = window.rfind(HEAD, low, stop)
        if nearest < 0:
            return None
        header = read_header(window, nearest)
        if header:
            return _outermost(window, header, final=final)
        stop = nearest
    return None


def _outermost(window: Window, header: BlockHeader, *, final: bool) -> BlockHeader:
    """The first block whose count reaches over `header`'s, or `header`; counts are compared before anything else."""
    low, reached = lowest(window, header.end + 1), 0
    if not _may_enclose(window, low, header.start):
        return header
    for match in _SIZE.finditer(window, low, header.start):
        begin, size = match.start(), int(match[1])
        if begin < reached:
            continue
        if begin + size + _LONGEST_HEADER <= header.start and not match[2]:
            reached = begin + size
            continue
        outer = read_header(window, begin)
        end = known_end(window, outer, final=final) if outer else -1
        if outer is None or end < 0:
            continue
        if end > header.start:
            return outer
        reached = end
    return header


def known_end(window: Window, header: BlockHeader, *, final: bool) -> int:
    """End of a block's message: by its count, or where Asterisk cut a longer one; -1 where neither fits the text."""
    if len(ends := _packet(window, header)) > 1:
        return ends[-1]
    end = _begin(window, header) + header.size
    if end - header.start > ENTRY_BUFFER - _LONGEST_LEAD and (full := _buffer_end(window, header)) >= 0:
        return full
    if _fits(window, end) or (not final and end > len(window) and header.size <= REACH):
        return end
    return -1


def _begin(window: Window, header: BlockHeader) -> int:
    """Where the message begins: behind the header's LF, or CR LF in a file from another system."""
    return header.end + (2 if window.startswith(b"\r\n", header.end) else 1)


def _packet(window: Window, header: BlockHeader) -> tuple[int, ...]:
    """Ends of the messages that a block of a stream's shows, where its count is the length of one of them."""
    if not header.of_stream:
        return ()
    begin, full = _begin(window, header), full_buffer(window, header.start)
    return message_ends(
        window, begin, min(len(window), begin + REACH, full if full > begin else len(window)), header.size
    )


def _buffer_end(window: Window, header: BlockHeader) -> int:
    """Where Asterisk cut a block that was too long for its log; -1 where it did not."""
    end = full_buffer(window, header.start)
    return end if header.end < end < header.end + 1 + header.size else -1


def _may_enclose(window: Window, low: int, position: int) -> bool:
    """Whether any block from `low` on is large enough to reach over `position`; most logs have none for most places."""
    near, streams = max(low, position - _SMALL), False
    for pattern, begin, end in ((_SIZE, near, position), (_NOTABLE, low, min(near + _LONGEST_HEADER, position))):
        for match in pattern.finditer(window, begin, end):
            start, streams = match.start(), streams or match[2] is not None
            if start + _LONGEST_HEADER + int(match[1]) >= position and _reaches(window, start, position):
                return True
    return streams and body_reaches(window, low, position)


def _reaches(window: Window, start: int, position: int) -> bool:
    header = read_header(window, start)
    return header is not None and header.end + 1 + header.size > position


def _fits(window: Window, end: int) -> bool:
    """Asterisk ends a block with one LF more than the message; syslog can take it away again."""
    return b"\n" in window[end - 1 : end + 1] or window.startswith(b"\r\n", end) or end == len(window)


def frame_raw(window: Window, at: int, block: RawBlock, *, final: bool) -> Framed:
    """The frame of `block`, if `at` lies in it."""
    header, begin = block.header, _begin(window, block.header)
    end = begin + header.size
    if window[header.end : begin] not in (b"\n", b"\r\n", b""):
        return None
    start, ends = block.start, _packet(window, header)
    if ends and at >= ends[-1] and not final and window.find(b"\n[", ends[-1], begin + REACH) < 0:
        return Incomplete(block.start)  # the packet's next message may still be on its way
    if len(ends) > 1:
        found = bisect_right(ends, at)
        if found == len(ends):
            return None
        if found:
            start = begin = ends[found - 1]
        return _framed(window, block, start, (begin, ends[found]), cut=False)
    if end >= len(window) and not final:
        return Incomplete(block.start) if at < end else None
    cut = end > len(window)
    if not cut:
        known = known_end(window, header, final=True)
        end, cut = (known, known < end) if known >= 0 else _end_without_count(window, begin)
    behind = end + (2 if window.startswith(b"\r\n", end) else window.startswith(b"\n", end))
    return _framed(window, block, start, (begin, end), cut=cut) if at < behind else None


def _framed(window: Window, block: RawBlock, start: int, message: tuple[int, int], *, cut: bool) -> Frame:
    end = message[1]
    behind = end + (2 if window.startswith(b"\r\n", end) else window.startswith(b"\n", end))
    return Frame(
        start=start,
        end=min(behind, len(window)),
        payload=bytes(window[message[0] : end]),
        dialect=block.dialect,
        direction=block.header.direction,
        peer=block.header.peer,
        stamp=block.stamp,
        cut=cut,
    )


def _end_without_count(window: Window, begin: int) -> tuple[int, bool]:
    """End of a block whose count does not fit (lines were lost or changed): by its headers, else the blank line."""
    limit = min(len(window), begin + REACH)
    following = window.find(HEAD, begin, limit)
    limit = following if following >= 0 else limit
    extent = measure(window, begin, limit)
    if extent.end is not None and extent.end <= limit:
        return extent.end, False
    gap = _NEXT_ENTRY.search(window, begin, limit)
    return (gap.end() if gap else limit), True
