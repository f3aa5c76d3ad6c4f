"""A Kamailio script's message dump that is raw over several lines: standard error, unescaped syslog, `journalctl`."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from redirectd.dialects.extent import carve, measure, open_end, request_line_start, said_end
from redirectd.dialects.frame import Frame, Framed, Incomplete
from redirectd.dialects.framing import Ending, Grammar, Stretch, Walked, ahead, find_ahead
from redirectd.dialects.kamailio_text import SCRIPT_HEAD, direction_and_peer
from redirectd.dialects.linehead import SYSLOG_DATE, line_head
from redirectd.dialects.window import REACH, Window

_START_LINE = re.compile(rb"SIP/2\.0(?: [1-6]\d\d |\r?\n)")
_ANSI = re.compile(rb"\x1b\[[0-9;]{0,16}m")
_ESCAPED = re.compile(rb"#015#012|\\r\\n|(?:#012|\\n)[A-Za-z-]{1,24}[ \t]?:")
_STDERR = rb"(?:\x1b\[[0-9;]{0,16}m|[ \t]){0,8}\d{1,4}\(\d{1,10}\) "
_STDERR_HEAD = re.compile(_STDERR + SCRIPT_HEAD.pattern)
_NEXT_STDERR = re.compile(rb"\n(?=" + _STDERR + SCRIPT_HEAD.pattern + rb")")
_NEXT_SYSLOG = re.compile(rb"\n(?=" + SYSLOG_DATE + rb")")
_OTHER_ENTRY = re.compile(rb"#01[25]|\\r\\n|REDIRECTD v=|ACC: |\n(?:[UT] )?\d{4}/\d\d/\d\d |[Tt]ransmitting (?:\(|#\d)")
"""What is in whole entries of one line and in other programs' heads, and so not before the message of a dump."""

_LEAD_LINES = 4
_START_LINE_REACH = 4096
_INDENT = re.compile(rb"\n( {8,128})(?=[^ \n])")
"""`journalctl` puts so many spaces before a message's further lines that no line of it can look like a head."""


@dataclass(frozen=True, slots=True)
class Dump:
    """The head of a dump: where its entry and its message begin, whether a syslog wrote it, and the author's text.

    `indent` is what `journalctl` put before each of the message's lines.
    """

    start: int
    begin: int
    syslog: bool
    stamp: str
    lead: bytes
    indent: bytes


class KamailioRaw(Grammar[Dump]):
    """See `Grammar`: a start line that a log's head leads in; Content-Length, else the writer's next head."""

    def next_head(self, window: Window, at: int, stop: int, low: int = 0) -> Dump | None:
        """See `Grammar.next_head`."""
        line = tried = -1
        while (mark := ahead(window, _START_LINE, at, stop)) is not None:
            at = mark.start()
            line = _line_start(window, at, low)
            if line != tried or line < 0:
                dump = self._read(window, at, low)
                if dump is not None:
                    return dump
                tried = -1 if _is_request(window, at) else line
            at += 1
        return None

    def _read(self, window: Window, mark: int, low: int) -> Dump | None:
        """The dump whose start line has its `SIP/2.0` at `mark`, or None if that is not a start line of one."""
        begin = mark
        if _is_request(window, mark):
            begin = request_line_start(window, mark - 1, max(low, mark - _START_LINE_REACH)) if mark > low else -1
        if begin < 0:
            return None
        limit = min(len(window), mark + REACH)
        newline = find_ahead(window, b"\n", mark, limit)
        line_end = newline if newline >= 0 else limit
        led = _led_in(window, begin, low)
        if led is None:
            return None
        if not window.endswith(b"\r", mark, line_end) and ahead(window, _ESCAPED, mark, line_end):
            return None
        head = bytes(window[line_end + 1 : line_end + 97])
        if line_head(head).syslog or _STDERR_HEAD.match(head) is not None:
            return None  # the line only speaks of a message (debug level 3)
        return led

    def ending(self, window: Window, head: Dump, *, final: bool) -> Ending:
        """See `Grammar.ending`."""
        limit = min(len(window), head.begin + REACH)
        following = ahead(window, _next_head(head), head.begin, limit)
        high = following.end() if following is not None else limit
        if head.indent:
            return _indented_end(window, head, high, final=final)
        extent = measure(window, head.begin, high)
        end = said_end(extent)
        waits = following is None and (end < 0 or end > len(window)) and limit == len(window) and not final
        last = high - 1 if following is not None else limit
        if not waits and (extent.body < 0 or following is None):
            last = min(last, open_end(window, head.begin, high, extent))
        message = end if 0 <= end <= high else last
        behind = message + window.startswith(b"\n", message)
        sure = following is None or _is_closed(window, head, end, high)
        lands = not sure and _lands(window, head, end, high)
        claimed = high if sure else end if lands else head.begin + REACH
        cut = extent.body < 0 or end > high
        return Ending(message, behind, claimed=claimed, cut=cut, waits=waits, lands=lands)


def _lands(window: Window, head: Dump, end: int, high: int) -> bool:
    """Whether a later head than the one at `high` is right where an entry says that it ends."""
    mark = _next_head(head).match(window, end) or _next_head(head).match(window, end - 1) if end > high else None
    return mark is not None and _is_closed(window, head, end, mark.end())


RAW = KamailioRaw()


def _next_head(head: Dump) -> re.Pattern[bytes]:
    """What the next entry of the same log begins with."""
    return _NEXT_SYSLOG if head.syslog else _NEXT_STDERR


class _LineEnds(list[int]):
    """Where dumps of a page begin behind which the script's author wrote a line end; how far was looked ahead."""

    ahead: int = 0


def _is_closed(window: Window, head: Dump, end: int, high: int) -> bool:
    """Whether a dump ends by its message's own length where the next entry, at `high`, begins (R40).

    An author who writes a line end behind a dump does so behind each: where others near have one, so must this.
    """
    known = window.places.setdefault(_LineEnds, (0, 0, _LineEnds()))[2] if isinstance(window, Stretch) else _LineEnds()
    if end == high - 1:
        if not known or known[-1] < head.begin:
            known.append(head.begin)
        return True
    if end != high:
        return False
    _look_ahead(window, known, high, _next_head(head))
    near = bisect_left(known, head.begin - REACH)
    return near == len(known) or known[near] > head.begin + REACH


def _look_ahead(window: Window, known: _LineEnds, at: int, pattern: re.Pattern[bytes]) -> None:
    """Adds the first dump behind `at` that has such a line end, if it is within reach; each place is seen once."""
    if known and known[-1] >= at:
        return
    at, stop = max(at, known.ahead), min(len(window), at + REACH)
    while at < stop:
        head = RAW.next_head(window, at, stop, at)
        if head is None:
            at = stop
            break
        limit = min(len(window), head.begin + REACH)
        following = ahead(window, pattern, head.begin, limit)
        high = following.end() if following is not None else limit
        end = said_end(measure(window, head.begin, high))
        if end == high - 1 and window.startswith(b"\n", end):
            known.append(head.begin)
            break
        at = max(high, head.begin)
    known.ahead = max(known.ahead, at)


def _is_request(window: Window, mark: int) -> bool:
    return not window[mark + 8 : mark + 11].isdigit()


def _line_start(window: Window, at: int, low: int) -> int:
    """Start of the line that holds `at`; -1 where it is out of reach."""
    near = max(low, at - _START_LINE_REACH)
    return window.rfind(b"\n", near, at) + 1 or (near if near == low else -1)


def _led_in(window: Window, begin: int, low: int) -> Dump | None:
    """The message at `begin` with the entry that begins on its line or a few before it."""
    entry = begin
    for number in range(_LEAD_LINES):
        line = _line_start(window, entry if not number else entry - 1, low)
        if line < 0:
            return None
        text = bytes(window[line:entry])
        if b"<--- " in text or b"\r\n" in text or _OTHER_ENTRY.search(text) is not None:
            return None
        if SCRIPT_HEAD.search(text):
            return _dump(window, line, begin)
        if line <= low:
            return None
        entry = line
    return None


def _dump(window: Window, start: int, begin: int) -> Dump:
    lead = _ANSI.sub(b"", bytes(window[start:begin]))
    head = line_head(lead)
    indent = _INDENT.search(window, max(start, begin - 130), begin + 1) if head.syslog else None
    return Dump(start, begin, head.syslog, head.stamp, lead, indent[1] if indent and indent.end() == begin else b"")


def _indented_end(window: Window, head: Dump, high: int, *, final: bool) -> Ending:
    """The first line that is not indented ends it, which nothing that a peer sent can be."""
    at = head.begin
    while (newline := window.find(b"\n", at, high)) >= 0 and newline + 1 < high:
        if not window.startswith(head.indent, newline + 1):
            return Ending(newline, newline + 1)
        at = newline + 1
    return Ending(high, high, waits=high == len(window) and not final)


def frame_dump(window: Window, entry: Walked[Dump] | None, *, syslog: bool, dialect: str, final: bool) -> Framed:
    """The dump in an entry of `RAW`, if its first line has a syslog head (`syslog`) or has none."""
    if entry is None or entry.head.syslog is not syslog:
        return None
    head, ending = entry.head, entry.ending
    if ending.waits and not final:
        return Incomplete(head.start)
    payload, cut = bytes(window[head.begin : ending.message]), ending.cut
    if head.indent:
        payload, cut = carve(payload.replace(b"\n" + head.indent, b"\n"), 0, stripped=True)
    direction, peer = direction_and_peer(head.lead)
    return Frame(
        start=head.start,
        end=ending.behind,
        payload=payload,
        dialect=dialect,
        direction=direction,
        peer=peer,
        stamp=head.stamp,
        cut=cut,
        authenticity=entry.authenticity,
    )
