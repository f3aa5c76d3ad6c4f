"""Writing a message as a HEPv3 datagram behind its length, so that what can't be searched in place can be."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from struct import pack

from redirectd.dialects.frame import Frame, Peer
from redirectd.dialects.hep3 import MAGIC

LARGEST_PAYLOAD = 65_000
"""HEP counts a whole datagram in 16 bits; a longer message is cut, which its Content-Length then shows."""

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


def encode_hep(frame: Frame) -> bytes:
    """Four bytes of length, big-endian, and the datagram (the framing that `HepFile` reads)."""
    chunks = [_chunk(2, bytes([_PROTOCOLS.get(frame.peer.transport, 0) if frame.peer else 0]))]
    if frame.peer is not None:
        chunks += _place(frame.peer, 3)
    if frame.local is not None:
        chunks += _place(frame.local, 4)
    seconds, _, fraction = frame.stamp.partition(".")
    if seconds.isdigit():
        chunks.append(_chunk(9, pack(">I", int(seconds) & 0xFFFFFFFF)))
        chunks.append(_chunk(10, pack(">I", int((fraction + "000000")[:6]) if fraction.isdigit() else 0)))
    chunks += [_chunk(11, b"\x01"), _chunk(15, frame.payload[:LARGEST_PAYLOAD])]
    body = b"".join(chunks)
    datagram = MAGIC + pack(">H", 6 + len(body)) + body
    return pack(">I", len(datagram)) + datagram


def _chunk(kind: int, value: bytes) -> bytes:
    return pack(">HHH", 0, kind, 6 + len(value)) + value


@lru_cache(maxsize=4096)  # a capture's packets are between a few
def _place(peer: Peer, kind: int) -> tuple[bytes, ...]:
    """Address and port; `kind` is 3 for the source and 4 for the destination (5 and 6 for IPv6, 7 and 8 for ports)."""
    address = ip_address(peer.address)
    place = _chunk(kind if address.version == 4 else kind + 2, address.packed)
    return (place,) if peer.port is None else (place, _chunk(kind + 4, pack(">H", peer.port)))
