"""Counting a 183 in Asterisk's log at a glance: its identity alone, at a small part of the cost of reading it."""

from __future__ import annotations

import re

from redirectd.dialects.frame import Glimpse
from redirectd.dialects.window import Window

_MARK = b"<--- "
_CODE_END = len(b"SIP/2.0 183")
_LONGEST_HEADER = 160
_MOST_HEADERS = 4096
_NEAR = 16_384
_HEADER = re.compile(
    rb"<--- Received SIP response \((\d{1,6}) bytes\) from "
    rb"[A-Za-z0-9-]{2,8}:(?:\[[0-9A-Fa-f:.%a-z]{2,64}\]|[^\s:\[\]]{1,64}):\d{1,5} --->\n"
)
_SIZE = re.compile(rb"<--- (?:Received|Transmitting) SIP (?:request|response) \((\d{1,6}) bytes\)")
_IDENTITY = re.compile(rb"\n(?i:(via|v|call-id|i|cseq))[ \t]*:[ \t]*([^\r]*)")
_NAMES = {b"via", b"call-id", b"cseq"}
_CALL_ID = re.compile(rb"[!-~]{1,256}")
_CSEQ = re.compile(rb"(\d{1,9}) ([A-Z]{1,32})")
_PARAM = rb";(?!branch)[a-z]{1,32}(?:=[A-Za-z0-9.:\[\]_-]{0,64})?"
_VIA = re.compile(
    rb"SIP/2\.0/[A-Za-z]{2,8} [A-Za-z0-9.:\[\]_-]{1,255}(?:%b)*+;branch=([A-Za-z0-9.~!*_+-]{1,256})(?:%b)*+"
    % (_PARAM, _PARAM)
)


def glimpse_183(window: Window, at: int) -> Glimpse | None:
    """The 183 whose status line begins at `at`, or None for what needs the ordinary reading.

    Taken are answers that were received and stand whole in the window, with one Via, Call-ID and CSeq as nearly all
    programs write them. Of forged records in a message's body, those are seen that the block before reaches over; the
    ordinary reading's walk through all blocks is not worth its time for what decides nothing (R3).
    """
    start = window.rfind(_MARK, max(0, at - _LONGEST_HEADER), at)
    header = _HEADER.match(window, start) if start >= 0 else None
    if header is None or header.end() != at or not _leads(window, start) or _is_enclosed(window, start):
        return None
    end = at + int(header[1])
    head_end = window.find(b"\r\n\r\n", at, min(at + _MOST_HEADERS, end))
    if (
        head_end < 0
        or window[end : end + 1] != b"\n"
        or window[at + _CODE_END : at + _CODE_END + 1] not in {b" ", b"\r"}
    ):
        return None
    identity = _identity(window[at : head_end + 1])
    return Glimpse(start, end, *identity) if identity else None


def _leads(window: Window, start: int) -> bool:
    """Whether only the head of Asterisk's own log line stands before a block's header."""
    line = window.rfind(b"\n", max(0, start - 1024), start) + 1
    return window[line : line + 1] == b"[" and window.find(b"VERBOSE[", line, start) >= 0


def _is_enclosed(window: Window, start: int) -> bool:
    before = window.rfind(_MARK, max(0, start - _NEAR), start)
    size = _SIZE.match(window, before) if before >= 0 else None
    return size is not None and size.end() + int(size[1]) > start


def _identity(head: Window) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Call-ID, CSeq number, method and branch, if each is there once and plain; no line is folded or ends oddly."""
    ends = head.count(b"\r\n")
    if head.count(b"\n") != ends or head.count(b"\r") != ends + 1 or b"\n " in head or b"\n\t" in head:
        return None
    lines = _IDENTITY.findall(head)
    found = {name.lower(): value for name, value in lines}
    if len(lines) != len(_NAMES) or found.keys() != _NAMES:
        return None
    via, cseq = _VIA.fullmatch(found[b"via"]), _CSEQ.fullmatch(found[b"cseq"])
    call_id = found[b"call-id"]
    if via is None or cseq is None or not _CALL_ID.fullmatch(call_id):
        return None
    return call_id, cseq[1], cseq[2], via[1]
