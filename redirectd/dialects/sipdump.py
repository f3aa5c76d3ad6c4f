"""`sipdump`: the `.data` files of Kamailio's sipdump module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ClassVar

from redirectd.dialects.enclosure import body_reaches, lowest, outermost
from redirectd.dialects.extent import measure
from redirectd.dialects.frame import Direction, Frame, Framed, Glimpse, Incomplete, Peer
from redirectd.dialects.plain import HEADERS, STATUS_183_LINE, Identity
from redirectd.dialects.window import REACH, Window

_RULE = b"====================\ntag: "
_MARK = re.compile(_RULE)
_MARK_LENGTH = len(_RULE)
_HEAD = re.compile(
    rb"====================\ntag: (rcv|snd)\n((?:[a-z]{2,16}: [^\n]{0,128}\n){4,16})~~~~~~~~~~~~~~~~~~~~\n"
)
_FIELD = re.compile(rb"([a-z]{2,16}): ([^\n]{0,128})\n")
_HEAD_REACH = 1024
_END = b"||||||||||||||||||||\n"
_ANSWER = re.compile(STATUS_183_LINE + HEADERS)


@dataclass(frozen=True, slots=True)
class DumpHead:
    """The lines before a message: bounds, direction, the fields."""

    start: int
    end: int
    tag: bytes
    fields: bytes


class Sipdump:
    """`tag: rcv` and `tag: snd` tell the direction. There is no length field, so Content-Length decides the end."""

    name: ClassVar[str] = "sipdump"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    glimpsed: ClassVar[bytes] = b"SIP/2.0 183"

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        nearest = _nearest(window, at)
        if nearest is None:
            return None
        head, low = nearest, lowest(window, nearest.end)
        if body_reaches(window, low, nearest.start):
            marks = (mark.start() for mark in _MARK.finditer(window, low, nearest.start))
            head = outermost(nearest, marks, partial(_read, window), partial(_told_end, window))
        limit = min(len(window), head.end + REACH)
        message_end, cut = _message_end(window, head, limit)
        if message_end < 0 and limit == len(window) and not final:
            return Incomplete(head.start)
        behind = limit if message_end < 0 else message_end + len(_END)
        if at >= behind:
            return None
        fields = dict(reversed(_FIELD.findall(head.fields)))  # the first of a name counts
        source, target = _peers(fields)
        received = head.tag == b"rcv"
        return Frame(
            start=head.start,
            end=behind,
            payload=bytes(window[head.end : message_end if message_end >= 0 else limit]),
            dialect=self.name,
            direction=Direction.RECEIVED if received else Direction.SENT,
            peer=source if received else target,
            local=target if received else source,
            stamp=_text(fields, b"time"),
            cut=cut,
        )

    def glimpse(self, window: Window, at: int) -> Glimpse | None:
        """See `Glimpsing.glimpse`: a plain answer that was received, stands whole, and lies in no other's body."""
        mark = window.rfind(_RULE, max(0, at - _HEAD_REACH), at)
        head = _HEAD.match(window, mark, at) if mark >= 0 else None
        if head is None or head.end() != at or head[1] != b"rcv":
            return None
        end = measure(window, at, min(len(window), at + REACH)).end
        if end is None or not window.startswith(_END, end) or body_reaches(window, lowest(window, at), mark):
            return None
        message = _ANSWER.match(window, at, end)
        if message is None:
            return None
        branch, call_id, cseq, method = message.groups()
        return Glimpse(mark, end + len(_END), Identity(branch, call_id, int(cseq), method), at)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


def _nearest(window: Window, at: int) -> DumpHead | None:
    """The last head that begins at or before `at`; `at` may stand in the head itself."""
    low, stop = max(0, at - REACH - _HEAD_REACH), min(len(window), at + _MARK_LENGTH)
    while (mark := window.rfind(_RULE, low, stop)) >= 0:
        head = _read(window, mark)
        if head:
            return head
        stop = mark + len(_RULE) - 1
    return None


def _read(window: Window, mark: int) -> DumpHead | None:
    match = _HEAD.match(window, mark, mark + _HEAD_REACH)
    return DumpHead(mark, match.end(), match[1], match[2]) if match else None


def _told_end(window: Window, head: DumpHead) -> int:
    """Where Content-Length says that the record ends, if the rule stands there."""
    extent = measure(window, head.end, min(len(window), head.end + REACH))
    if extent.end is not None and window.startswith(_END, extent.end):
        return extent.end + len(_END)
    return head.end


def _message_end(window: Window, head: DumpHead, limit: int) -> tuple[int, bool]:
    """End of the message (-1: not in reach), and whether it is shorter than its Content-Length."""
    extent = measure(window, head.end, limit)
    if extent.end is not None and window.startswith(_END, extent.end):
        return extent.end, False
    begin = extent.body if 0 <= extent.body < limit else head.end
    first = window.find(_END, begin, limit)
    whole = first >= 0 and extent.body >= 0 and (extent.end is None or extent.end <= first)
    return first, not whole


def _text(fields: dict[bytes, bytes], key: bytes) -> str:
    return fields.get(key, b"").decode("ascii", "replace").strip()


def _peers(fields: dict[bytes, bytes]) -> tuple[Peer | None, Peer | None]:
    transport = _text(fields, b"proto").partition(" ")[0].lower()
    return (
        _peer(transport, _text(fields, b"srcip"), _text(fields, b"srcport")),
        _peer(transport, _text(fields, b"dstip"), _text(fields, b"dstport")),
    )


@lru_cache(maxsize=256)  # few send most
def _peer(transport: str, address: str, port: str) -> Peer | None:
    if not address:
        return None
    return Peer(
        transport, address.strip("[]"), int(port) if port.isascii() and port.isdigit() and len(port) < 6 else None
    )
