"""Records within records: a message body can hold the text of a whole forged record, which must not be read as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from redirectd.dialects.extent import head_end
from redirectd.dialects.window import REACH, Window

_ANSWER_REACH, _OTHER_REACH, _PROVISIONAL_REACH = REACH, REACH // 4, REACH // 32


_LONG_BODIES = (re.compile(rb"\ncontent-length[ \t]*+:\s*+(\d{3,9})"), re.compile(rb"\nl[ \t]*+:\s*+(\d{3,9})"))
"""In lower case, each with a literal beginning of its own: together they cost a fifth of one that ignores case."""

_LONGEST_HEADERS = 16_384


class Positioned(Protocol):
    """A record's header: where it begins."""

    @property
    def start(self) -> int:
        """Offset in the window."""
        ...


H = TypeVar("H", bound=Positioned)


def lowest(window: Window, message: int) -> int:
    """How far back an enclosing record of the message at `message` is looked for.

    As far as a datagram can reach for a 301, which decides about routing; less for all others, least for a
    provisional answer, which decides nothing.
    """
    if window.startswith(b"SIP/2.0 301", message):
        return max(0, message - _ANSWER_REACH)
    return max(0, message - (_PROVISIONAL_REACH if window.startswith(b"SIP/2.0 1", message) else _OTHER_REACH))


def outermost(nearest: H, marks: Iterable[int], read: Callable[[int], H | None], end: Callable[[H], int]) -> H:
    """The first record of those at `marks` (ascending) that reaches over `nearest`, or `nearest` itself.

    `read` gives the header at a mark, `end` the position behind its record, by a length that stands before
    the body and not by a delimiter that the body can contain.
    """
    reached = 0
    for mark in marks:
        if mark < reached:
            continue
        header = read(mark)
        if header is None:
            continue
        reached = end(header)
        if reached > nearest.start:
            return header
    return nearest


def body_reaches(window: Window, low: int, position: int, undo: Callable[[bytes], bytes] = bytes) -> bool:
    """Whether any message that begins between `low` and `position` tells a body that reaches over `position`.

    One search; only where it says yes do records without a length of their own need a walk through all of them.
    Bodies of less than 100 bytes are too short to hold a record. `undo` turns printed text back, at the same length.
    """
    region = undo(bytes(window[low:position]))
    text = region.lower()
    for pattern in _LONG_BODIES:
        for match in pattern.finditer(text):
            start = match.start()
            body = head_end(region, start, len(region))
            if body < 0:
                ahead = undo(bytes(window[low + start : low + start + _LONGEST_HEADERS]))
                body = start + head_end(ahead, 0, len(ahead))
            if body > start and low + body + int(match[1]) > position:
                return True
    return False
