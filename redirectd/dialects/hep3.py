"""HEPv3 datagrams, as Kamailio's siptrace and Asterisk's res_hep send them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from struct import pack, unpack_from

from redirectd.dialects.frame import Direction, Frame, Peer

MAGIC = b"HEP3"
SMALLEST = 6
LARGEST_MESSAGE = 65_536
"""Bounds what a compressed payload may become."""

_TRANSPORTS = {6: "tcp", 17: "udp", 132: "sctp"}
_SIP = 1
_SOURCE, _TARGET, _SOURCE6, _TARGET6 = 3, 4, 5, 6
_PROTOCOL, _SOURCE_PORT, _TARGET_PORT, _SECONDS, _MICROS, _KIND = 2, 7, 8, 9, 10, 11
_PAYLOAD, _ZIPPED = 15, 16
PAYLOAD_HEAD = pack(">HH", 0, _PAYLOAD)
"""Vendor and kind of the chunk that holds the message; `LENGTH_BYTES` are between them and it."""
LENGTH_BYTES = 2
_WANTED = frozenset(
    {_PROTOCOL, _SOURCE, _TARGET, _SOURCE6, _TARGET6, _SOURCE_PORT, _TARGET_PORT, _SECONDS, _MICROS, _KIND}
    | {_PAYLOAD, _ZIPPED}
)


@dataclass(frozen=True, slots=True)
class Hep:
    """A captured message: `stamp` is epoch seconds with microseconds or ''. `cut`: it did not unpack whole."""

    payload: bytes
    source: Peer | None
    target: Peer | None
    stamp: str
    cut: bool


def decode_hep(datagram: bytes) -> Hep | None:
    """The SIP message in a HEPv3 datagram; None for what is not HEPv3, is torn, or carries no SIP.

    The sender's password (chunk 14) is never looked at. A destination address can be wrong: Asterisk fills
    in its own wildcard address for received packets.
    """
    if not datagram.startswith(MAGIC) or len(datagram) < SMALLEST:
        return None
    length = int.from_bytes(datagram[4:6], "big")
    if length > len(datagram):
        return None
    chunks = _chunks(datagram, length)
    if chunks is None or chunks.get(_KIND, b"\x01") != bytes((_SIP,)):
        return None
    payload, cut = chunks.get(_PAYLOAD), False
    if payload is None:
        payload, cut = _unzip(chunks.get(_ZIPPED, b""))
    if not payload:
        return None
    transport = _TRANSPORTS.get(_number(chunks.get(_PROTOCOL, b"")), "")
    return Hep(
        payload=payload,
        source=_peer(transport, chunks, (_SOURCE, _SOURCE6), _SOURCE_PORT),
        target=_peer(transport, chunks, (_TARGET, _TARGET6), _TARGET_PORT),
        stamp=f"{_number(chunks[_SECONDS])}.{_number(chunks.get(_MICROS, b'')):06d}" if _SECONDS in chunks else "",
        cut=cut,
    )


def _chunks(datagram: bytes, length: int) -> dict[int, bytes] | None:
    """Chunks of the generic vendor by type; None if one does not fit."""
    chunks: dict[int, bytes] = {}
    at = SMALLEST
    while at + 6 <= length:
        vendor, kind, size = unpack_from(">HHH", datagram, at)
        if size < 6 or at + size > length:
            return None
        if vendor == 0 and kind in _WANTED:
            chunks[kind] = datagram[at + 6 : at + size]
        at += size
    return chunks


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _unzip(packed: bytes) -> tuple[bytes, bool]:
    unpacker = zlib.decompressobj()
    try:
        payload = unpacker.decompress(packed, LARGEST_MESSAGE)
    except zlib.error:
        return b"", True
    return payload, not unpacker.eof


@lru_cache(maxsize=4096)  # a capture's messages are between a few
def _address(packed: bytes) -> str:
    return str(ip_address(packed))


def _peer(transport: str, chunks: dict[int, bytes], addresses: tuple[int, int], port: int) -> Peer | None:
    for kind in addresses:
        raw = chunks.get(kind, b"")
        if len(raw) in {4, 16}:
            return Peer(transport, _address(raw), _number(chunks[port]) if port in chunks else None)
    return None


def hep_frame(hep: Hep, start: int, end: int, dialect: str) -> Frame:
    """A frame of what `decode_hep` gave; who captured it is not known, so its direction is unknown."""
    return Frame(
        start=start,
        end=end,
        payload=hep.payload,
        dialect=dialect,
        direction=Direction.UNKNOWN,
        peer=hep.source,
        local=hep.target,
        stamp=hep.stamp,
        cut=hep.cut,
    )
