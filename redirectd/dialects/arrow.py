"""Text exports with a line `date time source -> destination` before each message (ngrep, sngrep)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from redirectd.dialects.frame import Peer
from redirectd.dialects.window import MOST_TRIES, REACH, Window

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


@dataclass(frozen=True, slots=True)
class ArrowHead:
    """A head line: its bounds, ngrep's letter for the transport ('' in sngrep's), the addresses and the date."""

    start: int
    end: int
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
        end=match.end(),
        letter=letter,
        stamp=(match[2] or b"").decode(),
        source=Peer(transport, match[3].decode().strip("[]"), int(match[4])),
        target=Peer(transport, match[5].decode().strip("[]"), int(match[6])),
    )


def nearest_arrow(window: Window, at: int) -> ArrowHead | None:
    """The last head line that begins at or before `at`, within reach."""
    newline = window.find(b"\n", at, at + _LONGEST_HEAD)
    stop, low = (newline if newline >= 0 else min(len(window), at + _LONGEST_HEAD)), max(0, at - REACH)
    for _ in range(MOST_TRIES):
        arrow = window.rfind(_ARROW, low, stop)
        if arrow < 0:
            return None
        line = window.rfind(b"\n", max(0, arrow - _LONGEST_HEAD), arrow) + 1
        head = read_arrow(window, line)
        if head and head.start <= at:
            return head
        stop = arrow
    return None


def next_arrow(window: Window, begin: int, limit: int) -> int:
    """Where the next head line begins, or -1."""
    at = begin
    while (arrow := window.find(_ARROW, at, limit)) >= 0:
        line = window.rfind(b"\n", begin, arrow) + 1
        if line > begin and read_arrow(window, line):
            return line
        at = arrow + len(_ARROW)
    return -1
