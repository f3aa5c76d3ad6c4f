r"""Kamailio's siptrace table as text: db_text's file (`siptrace`), or rows as `\G` prints them (`siptrace-rows`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from redirectd.dialects.extent import measure
from redirectd.dialects.frame import Authenticity, Dialect, Frame, Peer, Unsearched
from redirectd.dialects.hep import HepFile

LONGEST_ROW = 262_144
"""Bytes of a row; what is longer is cut there."""

_TABLE = re.compile(rb"(?:[a-z_]{1,32}\([a-z,]{1,24}\) ?){4,64}\r?\n")
_COLUMN = re.compile(rb"([a-z_]{1,32})\(")
_FIELD = re.compile(rb"((?:[^\\:\n]++|\\.)*+)(:|\Z)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0"}
_ROW = re.compile(rb"^\*{10,40} \d{1,12}\. row \*{10,40}\r?\n", re.MULTILINE)
_MESSAGE = re.compile(rb"^ {0,24}msg: ?", re.MULTILINE)
_NAMED = re.compile(rb" {0,24}([a-z_]{1,32}): ?")
_BEHIND_MESSAGE = re.compile(rb"\r?\n {0,24}(?:method|status|fromip): ")
_PLACE = re.compile(r"(?:(udp|tcp|tls|ws|wss|sctp):)?(\[[0-9A-Fa-f:.]{2,45}\]|[0-9.]{7,15}):(\d{1,5})")


class CapturedSiptrace(HepFile):
    """Messages of such a table, once they are written as HEP datagrams."""

    name: ClassVar[str] = "siptrace"


class CapturedSiptraceRows(HepFile):
    """The same of printed rows, in which a message's text can look like the next row (R40)."""

    name: ClassVar[str] = "siptrace-rows"
    authenticity: ClassVar[Authenticity] = Authenticity.UNPROVEN


class Siptrace(Unsearched):
    """A line a row, fields between colons, and what a field holds of them escaped."""

    name: ClassVar[str] = "siptrace"
    captured: ClassVar[Dialect] = CapturedSiptrace()

    def recognises(self, head: bytes) -> bool:
        """See `StreamDialect.recognises`."""
        table = _TABLE.match(head)
        return table is not None and b"msg(" in table[0] and b"fromip(" in table[0]

    def messages(self, chunks: Iterable[bytes]) -> Iterator[Frame]:
        """See `StreamDialect.messages`."""
        lines = _lines(chunks)
        names = [match[1].decode() for match in _COLUMN.finditer(next(lines, (0, b""))[1])]
        for at, line in lines:
            fields = [_ESCAPE.sub(lambda one: _LETTERS.get(one[1], one[1]), one[1]) for one in _FIELD.finditer(line)]
            row = dict(zip(names, fields, strict=False))
            if row.get("msg"):
                yield _frame(row, at, at + len(line), self.name)


class SiptraceRows(Unsearched):
    """`*** 1. row ***` and `name: value` lines; a message ends where its Content-Length says, or before a name."""

    name: ClassVar[str] = "siptrace-rows"
    captured: ClassVar[Dialect] = CapturedSiptraceRows()

    def recognises(self, head: bytes) -> bool:
        """See `StreamDialect.recognises`."""
        return _ROW.match(head) is not None and _MESSAGE.search(head, 0, 8192) is not None

    def messages(self, chunks: Iterable[bytes]) -> Iterator[Frame]:
        """See `StreamDialect.messages`."""
        held, base = bytearray(), 0
        for chunk in chunks:
            held += chunk
            at = 0
            while (end := _row_end(held, at, final=False)) > at:
                yield from self._row(bytes(held[at:end]), base + at)
                at = end
            del held[:at]
            base += at
        at = 0
        while at < len(held):
            end = _row_end(held, at, final=True)
            yield from self._row(bytes(held[at:end]), base + at)
            at = end

    def _row(self, text: bytes, at: int) -> Iterator[Frame]:
        head = _ROW.match(text)
        position = head.end() if head else len(text)
        row: dict[str, bytes] = {}
        while position < len(text) and (named := _NAMED.match(text, position)) is not None:
            name = named[1].decode()
            end = _message_end(text, named.end()) if name == "msg" else text.find(b"\n", named.end())
            end = len(text) if end < 0 else end
            row.setdefault(name, text[named.end() : end])
            position = text.find(b"\n", end) + 1 or len(text)
        if row.get("msg"):
            yield _frame(row, at, at + len(text), self.name)


def _message_end(text: bytes, begin: int) -> int:
    """Where the message that begins at `begin` ends: as it says itself if a column follows there, else before one."""
    end_said = measure(text, begin).end
    if end_said is not None and end_said <= len(text) and _BEHIND_MESSAGE.match(text, end_said):
        return end_said
    behind = _BEHIND_MESSAGE.search(text, begin)
    return behind.start() if behind else len(text)


def _row_end(held: bytearray, at: int, *, final: bool) -> int:
    """Where the row at `at` ends; `at` where that is not known yet. What lies within its message is not a row."""
    limit = min(len(held), at + LONGEST_ROW)
    head = _ROW.match(held, at)
    if head is None:
        found = _ROW.search(held, at, limit)
        if found is not None and found.start() > at:
            return found.start()
        return limit if final or limit - at >= LONGEST_ROW else at
    low = head.end()
    message = _MESSAGE.search(held, low, limit)
    if message is not None:
        end_said = measure(held, message.end(), limit).end
        if end_said is not None and end_said < limit and _BEHIND_MESSAGE.match(held, end_said):
            low = end_said
    found = _ROW.search(held, low, limit)
    if found is not None:
        return found.start()
    return limit if final or limit - at >= LONGEST_ROW else at


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their offsets; a line longer than a row can be is cut."""
    held, base, is_rest = b"", 0, False  # what is left of a line that was cut is not a row
    for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            if not is_rest:
                yield base, line[:LONGEST_ROW]
            base += len(line) + 1
            is_rest = False
        if len(held) > LONGEST_ROW:
            if not is_rest:
                yield base, held[:LONGEST_ROW]
            base += len(held)
            held, is_rest = b"", True
    if held and not is_rest:
        yield base, held


def _frame(row: dict[str, bytes], start: int, end: int, dialect: str) -> Frame:
    message = row["msg"]
    end_said = measure(message, 0).end
    return Frame(
        start=start,
        end=end,
        payload=message,
        dialect=dialect,
        peer=_peer(row.get("fromip", b"")),
        local=_peer(row.get("toip", b"")),
        stamp=_epoch(row.get("time_stamp", b"").strip(), row.get("time_us", b"").strip()),
        cut=end_said is not None and end_said > len(message),
    )


def _epoch(seconds: bytes, micros: bytes) -> str:
    """Epoch seconds with a fraction; '' for a date of the database's own zone, which the text does not name."""
    if not (seconds.isdigit() and len(seconds) <= 11):
        return ""
    return f"{int(seconds)}.{int(micros):06d}" if micros.isdigit() and len(micros) <= 6 else str(int(seconds))


def _peer(text: bytes) -> Peer | None:
    match = _PLACE.fullmatch(text.decode("ascii", "replace").strip())
    if match is None or int(match[3]) > 65_535:
        return None
    return Peer(match[1] or "", match[2].strip("[]"), int(match[3]))
