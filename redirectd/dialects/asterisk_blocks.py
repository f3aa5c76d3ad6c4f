"""Blocks of the pjsip logger and of chan_sip in one log: a body in one of them can hold the text of the other."""

from __future__ import annotations

import re

from redirectd.dialects.chan_sip_block import MARK, find_end, leads_in_message, read_chan_header
from redirectd.dialects.entry_buffer import ENTRY_BUFFER
from redirectd.dialects.pjsip_block import read_header
from redirectd.dialects.pjsip_raw import known_end
from redirectd.dialects.window import Window

_CHAN_SIP_MARKS = (b"<--- SIP read from ", b"ransmitting (")
_PJSIP_MARK = b" bytes) "
_REACH = 4 * ENTRY_BUFFER
_ANY = re.compile(rb"<--- (?:Received|Transmitting) SIP re|" + MARK.pattern)


def in_chan_sip(window: Window, position: int) -> bool:
    """Whether the block of the pjsip logger that begins at `position` is text in a message that chan_sip printed."""
    low = max(0, position - _REACH)
    return (
        any(window.rfind(mark, low, position) >= 0 for mark in _CHAN_SIP_MARKS) and _outer(window, position) == "chan"
    )


def in_pjsip(window: Window, position: int) -> bool:
    """Whether chan_sip's block that begins at `position` is text in a message that the pjsip logger wrote."""
    return window.rfind(_PJSIP_MARK, max(0, position - _REACH), position) >= 0 and _outer(window, position) == "pjsip"


def _outer(window: Window, position: int) -> str:
    """Which of the two wrote the first block that reaches over `position`; '' for none."""
    reached = 0
    for match in _ANY.finditer(window, max(0, position - _REACH), position):
        if match.start() < reached:
            continue
        block = _block(window, match.start())
        if block is None:
            continue
        reached = max(reached, block[1])
        if reached > position:
            return block[0]
    return ""


def _block(window: Window, start: int) -> tuple[str, int] | None:
    """Writer and sure end of the block at `start`; a block whose end is not sure reaches no further than its header."""
    header = read_header(window, start)
    if header is not None:
        return "pjsip", max(header.end, known_end(window, header, final=False))
    printed = read_chan_header(window, start)
    if printed is None or not leads_in_message(window, printed.end):
        return None
    end = find_end(window, printed)
    return "chan", end.block if end and (end.full or not end.cut) else printed.end
