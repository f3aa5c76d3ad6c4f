"""`ngrep` and `sngrep`: text with a line `date time source -> destination` before each message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from redirectd.dialects.extent import find_message, measure, open_end, said_end
from redirectd.dialects.frame import Frame, Framed, Incomplete, Peer
from redirectd.dialects.framing import Ending, Grammar, entry_around, find_ahead
from redirectd.dialects.window import REACH, Window

_ARROW = b" -> "
_LONGEST_HEAD = 256
_ADDRESS = rb"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Fa-f.:]{2,45}):(\d{1,5})"
_HEAD = re.compile(
    rb"(?:([UT]) )?(?:(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?) )?(?:\+?\d{1,9}\.\d{1,9}s? )?"
    + _ADDRESS
    + _ARROW
    + _ADDRESS
    + rb"(?: \[[A-Z]{0,8}\])?(?: #\d{1,12})?[ \t]*\r?\n"
)
_BETWEEN = re.compile(rb"\n[\n#]*+")
"""What both put between a message and the next head: line ends, and ngrep a `#` for each other packet."""
_OTHER = re.compile(rb"[^\n]*+\n[\n#]*+")
"""A datagram that is not a message, as those that keep a way through a NAT open."""


@dataclass(frozen=True, slots=True)
class ArrowHead:
    """A head line: its bounds, ngrep's letter for the transport ('' in sngrep's), the addresses and the date."""

    start: int
    begin: int
    letter: str
    stamp: str
    source: Peer
    target: Peer


def read_arrow(window: Window, start: int) -> ArrowHead | None:
    """The head line that begins exactly at `start`."""
    match = _HEAD.match(window, start, start + _LONGEST_HEAD)
    if match is None:
        return None
    letter = (match[1] or b"").decode()
    transport = {"U": "udp", "T": "tcp"}.get(letter, "")
    return ArrowHead(
        start=start,
        begin=match.end(),
        letter=letter,
        stamp=(match[2] or b"").decode(),
        source=Peer(transport, match[3].decode().strip("[]"), int(match[4])),
        target=Peer(transport, match[5].decode().strip("[]"), int(match[6])),
    )


class Arrows(Grammar[ArrowHead]):
    """See `Grammar`: a head line; Content-Length, else the next head line."""

    def next_head(self, window: Window, at: int, stop: int, low: int = 0) -> ArrowHead | None:
        """See `Grammar.next_head`."""
        while (arrow := find_ahead(window, _ARROW, at, stop)) >= 0:
            line = window.rfind(b"\n", max(low, arrow - _LONGEST_HEAD), arrow) + 1
            head = read_arrow(window, line or low)
            if head is not None:
                return head
            at = arrow + len(_ARROW)
        return None

    def ending(self, window: Window, head: ArrowHead, *, final: bool) -> Ending:
        """See `Grammar.ending`."""
        limit = min(len(window), head.begin + REACH)
        following = self.next_head(window, head.begin, limit, head.begin)
        high = following.start if following is not None else limit
        text = _undone(head, window, high)
        extent = measure(text, 0)
        size, cut = extent.end, False
        said = said_end(extent)
        sure = following is None or (
            _BETWEEN.fullmatch(text, said) is not None if said >= 0 else _OTHER.fullmatch(text) is not None
        )
        if size is None or size > len(text):
            if following is None and limit == len(window) and not final:
                return Ending(limit, limit, waits=True)
            cut = size is not None or extent.body < 0
            size = open_end(text, 0, len(text), extent) if following is None else _without_blank(text, extent.body)
        behind = head.begin + size
        while behind < high and window.startswith(b"\n", behind):
            behind += 1
        lands = not sure and _lands(window, head.begin + said if said >= 0 else -1)
        claimed = high if sure else head.begin + (said if lands else REACH)
        return Ending(head.begin + size, behind, claimed=claimed, cut=cut, lands=lands)


ARROWS = Arrows()


def _lands(window: Window, said: int) -> bool:
    """Whether the next head is right where an entry says that it ends."""
    between = _BETWEEN.match(window, said) if said >= 0 else None
    return between is not None and read_arrow(window, between.end()) is not None


class _ArrowText:
    """A dialect of messages behind such lines; one `lettered` has ngrep's letter in them."""

    name: ClassVar[str]
    lettered: ClassVar[bool]
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    grammar: ClassVar[Grammar[Any]] = ARROWS
    reads_lines: ClassVar[bool] = False

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_around(window, ARROWS, at, final=final)
        if entry is None or bool(entry.head.letter) is not self.lettered:
            return None
        head, ending = entry.head, entry.ending
        payload = _undone(head, window, ending.message)
        if find_message(payload, 0, payload.find(b"\n") + 1) != 0:
            return None
        if ending.waits and not final:
            return Incomplete(head.start)
        return Frame(
            start=head.start,
            end=ending.behind,
            payload=payload,
            dialect=self.name,
            peer=head.source,
            local=head.target,
            stamp=head.stamp,
            cut=ending.cut,
            authenticity=entry.authenticity,
        )

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


class Sngrep(_ArrowText):
    """`2026/11/22 16:24:29.123456 192.0.2.1:5060 -> 192.0.2.2:5060`, the message as it was, an empty line."""

    name: ClassVar[str] = "sngrep"
    lettered: ClassVar[bool] = False


class Ngrep(_ArrowText):
    """Text of `ngrep -W byline`, with or without `-t` and `-q`; it prints `.` for the CR at a line's end."""

    name: ClassVar[str] = "ngrep"
    lettered: ClassVar[bool] = True


def _undone(head: ArrowHead, window: Window, end: int) -> bytes:
    """The text behind a head as it was sent, or nearly: as long as it is printed."""
    text = bytes(window[head.begin : end])
    return text.replace(b".\n", b"\r\n") if head.letter else text


def _without_blank(text: bytes, body: int) -> int:
    """Length of a message without Content-Length, the empty line that the tool put behind it left out."""
    end = len(text)
    while end > max(body, 1) and text[end - 2 : end] == b"\n\n":
        end -= 1
    return end
