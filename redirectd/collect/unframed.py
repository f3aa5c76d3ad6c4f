"""What looks like an answer, and a 301 that no dialect framed: neither may get lost silently (R40)."""

from __future__ import annotations

import re

from redirectd.dialects.frame import Unreadable
from redirectd.dialects.framing import Stretch, ahead, find_ahead
from redirectd.dialects.hep3 import LENGTH_BYTES, PAYLOAD_HEAD
from redirectd.dialects.window import Window

_NEAR = 4096
_CALL_ID = re.compile(rb"[\nn2\] ](?:[cC][aA][lL][lL]-[iI][dD]|i)[ \t]{0,8}:")
_CSEQ = re.compile(rb"[\nn2\] ][cC][sS][eE][qQ][ \t]{0,8}:")
_STATUS = b"SIP/2.0 301"
_LINE_STARTS = (b"\n", b"#012", b"\\n")
_LONGEST_LEAD = 256
_HEADER = re.compile(rb"(?:via|v|from|f|to|t|call-id|i|cseq|contact|m|server)[ \t]*:", re.IGNORECASE)
_KEPT = 4096
"""Bytes that are kept of it: a status line and its headers."""


def looks_like_answer(page: Stretch, at: int, end: int) -> bool:
    """Whether the place of a literal at `at`, within text that goes to `end`, looks like an answer's."""
    if not page.startswith((b"SIP/2.0 ", b"SIP\\/2.0 "), at):
        return page.startswith(b"REDIRECTD v=", at)
    stop = min(end, at + _NEAR)
    return ahead(page, _CALL_ID, at, stop) is not None and ahead(page, _CSEQ, at, stop) is not None


def unframed_answer(window: Stretch, at: int) -> Unreadable | None:
    """The unreadable record at `at`, or None where the text only speaks of a 301 and doesn't begin a message.

    Headers of an answer have to be near (R40), unless the text ends first.
    """
    behind = window[at + len(_STATUS) : at + len(_STATUS) + 1]
    if not window.startswith(_STATUS, at) or behind.isdigit():
        return None
    if not (
        at == 0
        or window.endswith(_LINE_STARTS, max(0, at - 4), at)
        or _in_torn_datagram(window, at)
        or _in_prefixed_lines(window, at)
    ):
        return None
    limit = min(len(window), at + _KEPT)
    if limit < len(window) and not looks_like_answer(window, at, limit):
        return None
    ends = [end for mark in (b"\r\n\r\n", b"\n\n") if (end := find_ahead(window, mark, at, limit)) >= 0]
    return Unreadable(at, min(ends, default=limit), "no dialect knows what stands around this answer", "")


def _in_torn_datagram(window: Window, at: int) -> bool:
    """Whether the head of a HEPv3 payload, or what a file's beginning has of it, is before `at`."""
    end = max(0, at - LENGTH_BYTES)
    head = bytes(window[max(0, end - len(PAYLOAD_HEAD)) : end])
    return head != b"" and PAYLOAD_HEAD.endswith(head)


def _in_prefixed_lines(window: Window, at: int) -> bool:
    """Whether headers follow with as much text before them as the status line has (`docker compose logs`, CRI)."""
    lead = at - (window.rfind(b"\n", max(0, at - _LONGEST_LEAD), at) + 1)
    following = window.find(b"\n", at, at + _KEPT) + 1
    return following > 0 and _HEADER.match(window, following + lead) is not None
