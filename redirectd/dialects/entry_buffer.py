"""Asterisk's log entries are cut where its buffer is full, without a mark and without a line end."""

from __future__ import annotations

import re

from redirectd.dialects.window import Window

ENTRY_BUFFER = 8_191
"""Bytes of one entry that the buffer holds (Asterisk 16.28)."""

_LONGEST_LEAD = 1024
_LEAD = re.compile(rb"\[[^\]\r\n]{0,64}\] VERBOSE\[[^<\r\n]{0,160}\n?\Z")
_NEXT_IN_FILE = re.compile(rb"\[[^\]\r\n]{0,64}\] [A-Z]{1,16}\[")


def lead_start(lead: bytes) -> int:
    """Where a log file's entry begins in the text before a block's header, -1 for text of a console."""
    match = _LEAD.search(lead)
    return match.start() if match else -1


def full_buffer(window: Window, header: int) -> int:
    """Where the buffer is full for the entry whose block begins at `header`; -1 where a file's next entry says no.

    In a file, the next entry follows right there. A console has a byte more in its buffer for each line that an entry
    begins, so less of the text, and shows no mark.
    """
    low = max(0, header - _LONGEST_LEAD)
    start = lead_start(bytes(window[low:header]))
    if start >= 0:
        end = low + start + ENTRY_BUFFER
        return end if end == len(window) or _NEXT_IN_FILE.match(window, end) else -1
    start = header - 1 if window.startswith(b"\n<--- SIP", header - 1) and header else header
    return start + ENTRY_BUFFER - _lines_begun(window, start)


def _lines_begun(window: Window, start: int) -> int:
    """How many lines a console's entry begins before its buffer is full."""
    begun, position = 1, start
    while (newline := window.find(b"\n", position, start + ENTRY_BUFFER - begun - 1)) >= 0:
        begun, position = begun + 1, newline + 1
    return begun
