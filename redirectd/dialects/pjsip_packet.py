"""Blocks of the pjsip logger for TCP, TLS and WebSocket: each shows all that was read at once, its count tells of one.

Asterisk 16 logs each message of a stream by the length of that message and the whole packet it came in, so that two
answers read together stand twice, the second one never behind a count of its own.
"""

from __future__ import annotations

import re

from redirectd.dialects.extent import measure
from redirectd.dialects.window import Window

_MOST_MESSAGES = 128
_START_LINE = re.compile(
    rb"SIP/2\.0 [1-6]\d\d[ \r\n]|[A-Z][A-Z0-9_-]{1,31} [a-zA-Z][a-zA-Z0-9+.-]{1,31}:[^ \r\n]{1,4096} SIP/2\.0\r?\n"
)


def message_ends(text: Window, begin: int, limit: int, size: int) -> tuple[int, ...]:
    """Where the messages from `begin` on end, by their Content-Length, which a stream needs (RFC 3261 18.3).

    None where no message has the `size` that the block's header tells.
    """
    ends: list[int] = []
    position, counted = begin, False
    while len(ends) < _MOST_MESSAGES and _START_LINE.match(text, position, limit):
        end = measure(text, position, limit).end
        if end is None or end > limit:
            break
        counted = counted or end - position == size
        ends.append(end)
        position = end
    return tuple(ends) if counted else ()
