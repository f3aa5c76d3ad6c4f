"""The two capture file formats: classic pcap (both byte orders, micro- and nanoseconds) and pcapng."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct

_CLASSIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_INTERFACE, _SIMPLE, _ENHANCED = 1, 3, 6
_RESOLUTION_OPTION = 9
_LARGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Packet:
    """One captured packet: bounds in the file, link type (DLT), epoch stamp with fraction ('' for none).

    `cut` says that the capture kept less than the packet had (its snapshot length).
    """

    start: int
    end: int
    link: int
    stamp: str
    data: bytes
    cut: bool


@dataclass(slots=True)
class _PcapSection:
    order: str = "<"
    interfaces: list[tuple[int, int]] = field(default_factory=list)


def is_capture(head: bytes) -> bool:
    """Whether a file that begins with `head` is a capture."""
    return head[:4] in _CLASSIC or head[:4] == _SECTION


def packets(chunks: Iterable[bytes]) -> Iterator[Packet]:
    """The packets of a capture file given in pieces. A torn or impossible end stops the reading."""
    source = _Bytes(chunks)
    magic = source.take(4)
    if magic in _CLASSIC:
        yield from _classic(source, *_CLASSIC[magic])
    elif magic == _SECTION:
        yield from _pcapng(source)


class _Bytes:
    """Exact amounts out of pieces of any size; `offset` is the position in the file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = bytearray()
        self._at = 0
        self.offset = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end of the file."""
        while len(self._held) - self._at < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            del self._held[: self._at]
            self._at = 0
            self._held += chunk
        taken = bytes(self._held[self._at : self._at + size])
        self._at += len(taken)
        self.offset += len(taken)
        return taken


def _classic(source: _Bytes, order: str, fractions: int) -> Generator[Packet]:
    rest, record = source.take(20), Struct(order + "IIII")
    if len(rest) < 20:
        return
    link = int.from_bytes(rest[16:20], "little" if order == "<" else "big") & 0xFFFF
    while True:
        start = source.offset
        head = source.take(16)
        if len(head) < 16:
            return
        seconds, fraction, kept, original = record.unpack(head)
        if kept > _LARGEST:
            return
        data = source.take(kept)
        stamp = _stamp(seconds * fractions + fraction, fractions)
        yield Packet(start, source.offset, link, stamp, data, cut=len(data) < original)


def _pcapng(source: _Bytes) -> Generator[Packet]:
    section, start, kind = _PcapSection(), 0, _SECTION
    while True:
        length_field = source.take(4)
        if kind == _SECTION:
            order_mark = source.take(4)
            section = _PcapSection("<" if order_mark == b"\x4d\x3c\x2b\x1a" else ">")
        if len(length_field) < 4:
            return
        (length,) = Struct(section.order + "I").unpack(length_field)
        held = 12 if kind == _SECTION else 8
        if not held + 4 <= length <= _LARGEST:
            return
        body = source.take(length - held)
        if len(body) < length - held:
            return
        if kind != _SECTION:
            yield from _block(section, kind, body[:-4], (start, source.offset))
        start, kind = source.offset, source.take(4)


def _block(section: _PcapSection, kind: bytes, body: bytes, bounds: tuple[int, int]) -> Generator[Packet]:
    number = int.from_bytes(kind, "little" if section.order == "<" else "big")
    if number == _INTERFACE and len(body) >= 8:
        (link,) = Struct(section.order + "H").unpack(body[:2])
        section.interfaces.append((link, _resolution(section.order, body[8:])))
    elif number == _ENHANCED and len(body) >= 20:
        index, high, low, kept, original = Struct(section.order + "IIIII").unpack(body[:20])
        if index < len(section.interfaces):
            link, fractions = section.interfaces[index]
            stamp = _stamp((high << 32) | low, fractions)
            yield Packet(*bounds, link, stamp, body[20 : 20 + kept], cut=kept < original)
    elif number == _SIMPLE and len(body) >= 4 and section.interfaces:
        (original,) = Struct(section.order + "I").unpack(body[:4])
        data = body[4 : 4 + original]
        yield Packet(*bounds, section.interfaces[0][0], "", data, cut=len(data) < original)


def _resolution(order: str, options: bytes) -> int:
    """Units in a second (option if_tsresol: a power of ten, or of two with the highest bit set)."""
    head, at = Struct(order + "HH"), 0
    while at + 4 <= len(options):
        code, size = head.unpack(options[at : at + 4])
        if code == _RESOLUTION_OPTION and size == 1 and at + 4 < len(options):
            value = options[at + 4]
            return 1 << (value & 0x7F) if value & 0x80 else 10 ** min(value, 18)
        if code == 0:
            break
        at += 4 + size + (-size % 4)
    return 1_000_000


def _stamp(units: int, fractions: int) -> str:
    seconds, rest = divmod(units, fractions)
    return f"{seconds}.{rest * 1_000_000 // fractions:06d}"
