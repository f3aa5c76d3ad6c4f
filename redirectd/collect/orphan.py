"""A 301's status line that no dialect framed: it looked like a permanent move, so it may not get lost silently."""

from __future__ import annotations

from redirectd.dialects.frame import Unreadable
from redirectd.dialects.window import Window

_STATUS = b"SIP/2.0 301"
_LINE_STARTS = (b"\n", b"#012", b"\\n")
_KEPT = 4096
"""Bytes that are kept of it: a status line and its headers."""


def orphan(window: Window, at: int) -> Unreadable | None:
    """The unreadable record at `at`, or None where the text only speaks of a 301 and doesn't begin a message."""
    behind = window[at + len(_STATUS) : at + len(_STATUS) + 1]
    if not window.startswith(_STATUS, at) or behind.isdigit():
        return None
    if at and not window.endswith(_LINE_STARTS, max(0, at - 4), at):
        return None
    limit = min(len(window), at + _KEPT)
    ends = [end for mark in (b"\r\n\r\n", b"\n\n") if (end := window.find(mark, at, limit)) >= 0]
    return Unreadable(at, min(ends, default=limit), "no dialect knows what stands around this answer", "")
