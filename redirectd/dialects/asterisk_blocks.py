"""Blocks of Asterisk's pjsip logger and of chan_sip, raw over several lines: how they begin and end.

Both are of one grammar, since they can be in one log, and a body in one of them can hold the text of the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from redirectd.dialects.chan_sip_block import (
    ENTRY_BUFFER,
    ChanSipHeader,
    Delimiters,
    find_end,
    first_end,
    leads_in_message,
    read_chan_header,
)
from redirectd.dialects.extent import head_end, measure, open_end
from redirectd.dialects.frame import Direction, Frame, Framed, Incomplete, Peer
from redirectd.dialects.framing import Ending, Grammar, Stretch, Walked, ahead, entry_around, find_ahead
from redirectd.dialects.linehead import line_head
from redirectd.dialects.pjsip_block import BlockHeader, message_ends, of_stream, read_header
from redirectd.dialects.printed import MARKS, NOISE
from redirectd.dialects.window import REACH, Window

_LONGEST_LEAD, _LONGEST_HEADER = 1024, 512
_PLAIN = re.compile(
    rb"\[[^\]\r\n]{0,64}\] VERBOSE\[[^<\r\n]{0,160}<--- (?:Received|Transmitting) SIP (?:request|response) "
    rb"\((\d{1,6}) bytes\) (?:from UDP|to)[^\r\n]{1,100} --->\n"
)
_PLAIN_LEAD = re.compile(rb"\[[^\]\r\n]{0,64}\] VERBOSE\[[^<\r\n]{0,160}chan_sip\.c: ?\n")
_PLAIN_SEND = re.compile(
    rb"\[[^\]\r\n]{0,64}\] VERBOSE\[[^<\r\n]{0,160}?chan_sip\.c: (?=(?:Reliably T|Ret|T)ransmitting [(#])"
)
_PLAIN_SIZE = ENTRY_BUFFER - _LONGEST_LEAD
_SEND_END = re.compile(rb"\n---\n")
_SENT, _READ = b"ransmitting ", b"<--- SIP read from "
_SEND_WORDS = (b"Reliably T", b"Ret", b"T")
_LEAD = re.compile(rb"\[[^\]\r\n]{0,64}\] VERBOSE\[[^<\r\n]{0,160}\n?\Z")
_DATE = re.compile(rb"\[[^\]\r\n]{0,64}\] ")
_ENTRY = re.compile(rb"\n(?=\[[^\]\r\n]{0,64}\] [A-Z]{1,16}\[|<--- (?:Received|Transmitting) SIP re)")
_NEXT_IN_FILE = re.compile(rb"\[[^\]\r\n]{0,64}\] [A-Z]{1,16}\[")
_GAP = re.compile(rb"\r?\n\r?\n|\n\[[^\]\n]{0,64}\] [A-Z]")


class Lead(Enum):
    """What precedes a block's header on its line."""

    FILE = "file"
    SYSLOG = "syslog"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class SipBlock:
    """A block's head: start of its entry, of its header and of its message, and what the header says.

    `size` is the message's exact length as the pjsip logger counted it, -1 for chan_sip's, which has none.
    """

    start: int
    mark: int
    begin: int
    lead: Lead
    stamp: str
    direction: Direction
    peer: Peer
    size: int = -1


class AsteriskBlocks(Grammar[SipBlock]):
    """See `Grammar`: a header line; as many bytes as it counts, or a delimiter."""

    def next_head(self, window: Window, at: int, stop: int, low: int = 0) -> SipBlock | None:
        """See `Grammar.next_head`."""
        known = window.places.get(AsteriskBlocks) if isinstance(window, Stretch) else None
        if known is not None and known[0] <= at <= known[2].mark and known[2].start >= low:
            return known[2] if known[2].mark < stop else None
        begin = at
        places = {mark: find_ahead(window, mark, at, stop) for mark in MARKS}
        while places := {mark: found for mark, found in places.items() if found >= 0}:
            at = min(places.values())
            block = self._read(window, at, low)
            if block is not None:
                if isinstance(window, Stretch):
                    window.places[AsteriskBlocks] = (begin, block.mark, block)
                return block
            at += 1  # only the marks that were passed are looked for again: text made of one costs no more than other
            places |= {mark: find_ahead(window, mark, at, stop) for mark, found in places.items() if found < at}
        return None

    def _read(self, window: Window, mark: int, low: int) -> SipBlock | None:
        if not window.startswith(b"<", mark):
            word = next((one for one in _SEND_WORDS if window.endswith(one, low, mark)), b"")
            mark -= len(word)
        header: BlockHeader | ChanSipHeader | None = read_header(window, mark)
        if isinstance(header, BlockHeader):
            begin, size = header.end + (2 if window.startswith(b"\r\n", header.end) else 1), header.size
            if window[header.end : begin] not in (b"\n", b"\r\n", b""):
                return None
        else:
            header = read_chan_header(window, mark)
            if header is None or not leads_in_message(window, header.end):
                return None
            begin, size = header.end, -1
        return _led(window, mark, low, begin, header, size)

    def ending(self, window: Window, head: SipBlock, *, final: bool) -> Ending:
        """See `Grammar.ending`."""
        return _printed_end(window, head, final=final) if head.size < 0 else _counted_end(window, head, final=final)

    def skip(self, window: Window, low: int, at: int) -> list[int]:
        """See `Grammar.skip`: a log file's blocks that hold no other's mark, where count or delimiter fits."""
        ends: list[int] = []
        if isinstance(window, Stretch) and window.gappy:
            return ends
        delimiters: Delimiters | None = None
        find, rfind, counted = window.find, window.rfind, _PLAIN.match
        position, mark, sent = low, find_ahead(window, b"<--- ", low, at), -1
        while True:
            if sent < position:
                sent = find(_SENT, position, at) % (at + 1)  # `at` where there is none
            if sent < mark or mark < 0:
                end = _plain_sent(window, position, sent) if sent < at else -1
            elif (head := counted(window, rfind(b"\n", position, mark) + 1 or position)) is not None:
                end = head.end() + int(head[1])
                end = end + 1 if end - head.start() <= _PLAIN_SIZE and window.startswith(b"\n", end) else -1
            elif window.startswith(_READ, mark):
                delimiters = delimiters or _delimiters(window, position, at + ENTRY_BUFFER)
                end = _plain_read(window, position, mark, delimiters)
            else:
                break
            if not 0 <= end < at:
                break
            position = end
            ends.append(position)
            mark = find(b"<--- ", position, at)
        return ends


BLOCKS = AsteriskBlocks()


def _plain_read(window: Window, low: int, mark: int, delimiters: Delimiters) -> int:
    """End of a block that chan_sip read and that is plain (see `Grammar.skip`), -1 if it is not.

    One delimiter alone has the right number of lines before it.
    """
    start = window.rfind(b"\n", low, max(low, mark - 1)) + 1 or low
    header = read_chan_header(window, mark) if _PLAIN_LEAD.fullmatch(window, start, mark) else None
    if header is None or not leads_in_message(window, header.end):
        return -1
    body = head_end(window, header.end, min(len(window), start + _PLAIN_SIZE))
    end = delimiters.only_end(body, start + _PLAIN_SIZE) if body >= 0 else -1
    return _past_line_end(window, end) if end >= 0 and _is_unmarked(window, header.end, end) else -1


def _plain_sent(window: Window, low: int, mark: int) -> int:
    """The same of one that chan_sip sent: its Content-Length is Asterisk's own, and the delimiter is there."""
    start = window.rfind(b"\n", low, mark) + 1 or low
    lead = _PLAIN_SEND.match(window, start)
    header = read_chan_header(window, lead.end()) if lead else None
    if header is None or not leads_in_message(window, header.end):
        return -1
    end = measure(window, header.end, min(len(window), start + _PLAIN_SIZE)).end
    if end is None or end - start > _PLAIN_SIZE:
        return -1
    last = _SEND_END.match(window, end - 1) or _SEND_END.match(window, end)
    return _past_line_end(window, last.end()) if last and _is_unmarked(window, header.end, end) else -1


def _delimiters(window: Window, low: int, high: int) -> Delimiters:
    """The delimiters of a stretch; a page remembers the last ones."""
    known = window.places.get(Delimiters) if isinstance(window, Stretch) else None
    if known is not None and known[0] <= low and high <= known[1]:
        found: Delimiters = known[2]
        return found
    delimiters = Delimiters(window, low, high + REACH)
    if isinstance(window, Stretch):
        window.places[Delimiters] = (low, min(len(window), high + REACH), delimiters)
    return delimiters


def _is_unmarked(window: Window, begin: int, end: int) -> bool:
    return window.find(b"<--- ", begin, end) < 0 and window.find(_SENT, begin, end) < 0


def _led(
    window: Window, mark: int, low: int, begin: int, header: BlockHeader | ChanSipHeader, size: int
) -> SipBlock | None:
    """The block with its entry's start, date and kind; None where other text precedes it on its line."""
    line = max(low, window.rfind(b"\n", max(0, mark - _LONGEST_LEAD), mark) + 1)
    lead = bytes(window[line:mark])
    if not lead and size < 0 and line > low:
        before = max(low, window.rfind(b"\n", max(0, line - 1 - _LONGEST_HEADER), line - 1) + 1)
        if b"chan_sip.c" in window[before:line]:
            line, lead = before, bytes(window[before:mark])
    head = line_head(lead)
    kind = Lead.SYSLOG if head.syslog else Lead.FILE
    if not head.syslog:
        at = _LEAD.search(lead)
        if at is not None:  # behind an entry that was cut off, the next one follows on the same line
            line, head = line + at.start(), line_head(lead[at.start() :])
        elif b"VERBOSE[" not in lead:
            own = NOISE.sub(b"", lead)
            if own and _DATE.fullmatch(own) is None and not (size < 0 and b"chan_sip.c" in own):
                return None
            kind, head = Lead.CONSOLE, line_head(own)
    return SipBlock(line, mark, begin, kind, head.stamp, header.direction, header.peer, size)


def _counted_end(window: Window, head: SipBlock, *, final: bool) -> Ending:
    """The count is exact. Where it does not fit its text, lines were lost or changed: then both readings are kept."""
    parts = _packet(window, head)
    if parts:
        behind = _past_line_end(window, parts[-1])
        more = not final and window.find(b"\n[", parts[-1], head.begin + REACH) < 0
        return Ending(parts[-1], behind, waits=more, parts=parts)
    end = head.begin + head.size
    if end >= len(window) and not final and head.size <= REACH:
        return Ending(end, len(window), waits=True)
    if end <= len(window) and _fits(window, end) and not _may_reach_too_far(window, head, end):
        full = _full_buffer(window, head) if end - head.start > ENTRY_BUFFER else -1
        if full < 0 or full >= end:
            return Ending(end, _past_line_end(window, end))
        return Ending(full, full, claimed=end, cut=True)
    full = _full_buffer(window, head) if end - head.start > ENTRY_BUFFER - 160 else -1
    if head.begin < full < end:
        return Ending(full, full, cut=True)
    following = BLOCKS.next_head(window, head.begin, min(len(window), head.begin + REACH), head.begin)
    limit = following.start if following is not None else min(len(window), head.begin + REACH)
    message, cut = _end_without_count(window, head.begin, limit)
    claimed = end if following is not None and end > following.start else 0
    return Ending(message, _past_line_end(window, message), claimed=claimed, cut=cut)


def _may_reach_too_far(window: Window, head: SipBlock, end: int) -> bool:
    """Whether a count goes over another head where empty lines are missing, which the journal drops (R40)."""
    return (
        isinstance(window, Stretch)
        and window.gappy
        and BLOCKS.next_head(window, head.begin, end, head.begin) is not None
    )


def _fits(window: Window, end: int) -> bool:
    """Asterisk ends a block with one LF more than the message, which syslog can take away, and a head follows."""
    return b"\n" in window[end - 1 : end + 1] or window.startswith(b"\r\n", end) or end == len(window)


def _end_without_count(window: Window, begin: int, limit: int) -> tuple[int, bool]:
    """End of a block whose count does not fit: by its headers, else the blank line."""
    extent = measure(window, begin, limit)
    if extent.end is not None and extent.end <= limit:
        return extent.end, False
    gap = _GAP.search(window, begin, limit)
    return (gap.end() if gap else limit), True


def _printed_end(window: Window, head: SipBlock, *, final: bool) -> Ending:
    """A number of lines behind the delimiter, else the Content-Length, picks the right one: none is given before it."""
    received, limit = head.direction is Direction.RECEIVED, min(len(window), head.begin + REACH)
    end = find_end(window, head.begin, head.start, received=received, full=_full_buffer(window, head))
    waits = (end is None or end.cut) and len(window) < head.begin + REACH and not final
    following = BLOCKS.next_head(window, head.begin, end.block if end else limit, head.begin)
    if end is None:
        entry = ahead(window, _ENTRY, head.begin, limit)
        stop = min(following.start if following else limit, entry.end() if entry else limit)
        extent = measure(window, head.begin, stop)
        message = open_end(window, head.begin, stop, extent)
        return Ending(message, message, claimed=stop, cut=True, waits=waits)
    if following is not None and following.start < end.block and not end.full:
        first = first_end(window, head.begin, following.start, received=received)
        message, behind = (first.message, first.block) if first else (following.start, following.start)
        claimed = end.block if end.counted or not received else max(end.block, head.start + ENTRY_BUFFER)
        return Ending(message, _past_line_end(window, behind), claimed=claimed, cut=end.cut)
    return Ending(end.message, _past_line_end(window, end.block), cut=end.cut, waits=waits)


def _packet(window: Window, head: SipBlock) -> tuple[int, ...]:
    """Ends of the messages that a block of a stream's shows, where its count is the length of one of them."""
    if head.size < 0 or not of_stream(head.direction, head.peer):
        return ()
    full = _full_buffer(window, head)
    limit = min(len(window), head.begin + REACH, full if full > head.begin else len(window))
    return message_ends(window, head.begin, limit, head.size)


def _past_line_end(window: Window, end: int) -> int:
    behind = end + (2 if window.startswith(b"\r\n", end) else window.startswith(b"\n", end))
    return min(behind, len(window))


def _full_buffer(window: Window, head: SipBlock) -> int:
    """Where the buffer is full for an entry; -1 where a file's next entry says no.

    In a file, the next entry follows right there. A console has a byte more in its buffer for each line that an entry
    begins, so less of the text, and shows no mark.
    """
    if head.lead is not Lead.CONSOLE:
        end = head.start + ENTRY_BUFFER
        return end if end == len(window) or _NEXT_IN_FILE.match(window, end) else -1
    start = head.mark - 1 if window.startswith(b"\n<--- SIP", head.mark - 1) and head.mark else head.mark
    begun, position = 1, start
    while (newline := window.find(b"\n", position, start + ENTRY_BUFFER - begun - 1)) >= 0:
        begun, position = begun + 1, newline + 1
    return start + ENTRY_BUFFER - begun


def frame_block(
    window: Window, at: int, dialect: str, leads: tuple[Lead, ...], *, final: bool, printed: bool
) -> Framed:
    """The frame of the block that holds `at`, if one of `leads` precedes it; `printed`: it is chan_sip's."""
    entry = entry_around(window, BLOCKS, at, final=final)
    if entry is None or (entry.head.size < 0) is not printed or entry.head.lead not in leads:
        return None
    return framed(window, at, entry, dialect, final=final)


def framed(window: Window, at: int, entry: Walked[SipBlock], dialect: str, *, final: bool) -> Framed:
    """The frame of an entry, or of that of its messages that holds `at`."""
    head, ending = entry.head, entry.ending
    start, begin, end = head.start, head.begin, ending.message
    if len(ending.parts) > 1:
        found = next((number for number, part in enumerate(ending.parts) if at < part), len(ending.parts))
        if found == len(ending.parts):
            return Incomplete(start) if ending.waits and not final else None
        if found:
            start = begin = ending.parts[found - 1]
        end = ending.parts[found]
    elif ending.waits and not final and (not ending.parts or at >= end):
        return Incomplete(start)
    behind = ending.behind if end == ending.message else end
    if at >= behind:
        return None
    return Frame(
        start=start,
        end=behind,
        payload=bytes(window[begin:end]),
        dialect=dialect,
        direction=head.direction,
        peer=head.peer,
        stamp=head.stamp,
        cut=ending.cut or end > len(window),
        authenticity=entry.authenticity,
    )
