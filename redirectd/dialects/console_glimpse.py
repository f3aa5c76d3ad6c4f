"""183s on a terminal at a glance: the block alone is freed from its CRs, not all the text around it."""

from __future__ import annotations

import re

from redirectd.dialects.chan_sip_block import ENTRY_BUFFER
from redirectd.dialects.frame import Glimpse
from redirectd.dialects.plain import HEADERS, STATUS_183_LINE, Identity
from redirectd.dialects.printed import DATED_ARROW, NOISE, SENT_MARKS
from redirectd.dialects.window import Window

_MARK, _CHAN_SIP = b"<--- ", b"<--- SIP read from "
_REACH = ENTRY_BUFFER
"""As far as `asterisk-console` looks around a provisional answer."""
_LONGEST_LEAD, _LONGEST_HEADER = 1024, 160
_LARGEST, _MOST_LINES = 4096, 256
_ADDRESS = rb"(?:\[[0-9A-Fa-f:.%a-z]{2,64}+\]|[^\s:\[\]]{1,64}+):\d{1,5}+"
_ANSWER = re.compile(rb"<--- Received SIP response \((\d{1,4}+) bytes\) from UDP:" + _ADDRESS + rb" --->\r\n")
_MESSAGE = re.compile(STATUS_183_LINE + HEADERS)
_BLOCK = re.compile(
    rb"<--- (?:Received|Transmitting) SIP (?:request|response) \((\d{1,6}+) bytes\)(?! from [TW])[^\r\n]{1,100}+\r\n"
)
_OTHERS = (b" --->\n", DATED_ARROW, *SENT_MARKS)
"""What shows that headers without CR, with a date or of chan_sip's stand around."""


def glimpse_183(window: Window, at: int) -> Glimpse | None:
    """The 183 whose status line begins at `at`, or None for what needs the ordinary reading.

    Taken are plain answers by UDP that are whole in the window, where a terminal added a CR to each line end and all
    text around was printed so.
    """
    start = window.rfind(_MARK, max(0, at - _LONGEST_HEADER), at)
    head = _ANSWER.match(window, start, at) if start >= 0 else None
    if head is None or head.end() != at:
        return None
    size = int(head[1])
    printed = bytes(window[at : at + min(size, _LARGEST) + _MOST_LINES])
    text = printed.replace(b"\r\n", b"\n")
    message = _MESSAGE.match(text, 0, size)
    if message is None or not text.startswith(b"\n", size) or _MARK in text[: text.find(b"\n")]:
        return None
    lines = text.count(b"\n", 0, size)
    if printed.count(b"\r\n", 0, size + lines + 2) != lines + 1 or not _stands_alone(window, start, at):
        return None
    branch, call_id, cseq, method = message.groups()
    return Glimpse(start, at + size + lines, Identity(branch, call_id, int(cseq), method), at)


def _stands_alone(window: Window, start: int, at: int) -> bool:
    """Whether the header at `start` is on a line of its own, of a terminal without dates, and no block holds it."""
    low, high = max(0, at - _REACH), at + _REACH
    line = window.rfind(b"\n", max(0, start - _LONGEST_LEAD), start) + 1
    if not line or NOISE.sub(b"", bytes(window[line:start])):
        return False
    if any(window.find(one, low, high) >= 0 for one in _OTHERS) or window.find(_CHAN_SIP, low, start) >= 0:
        return False
    return not _is_enclosed(window, max(0, start - ENTRY_BUFFER), start)


def _is_enclosed(window: Window, low: int, start: int) -> bool:
    """Whether the block before reaches over `start`, or may: one read from a connection counts otherwise.

    See `pjsip_glimpse` for why none further back is asked.
    """
    before = window.rfind(_MARK, low, start)
    block = _BLOCK.match(window, before, start) if before >= 0 else None
    if block is None:
        return before >= 0 and window.startswith((b"<--- Received SIP", b"<--- Transmitting SIP"), before)
    return _reaches(window, block.end(), start, int(block[1]))


def _reaches(window: Window, begin: int, position: int, size: int) -> bool:
    """Whether `size` bytes from `begin` on, each line ended by a CR more, end behind `position` or there."""
    printed = position - begin
    return 2 * size >= printed and size >= printed - window.count(b"\n", begin, position)
