"""183s and their requests in Asterisk's log at a glance, at a small part of the cost of reading them."""

from __future__ import annotations

import re

from redirectd.dialects.frame import Direction, Frame, Glimpse
from redirectd.dialects.linehead import line_head
from redirectd.dialects.pjsip_block import read_header
from redirectd.dialects.plain import HEADERS, NO_REQUEST, REQUEST_LINE, STATUS_183_LINE, Identity, Plain, request_of
from redirectd.dialects.window import Window

_MARK = b"<--- "
_LONGEST_LINE, _LONGEST_HEADER, _LONGEST_MESSAGE_HEADERS = 1024, 160, 4096
_NEAR = 16_384
_PEER = rb"[A-Za-z0-9-]{2,8}:(?:\[[0-9A-Fa-f:.%a-z]{2,64}\]|[^\s:\[\]]{1,64}):\d{1,5} --->\n"
_ANSWER = re.compile(
    rb"<--- Received SIP response \((\d{1,6}) bytes\) from " + _PEER + rb"()" + STATUS_183_LINE + HEADERS
)
_REQUEST = re.compile(rb"<--- Transmitting SIP request \(\d{1,6} bytes\) to " + _PEER + REQUEST_LINE + HEADERS)
_RECEIVED = b"<--- Received SIP re"
_SIZE = re.compile(rb"<--- (?:Received|Transmitting) SIP (?:request|response) \((\d{1,6}) bytes\)")


def glimpse_183(window: Window, at: int) -> Glimpse | None:
    """The 183 whose status line begins at `at`, or None for what needs the ordinary reading.

    Taken are plain answers (see `redirectd.dialects.plain`) that were received and stand whole in the window. Of forged
    records in a message's body, those are seen that the block before reaches over; the ordinary reading's walk through
    all blocks is not worth its time for what decides nothing (R3).
    """
    start = window.rfind(_MARK, max(0, at - _LONGEST_HEADER), at)
    if start < 0 or not _leads(window, start):
        return None
    block = _ANSWER.match(window, start, at + _LONGEST_MESSAGE_HEADERS)
    if block is None or block.start(2) != at:
        return None
    size, _, branch, call_id, cseq, method = block.groups()
    end = at + int(size)
    if block.end() > end or not window.startswith(b"\n", end) or _is_enclosed(window, start):
        return None
    return Glimpse(start, end, Identity(branch, call_id, int(cseq), method), at)


def whole_183(window: Window, glimpse: Glimpse, dialect: str) -> Frame:
    """The frame of a 183 that was told at a glance."""
    header = read_header(window, glimpse.start)
    line = _line(window, glimpse.start)
    return Frame(
        start=line,
        end=glimpse.end + 1,
        payload=bytes(window[glimpse.message : glimpse.end]),
        dialect=dialect,
        direction=Direction.RECEIVED,
        peer=header.peer if header else None,
        stamp=line_head(bytes(window[line : glimpse.start])).stamp,
    )


def glimpse_request(window: Window, at: int) -> Plain | None:
    """See `GlimpsingCalls.glimpse_request`."""
    start = window.rfind(_MARK, max(0, at - _LONGEST_MESSAGE_HEADERS), at)
    if start < 0 or not _leads(window, start):
        return None
    size = _SIZE.match(window, start)
    if size is None or size.end() + int(size[1]) < at or _is_enclosed(window, start):
        return None
    if window.startswith(_RECEIVED, start):
        return NO_REQUEST
    request = _REQUEST.match(window, start, at + _LONGEST_MESSAGE_HEADERS)
    return request_of(request) if request and at < request.end() else None


def _leads(window: Window, start: int) -> bool:
    """Whether only the head of Asterisk's own log line stands before a block's header."""
    line = _line(window, start)
    return window.startswith(b"[", line) and window.find(b"VERBOSE[", line, start) >= 0


def _line(window: Window, start: int) -> int:
    return window.rfind(b"\n", max(0, start - _LONGEST_LINE), start) + 1


def _is_enclosed(window: Window, start: int) -> bool:
    before = window.rfind(_MARK, max(0, start - _NEAR), start)
    size = _SIZE.match(window, before) if before >= 0 else None
    return size is not None and size.end() + int(size[1]) > start
