"""Asterisk's pjsip logger: the line `<--- Received SIP response (377 bytes) from UDP:... --->`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from redirectd.dialects.envelope import LogEntry, Writer
from redirectd.dialects.extent import carve, find_message, measure
from redirectd.dialects.frame import Direction, Frame, Peer
from redirectd.dialects.window import Window

HEAD = b"<--- "
_HEADER = re.compile(
    rb"<--- (Received|Transmitting) SIP (?:request|response) \((\d{1,6}) bytes\) (?:from|to) "
    rb"([A-Za-z0-9-]{2,8}):(\[[0-9A-Fa-f:.%a-z]{2,64}\]|[^\s:\[\]]{1,64}):(\d{1,5}) --->"
)
_MOST_MESSAGES = 128
_START_LINE = re.compile(
    rb"SIP/2\.0 [1-6]\d\d[ \r\n]|[A-Z][A-Z0-9_-]{1,31} [a-zA-Z][a-zA-Z0-9+.-]{1,31}:[^ \r\n]{1,4096} SIP/2\.0\r?\n"
)


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A header line: its position and end, and the message's exact size in bytes as Asterisk counted it."""

    start: int
    end: int
    size: int
    direction: Direction
    peer: Peer


def read_header(text: Window, at: int) -> BlockHeader | None:
    """The block header that begins exactly at `at`."""
    match = _HEADER.match(text, at)
    if match is None:
        return None
    return BlockHeader(
        start=at,
        end=match.end(),
        size=int(match[2]),
        direction=Direction.RECEIVED if match[1] == b"Received" else Direction.SENT,
        peer=Peer(match[3].decode().lower(), match[4].decode().strip("[]"), int(match[5])),
    )


def of_stream(direction: Direction, peer: Peer) -> bool:
    """Whether a block's message was read from a connection, where more can have come with it (`message_ends`)."""
    return direction is Direction.RECEIVED and peer.transport != "udp"


def message_ends(text: Window, begin: int, limit: int, size: int) -> tuple[int, ...]:
    """Where the messages from `begin` on end, by their Content-Length, which a stream needs (RFC 3261 18.3).

    A block for TCP, TLS or WebSocket shows all that was read at once, and its count is that of one message: Asterisk 16
    logs each message of a stream so. Empty where no message has the `size` that the block's header gives.
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


def read_block(entry: LogEntry, dialect: str) -> Frame | None:
    """The message of a block that is whole in one log entry (JSON, escaped syslog).

    A header behind a start line is text within a message that another program dumped.
    """
    text = entry.text
    header = read_header(text, text.find(HEAD)) if HEAD in text else None
    if header is None or find_message(text, 0, header.start) >= 0:
        return None
    begin = header.end + 1
    payload = text[begin : begin + header.size]
    ends = message_ends(text, begin, len(text), header.size) if of_stream(header.direction, header.peer) else ()
    for first, end in pairwise((begin, *ends)):
        if end - first == header.size:
            payload = text[first:end]
            break
    cut = False
    if len(payload) < header.size:
        payload, cut = carve(text, begin, stripped=entry.writer is Writer.JOURNAL and not entry.cut)
    return Frame(
        start=entry.start,
        end=entry.end,
        payload=payload,
        dialect=dialect,
        direction=header.direction,
        peer=header.peer,
        stamp=entry.stamp,
        cut=cut or (entry.cut and len(payload) < header.size),
    )
