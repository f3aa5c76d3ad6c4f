"""HEPv3 as it comes from the network: what may be kept of a datagram, and where one ends in a stream."""

from __future__ import annotations

import zlib
from struct import pack, unpack_from

from redirectd.dialects.hep3 import LARGEST_MESSAGE, MAGIC, SMALLEST

_PASSWORD, _PAYLOAD, _ZIPPED = 14, 15, 16


def cleaned(datagram: bytes) -> bytes | None:
    """`datagram` without its password (chunk 14), and with a compressed payload (16) inflated into chunk 15.

    None for what is not a whole HEPv3 datagram, or does not inflate into one.
    """
    if not datagram.startswith(MAGIC) or told_length(datagram) != len(datagram):
        return None
    kept = []
    at = SMALLEST
    while at < len(datagram):
        if at + 6 > len(datagram):
            return None
        vendor, kind, size = unpack_from(">HHH", datagram, at)
        if size < 6 or at + size > len(datagram):
            return None
        if vendor == 0 and kind == _ZIPPED:
            payload = _inflated(datagram[at + 6 : at + size])
            if payload is None:
                return None
            kept.append(pack(">HHH", 0, _PAYLOAD, len(payload) + 6) + payload)
        elif (vendor, kind) != (0, _PASSWORD):
            kept.append(datagram[at : at + size])
        at += size
    body = b"".join(kept)
    length = SMALLEST + len(body)
    return MAGIC + pack(">H", length) + body if length < LARGEST_MESSAGE else None


def told_length(head: bytes | bytearray) -> int:
    """The length in the first six bytes of a datagram."""
    return int.from_bytes(head[4:6], "big")


def _inflated(packed: bytes) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        payload = unpacker.decompress(packed, LARGEST_MESSAGE - 12)
    except zlib.error:
        return None
    return payload if unpacker.eof and len(payload) < LARGEST_MESSAGE - 12 else None


class HepStream:
    """One TCP connection's bytes, cut into datagrams; holds no more than one unfinished one."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The datagrams that are whole by now; raises `ValueError` where no datagram begins, since it can't resync."""
        self._held += data
        found = []
        while len(self._held) >= SMALLEST:
            length = told_length(self._held)
            if not self._held.startswith(MAGIC) or length < SMALLEST:
                raise ValueError("no HEPv3 datagram begins here")
            if len(self._held) < length:
                break
            found.append(bytes(self._held[:length]))
            del self._held[:length]
        return found
