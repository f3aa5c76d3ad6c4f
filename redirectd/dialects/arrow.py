"""Text exports with a line `date time source -> destination` before each message (ngrep, sngrep)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from redirectd.dialects.extent import find_message, measure
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

Undo = Callable[[bytes], bytes]
"""Turns printed text back into the message without changing its length."""


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

    def __init__(self, undo: Undo) -> None:
        self._undo = undo

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
        text = self._undo(bytes(window[head.begin : high]))
        extent = measure(text, 0)
        size, cut, claimed = extent.end, False, high
        if size is None or size > len(text):
            if following is None and limit == len(window) and not final:
                return Ending(limit, limit, waits=True)
            claimed = max(high, head.begin + size if size is not None else 0)
            size, cut = _without_blank(text, extent.body), size is not None or extent.body < 0
        behind = head.begin + size
        while behind < high and window.startswith(b"\n", behind):
            behind += 1
        return Ending(head.begin + size, behind, claimed=claimed, cut=cut)

    def frame(self, window: Window, at: int, *, lettered: bool, dialect: str, final: bool) -> Framed:
        """The message that holds `at`, if its head line has ngrep's letter (`lettered`) or has none."""
        entry = entry_around(window, self, at, final=final)
        if entry is None or bool(entry.head.letter) is not lettered:
            return None
        head, ending = entry.head, entry.ending
        payload = self._undo(bytes(window[head.begin : ending.message]))
        if find_message(payload, 0, payload.find(b"\n") + 1) != 0:
            return None
        if ending.waits and not final:
            return Incomplete(head.start)
        return Frame(
            start=head.start,
            end=ending.behind,
            payload=payload,
            dialect=dialect,
            peer=head.source,
            local=head.target,
            stamp=head.stamp,
            cut=ending.cut,
            authenticity=entry.authenticity,
        )


def _without_blank(text: bytes, body: int) -> int:
    """Length of a message without Content-Length, the empty line that the tool put behind it left out."""
    end = len(text)
    while end > max(body, 1) and text[end - 2 : end] == b"\n\n":
        end -= 1
    return end
