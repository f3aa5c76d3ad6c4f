"""Link, IP and transport headers of captured packets, and IP fragments put together."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from struct import unpack_from

UDP, TCP = 17, 6
_FRAGMENT, _SKIPPED_HEADERS = 44, frozenset({0, 43, 51, 60})
_ETHERNET, _NULL, _RAW, _LOOP, _SLL, _IPV4, _IPV6, _SLL2 = 1, 0, 101, 108, 113, 228, 229, 276
_RAW_LINKS = frozenset({_RAW, _IPV4, _IPV6, 12, 14})
_IP_TYPES = frozenset({0x0800, 0x86DD})
_VLAN_TYPES = frozenset({0x8100, 0x88A8, 0x9100})
_PPPOE = 0x8864
_DATAGRAMS_HELD, _LARGEST = 256, 65_535


@dataclass(frozen=True, slots=True)
class TransportSegment:
    """What a UDP datagram or TCP segment carries. `sequence` and `flags` are TCP's."""

    protocol: int
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes
    sequence: int = 0
    flags: int = 0


@dataclass(slots=True)
class _Pieces:
    parts: dict[int, bytes] = field(default_factory=dict)
    total: int | None = None


def ip_packet(link: int, data: bytes) -> bytes:
    """The IP packet in a captured one of link type `link` (DLT value); empty where it is none."""
    if link in _RAW_LINKS:
        return data
    if link in {_NULL, _LOOP}:
        return data[4:]
    if link == _ETHERNET:
        return _by_type(data, 12)
    if link == _SLL:
        return _by_type(data, 14)
    if link == _SLL2:
        return data[20:] if int.from_bytes(data[:2], "big") in _IP_TYPES else b""
    return b""


def _by_type(data: bytes, at: int) -> bytes:
    kind = int.from_bytes(data[at : at + 2], "big")
    while kind in _VLAN_TYPES:
        at += 4
        kind = int.from_bytes(data[at : at + 2], "big")
    if kind == _PPPOE:
        return data[at + 10 :]
    return data[at + 2 :] if kind in _IP_TYPES else b""


class PacketReader:
    """Reads IP packets one after another; holds fragments of a bounded number of datagrams."""

    def __init__(self) -> None:
        self._held: dict[tuple[bytes, int], _Pieces] = {}

    def segment(self, packet: bytes) -> TransportSegment | None:
        """The UDP or TCP payload of an IP packet, once all fragments of it are there; None for anything else."""
        version = packet[0] >> 4 if packet else 0
        if version == 4 and len(packet) >= 20:
            return self._ipv4(packet)
        if version == 6 and len(packet) >= 40:
            return self._ipv6(packet)
        return None

    def _ipv4(self, packet: bytes) -> TransportSegment | None:
        header = (packet[0] & 15) * 4
        total = int.from_bytes(packet[2:4], "big") or len(packet)  # 0: the network card divides it
        data = packet[header:total]
        identity, offset = unpack_from(">HH", packet, 4)
        protocol = packet[9]
        if offset & 0x3FFF:
            key = (packet[12:20] + bytes((protocol,)), identity)
            whole = self._join(key, (offset & 0x1FFF) * 8, data, more=bool(offset & 0x2000))
            if whole is None:
                return None
            data = whole
        return _transport(protocol, packet[12:16], packet[16:20], data)

    def _ipv6(self, packet: bytes) -> TransportSegment | None:
        following, data = packet[6], packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
        source, target = packet[8:24], packet[24:40]
        while following in _SKIPPED_HEADERS and len(data) >= 8:
            size = (data[1] + 2) * 4 if following == 51 else (data[1] + 1) * 8
            following, data = data[0], data[size:]
        if following == _FRAGMENT and len(data) >= 8:
            offset, identity = unpack_from(">HI", data, 2)
            whole = self._join((source + target, identity), offset & 0xFFF8, data[8:], more=bool(offset & 1))
            if whole is None:
                return None
            following, data = data[0], whole
        return _transport(following, source, target, data)

    def _join(self, key: tuple[bytes, int], offset: int, data: bytes, *, more: bool) -> bytes | None:
        if key not in self._held and len(self._held) >= _DATAGRAMS_HELD:
            del self._held[next(iter(self._held))]
        pieces = self._held.setdefault(key, _Pieces())
        if offset + len(data) <= _LARGEST:
            pieces.parts[offset] = data
        if not more:
            pieces.total = offset + len(data)
        whole = b"".join(part for _, part in sorted(pieces.parts.items()))
        if len(whole) != pieces.total:
            return None
        del self._held[key]
        return whole


def _transport(protocol: int, source: bytes, target: bytes, data: bytes) -> TransportSegment | None:
    if protocol not in {UDP, TCP} or len(data) < (8 if protocol == UDP else 20):
        return None
    ports = unpack_from(">HH", data)
    ends = (_address(source), ports[0]), (_address(target), ports[1])
    if protocol == UDP:
        size = int.from_bytes(data[4:6], "big") or len(data)
        return TransportSegment(UDP, *ends, data[8:size])
    begin = (data[12] >> 4) * 4
    return TransportSegment(TCP, *ends, data[begin:], int.from_bytes(data[4:8], "big"), data[13])


@lru_cache(maxsize=4096)  # a capture's packets are between a few
def _address(packed: bytes) -> str:
    return str(ip_address(packed))
