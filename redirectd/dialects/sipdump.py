"""`sipdump`: the `.data` files of Kamailio's sipdump module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from redirectd.dialects.extent import measure, open_end, said_end
from redirectd.dialects.frame import Direction, Frame, Framed, Glimpse, Incomplete, Peer
from redirectd.dialects.framing import Ending, Grammar, entry_around, find_ahead
from redirectd.dialects.plain import HEADERS, STATUS_183_LINE, Identity
from redirectd.dialects.window import REACH, Window

_RULE = b"====================\ntag: "
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
    begin: int
    tag: bytes
    fields: bytes


class SipdumpRecords(Grammar[DumpHead]):
    """See `Grammar`: a rule and fields; the end rule where Content-Length says, else the first one."""

    def next_head(self, window: Window, at: int, stop: int, low: int = 0) -> DumpHead | None:
        """See `Grammar.next_head`."""
        while (mark := find_ahead(window, _RULE, at, stop)) >= 0:
            match = _HEAD.match(window, mark, mark + _HEAD_REACH)
            if match is not None:
                return DumpHead(mark, match.end(), match[1], match[2])
            at = mark + 1
        return None

    def ending(self, window: Window, head: DumpHead, *, final: bool) -> Ending:
        """See `Grammar.ending`."""
        limit = min(len(window), head.begin + REACH)
        following = self.next_head(window, head.begin, limit, head.begin)
        high = following.start if following is not None else limit
        extent = measure(window, head.begin, high)
        begin = max(extent.body, head.begin)
        said = said_end(extent)
        sure = 0 <= said < high and window.startswith(_END, said)
        end = said if sure else find_ahead(window, _END, begin, limit)
        lands = not sure and _lands(window, said)
        claimed = said + len(_END) if lands else head.begin + REACH
        if not 0 <= end < high:
            waits = following is None and limit == len(window) and not final
            last = high if following is not None or waits else open_end(window, head.begin, high, extent)
            return Ending(last, last, claimed=0 if waits else claimed, cut=True, waits=waits, lands=lands)
        behind = end + len(_END)
        sure = sure and (following is None or following.start == behind)
        cut = extent.body < 0 or (extent.end is not None and extent.end > end)
        return Ending(end, behind, claimed=0 if sure else claimed, cut=cut, lands=lands)


def _lands(window: Window, said: int) -> bool:
    """Whether an end rule and the next head are right where an entry says that it ends."""
    behind = said + len(_END)
    return said >= 0 and window.startswith(_END, said) and _HEAD.match(window, behind, behind + _HEAD_REACH) is not None


RECORDS = SipdumpRecords()


class Sipdump:
    """`tag: rcv` and `tag: snd` give the direction. Without a length field, Content-Length decides the end."""

    name: ClassVar[str] = "sipdump"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    grammar: ClassVar[Grammar[Any]] = RECORDS
    reads_lines: ClassVar[bool] = False
    glimpsed: ClassVar[bytes] = b"SIP/2.0 183"

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_around(window, RECORDS, at, final=final)
        if entry is None:
            return None
        head, ending = entry.head, entry.ending
        if ending.waits and not final:
            return Incomplete(head.start)
        fields = dict(reversed(_FIELD.findall(head.fields)))  # the first of a name counts
        source, target = _peers(fields)
        received = head.tag == b"rcv"
        return Frame(
            start=head.start,
            end=ending.behind,
            payload=bytes(window[head.begin : ending.message]),
            dialect=self.name,
            direction=Direction.RECEIVED if received else Direction.SENT,
            peer=source if received else target,
            local=target if received else source,
            stamp=_text(fields, b"time"),
            cut=ending.cut,
            authenticity=entry.authenticity,
        )

    def glimpse(self, window: Window, at: int) -> Glimpse | None:
        """See `Glimpsing.glimpse`: a plain answer that was received, is whole, and lies in no other's body."""
        entry = entry_around(window, RECORDS, at, final=False)
        if entry is None or entry.head.begin != at or entry.head.tag != b"rcv" or entry.doubtful:
            return None
        end, ending = entry.ending.message, entry.ending
        if ending.cut or ending.waits or ending.claimed > ending.behind:
            return None
        message = _ANSWER.match(window, at, end)
        if message is None:
            return None
        branch, call_id, cseq, method = message.groups()
        return Glimpse(entry.head.start, end + len(_END), Identity(branch, call_id, int(cseq), method), at)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


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
