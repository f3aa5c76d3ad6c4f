"""A message that a Kamailio script wrote into one log entry, and where it came from, if its author plainly says so."""

from __future__ import annotations

import re
from functools import lru_cache

from redirectd.dialects.envelope import LogEntry, Writer
from redirectd.dialects.extent import carve, find_message
from redirectd.dialects.frame import Direction, Frame, Peer

ASTERISK_MARK = b"<--- "
SCRIPT_HEAD = re.compile(rb"(?:DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL|ALERT|BUG|EMERG): ")
_ADDRESS = (
    rb"(?:(udp|tcp|tls|ws|wss|sctp)[:/])?"
    rb"(\[[0-9A-Fa-f:.]{2,45}\]|\d{1,3}(?:\.\d{1,3}){3})[:/](\d{1,5})\b"
)
_FROM = re.compile(rb"\b(?:from|src|source)[ =:]{1,2}" + _ADDRESS, re.IGNORECASE)
_TO = re.compile(rb"\b(?:to|dst|destination)[ =:]{1,2}" + _ADDRESS, re.IGNORECASE)
_RECEIVED = re.compile(rb"\b(?:received|recv|rcv|incoming|onreply|reply_route)\b", re.IGNORECASE)
_SENT = re.compile(
    rb"\b(?:sent|snd|sending|outgoing|relayed|relaying|transmitting|generate_res_buf_from_sip_res)\b", re.IGNORECASE
)
"""The last is the function whose line shows a relayed answer at debug level 3 (R8)."""


def direction_and_peer(text: bytes) -> tuple[Direction, Peer | None]:
    """Direction and peer as the text before a message says; two different addresses say nothing."""
    return _direction_and_peer(text[-1024:])


@lru_cache(maxsize=256)  # a busy server writes the same before many messages of a second
def _direction_and_peer(text: bytes) -> tuple[Direction, Peer | None]:
    came, went = _peers(_FROM, text), _peers(_TO, text)
    sent = bool(_SENT.search(text))
    if len(went) == 1 and (sent or not came):
        return (Direction.SENT if sent else Direction.UNKNOWN), (went.pop() if sent else None)
    if sent:
        return Direction.SENT, None
    if came:
        return Direction.RECEIVED, came.pop() if len(came) == 1 else None
    return (Direction.RECEIVED if _RECEIVED.search(text) else Direction.UNKNOWN), None


def _peers(pattern: re.Pattern[bytes], text: bytes) -> set[Peer]:
    return {
        Peer((match[1] or b"").decode().lower(), match[2].decode().strip("[]"), int(match[3]))
        for match in pattern.finditer(text)
        if int(match[3]) <= 65_535
    }


def may_hold_dump(entry: LogEntry) -> bool:
    """Whether an entry whose end is not seen yet can turn out to be a dump."""
    if entry.wrapping.is_json:
        return True
    start = find_message(entry.text)
    return start >= 0 and ASTERISK_MARK not in entry.text[:start]


def read_dump(entry: LogEntry, dialect: str) -> Frame | None:
    """The message of the entry, with the peer where the author's text before it names one."""
    text = entry.text
    start = find_message(text)
    if start < 0 or b"\n" not in text[start:] or ASTERISK_MARK in text[:start]:
        return None
    direction, peer = direction_and_peer(text[:start])
    payload, cut = carve(text, start, stripped=entry.writer is Writer.JOURNAL and not entry.cut)
    return Frame(
        start=entry.start,
        end=entry.end,
        payload=payload,
        dialect=dialect,
        direction=direction,
        peer=peer,
        stamp=entry.stamp,
        cut=cut,
    )
