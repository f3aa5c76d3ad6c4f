"""Asterisk's pjsip logger: the line `<--- Received SIP response (377 bytes) from UDP:... --->`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from redirectd.dialects.envelope import LogEntry, Writer
from redirectd.dialects.extent import carve, find_message
from redirectd.dialects.frame import Direction, Frame, Peer
from redirectd.dialects.pjsip_packet import message_ends
from redirectd.dialects.window import Window

HEAD = b"<--- "
_HEADER = re.compile(
    rb"<--- (Received|Transmitting) SIP (?:request|response) \((\d{1,6}) bytes\) (?:from|to) "
    rb"([A-Za-z0-9-]{2,8}):(\[[0-9A-Fa-f:.%a-z]{2,64}\]|[^\s:\[\]]{1,64}):(\d{1,5}) --->"
)


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A header line: its position and end, and the message's exact size in bytes as Asterisk counted it."""

    start: int
    end: int
    size: int
    direction: Direction
    peer: Peer

    @property
    def of_stream(self) -> bool:
        """Whether the message was read from a connection, where more can have come with it (`pjsip_packet`)."""
        return self.direction is Direction.RECEIVED and self.peer.transport != "udp"


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


def read_block(entry: LogEntry, dialect: str) -> Frame | None:
    """The message of a block that stands whole in one log entry (JSON, escaped syslog).

    A header behind a start line is text within a message that another program dumped.
    """
    text = entry.text
    header = read_header(text, text.find(HEAD)) if HEAD in text else None
    if header is None or find_message(text, 0, header.start) >= 0:
        return None
    begin = header.end + 1
    payload = text[begin : begin + header.size]
    ends = message_ends(text, begin, len(text), header.size) if header.of_stream else ()
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
