"""183s and their requests in Asterisk's log at a glance, at a small part of the cost of reading them."""

from __future__ import annotations

import re
from functools import lru_cache

from redirectd.dialects.frame import Glimpse, Heard, Peer
from redirectd.dialects.plain import (
    HEADERS,
    NO_REQUEST,
    REQUEST_LINE,
    STATUS_183_LINE,
    Identity,
    Plain,
    early_media,
    request_of,
)
from redirectd.dialects.window import Window

_MARK = b"<--- "
_LONGEST_LEAD, _LONGEST_HEADERS = 1024, 4096
_NEAR = 16_384
_BEHIND_PEER = b" --->\n"
_LEAD = rb"\[([^\]\n]{0,64}+)\] VERBOSE\[[^\n<]*+"
_PEER = rb"([A-Za-z0-9-]{2,8}:(?:\[[0-9A-Fa-f:.%a-z]{2,64}+\]|[^\s:\[\]]{1,64}+):\d{1,5}+)" + _BEHIND_PEER
_ANSWER = re.compile(
    _LEAD + rb"(<--- )Received SIP response \((\d{1,6}+) bytes\) from " + _PEER + STATUS_183_LINE + HEADERS
)
_HEAD = re.compile(
    _LEAD + rb"(<--- )(?:(Received)|Transmitting) SIP (?:request|response) \((\d{1,6}+) bytes\) (?:from|to) " + _PEER
)
_REQUEST = re.compile(REQUEST_LINE + HEADERS)
_SIZE = re.compile(rb"<--- (?:Received|Transmitting) SIP (?:request|response) \((\d{1,6}) bytes\)")


def glimpse_183(window: Window, at: int) -> Glimpse | None:
    """The 183 whose status line begins at `at`, or None for what needs the ordinary reading.

    Taken are plain answers (see `redirectd.dialects.plain`) that were received and are whole in the window. Of forged
    records in a message's body, those are seen that the block before reaches over; the ordinary reading's walk through
    all blocks is not worth its time for what decides nothing (R3).
    """
    block = _ANSWER.match(window, _line(window, at, _LONGEST_LEAD), at + _LONGEST_HEADERS)
    if block is None or block.end(4) + len(_BEHIND_PEER) != at:
        return None
    _, _, size, _, branch, call_id, cseq, method = block.groups()
    end, start = at + int(size), block.start(2)
    if block.end() > end or not window.startswith(b"\n", end) or _is_enclosed(window, start):
        return None
    return Glimpse(start, end, Identity(branch, call_id, int(cseq), method), at, block)


def heard_183(window: Window, glimpse: Glimpse) -> Heard | None:
    """See `Hearing.heard`."""
    if glimpse.match is None:
        return None
    stamp, peer = glimpse.match.group(1, 4)
    sdp, require = early_media(window, glimpse.message, glimpse.match.end(), glimpse.end)
    return Heard(None, _peer_text(peer), stamp.decode("ascii", "replace"), sdp, require)


def glimpse_request(window: Window, at: int) -> Plain | None:
    """See `GlimpsingCalls.glimpse_request`."""
    head = _HEAD.match(window, _line(window, at, _LONGEST_LEAD + _LONGEST_HEADERS), at)
    if head is None:
        return None
    _, _, received, size, _ = head.groups()
    message = head.end()
    if message + int(size) < at:
        return None
    if received:
        return NO_REQUEST  # also within a request's body: the request's own headers stand further back
    request = _REQUEST.match(window, message, message + _LONGEST_HEADERS)
    if request is None or at >= request.end() or _is_enclosed(window, head.start(2)):
        return None
    return request_of(request)


def _line(window: Window, at: int, reach: int) -> int:
    """Where the entry of Asterisk's log that holds `at` seems to begin, by its bracket."""
    return window.rfind(b"\n[", max(0, at - reach), at) + 1


@lru_cache(maxsize=256)  # few send most
def _peer_text(peer: bytes) -> str:
    transport, _, rest = peer.decode().partition(":")
    address, _, port = rest.rpartition(":")
    return str(Peer(transport.lower(), address.strip("[]"), int(port)))


def _is_enclosed(window: Window, start: int) -> bool:
    before = window.rfind(_MARK, max(0, start - _NEAR), start)
    size = _SIZE.match(window, before) if before >= 0 else None
    return size is not None and size.end() + int(size[1]) > start
