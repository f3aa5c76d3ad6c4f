"""A message behind an arrow line: found from inside, ended by its Content-Length, else by the next arrow line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from redirectd.dialects.arrow import ArrowHead, nearest_arrow, next_arrow, read_arrow
from redirectd.dialects.enclosure import body_reaches, lowest, outermost
from redirectd.dialects.extent import find_message, measure
from redirectd.dialects.frame import Frame, Framed, Incomplete
from redirectd.dialects.window import REACH, Window

_NEAR = 2048
"""Bytes that hold nearly all messages."""

Undo = Callable[[bytes], bytes]
"""Turns printed text back into the message without changing its length."""


def frame_arrow(window: Window, at: int, undo: Undo, *, lettered: bool, dialect: str, final: bool) -> Framed:
    """The message that holds `at`, if its head line has ngrep's letter (`lettered`) or has none."""
    nearest = nearest_arrow(window, at)
    if nearest is None or bool(nearest.letter) is not lettered:
        return None
    head, low = nearest, lowest(window, nearest.end)
    if body_reaches(window, low, nearest.start, undo):
        marks = _marks(window, low, nearest.start)
        head = outermost(nearest, marks, partial(read_arrow, window), partial(_told_end, window, undo))
    limit = min(len(window), head.end + REACH)
    text = undo(bytes(window[head.end : min(limit, head.end + _NEAR)]))
    extent = measure(text, 0)
    if extent.end is None or extent.end >= len(text):
        text = undo(bytes(window[head.end : limit]))
        extent = measure(text, 0)
    if find_message(text, 0, text.find(b"\n") + 1) != 0:
        return None
    size, cut = extent.end, False
    if size is None or size > len(text):
        following = next_arrow(window, head.end, limit)
        if following < 0 and limit == len(window) and not final:
            return Incomplete(head.start)
        end = following if following >= 0 else limit
        size, cut = _without_blank(text, end - head.end, extent.body), size is not None or extent.body < 0
    behind = head.end + size
    while behind < limit and window[behind : behind + 1] == b"\n":
        behind += 1
    if at >= behind:
        return None
    return Frame(
        start=head.start,
        end=behind,
        payload=text[:size],
        dialect=dialect,
        peer=head.source,
        local=head.target,
        stamp=head.stamp,
        cut=cut,
    )


def _without_blank(text: bytes, end: int, body: int) -> int:
    """Length of a message without Content-Length, the empty line that the tool put behind it left out."""
    while end > max(body, 1) and text[end - 2 : end] == b"\n\n":
        end -= 1
    return end


def _told_end(window: Window, undo: Undo, head: ArrowHead) -> int:
    text = undo(bytes(window[head.end : head.end + REACH]))
    told = measure(text, 0).end
    return head.end + told if told is not None else head.end


def _marks(window: Window, low: int, high: int) -> Iterator[int]:
    at = low
    while (arrow := window.find(b" -> ", at, high)) >= 0:
        yield window.rfind(b"\n", low, arrow) + 1 or low
        at = arrow + 4
