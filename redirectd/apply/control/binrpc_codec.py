"""The bytes of Kamailio's binrpc, as its ctl module (5.6) speaks it.

A packet: magic and version ``A1``, a byte of flags and sizes, the body's length, a cookie that the answer repeats,
the body. A value: one byte of size and type, then its bytes; a size over 7 is written as the number of bytes of
the real size behind it. Structures open with ``03``, close with ``83``, and name each member by a value of type 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from redirectd.plan.target import Reply

MAGIC = 0xA1
_FAULT = 3  # the flags' nibble of an answer that is an error
_INT, _STRING, _DOUBLE, _STRUCT, _ARRAY, _NAME, _BYTES = range(7)
_MAX_DEPTH = 32


class BinRpcError(ValueError):
    """Bytes that are no binrpc."""


@dataclass(frozen=True, slots=True)
class PacketHead:
    """The head of a packet: `tail` bytes of length and cookie follow it."""

    is_fault: bool
    length_size: int
    cookie_size: int

    @property
    def tail(self) -> int:
        """Bytes between these two and the body."""
        return self.length_size + self.cookie_size


def read_head(two: bytes) -> PacketHead:
    """Read a packet's first two bytes."""
    if two[0] != MAGIC:
        raise BinRpcError("no binrpc answer")
    return PacketHead(two[1] >> 4 == _FAULT, (two[1] >> 2 & 3) + 1, (two[1] & 3) + 1)


def read_tail(head: PacketHead, tail: bytes, cookie: bytes) -> int:
    """Give the body's length; BinRpcError if the answer's cookie is not the question's."""
    if int.from_bytes(tail[head.length_size :], "big") != int.from_bytes(cookie, "big"):
        raise BinRpcError("the answer to another question")
    return int.from_bytes(tail[: head.length_size], "big")


def request(method: str, args: tuple[str | int, ...], cookie: bytes) -> bytes:
    """Write a request; `cookie` is 1 to 4 bytes."""
    body = _string(method) + b"".join(_integer(arg) if isinstance(arg, int) else _string(arg) for arg in args)
    length = _big_endian(len(body))
    return bytes([MAGIC, (len(length) - 1) << 2 | len(cookie) - 1]) + length + cookie + body


def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape") + b"\0"
    if len(raw) < 8:
        return bytes([len(raw) << 4 | _STRING]) + raw
    size = _big_endian(len(raw))
    return bytes([0x80 | len(size) << 4 | _STRING]) + size + raw


def _integer(value: int) -> bytes:
    raw = _big_endian(value) if value else b""
    return bytes([len(raw) << 4 | _INT]) + raw


def _big_endian(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def read_body(body: bytes) -> list[Reply]:
    """Read a packet's values. A structure with a name twice becomes a list of structures with one name each."""
    reader = _Reader(body)
    values: list[Reply] = []
    while not reader.done:
        values.append(reader.value(0))
    return values


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._body)

    def value(self, depth: int) -> Reply:
        kind, size, closes = self._mark()
        if closes or kind == _NAME:
            raise BinRpcError("a closing mark or a name where a value should be")
        if kind == _STRUCT and depth < _MAX_DEPTH:
            return self._struct(depth)
        if kind == _ARRAY and depth < _MAX_DEPTH:
            return self._array(depth)
        raw = self._take(size)
        if kind in {_INT, _DOUBLE}:
            number = int.from_bytes(raw, "big", signed=len(raw) == 4)
            return number / 1000 if kind == _DOUBLE else number
        if kind in {_STRING, _BYTES}:
            return raw.removesuffix(b"\0").decode("utf-8", "surrogateescape")
        raise BinRpcError(f"a value of type {kind}")

    def _struct(self, depth: int) -> Reply:
        members: list[tuple[str, Reply]] = []
        while True:
            kind, size, closes = self._mark()
            if closes and kind == _STRUCT:
                return as_struct(members)
            if kind != _NAME:
                raise BinRpcError("a structure's member without a name")
            name = self._take(size).removesuffix(b"\0").decode("utf-8", "surrogateescape")
            members.append((name, self.value(depth + 1)))

    def _array(self, depth: int) -> Reply:
        items: list[Reply] = []
        while True:
            at = self._at
            kind, _, closes = self._mark()
            if closes and kind == _ARRAY:
                return items
            self._at = at
            items.append(self.value(depth + 1))

    def _mark(self) -> tuple[int, int, bool]:
        byte = self._take(1)[0]
        kind, size = byte & 15, byte >> 4 & 7
        if not byte & 0x80:
            return kind, size, False
        if size == 0:
            return kind, 0, True
        return kind, int.from_bytes(self._take(size), "big"), False

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._body):
            raise BinRpcError("it ends in the middle of a value")
        raw = self._body[self._at : end]
        self._at = end
        return raw


def as_struct(members: list[tuple[str, Reply]]) -> Reply:
    """Make the value that JSON would have for these members: a list of records where a name occurs twice."""
    struct = dict(members)
    if len(struct) == len(members):
        return struct
    return [{name: value} for name, value in members]
