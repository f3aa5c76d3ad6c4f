"""Capture files and HEP datagrams, built here byte by byte, give back the messages that went in."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.dialects.frame import Direction, Frame, Peer, Unreadable
from redirectd.dialects.hep3 import decode_hep
from redirectd.dialects.registry import by_name, stream_for
from tests.dialects.strategies import messages
from tests.dialects.writers import chunk, hep, hep_hex

SOURCE, TARGET = "192.0.2.7", "192.0.2.1"
SOURCE6, TARGET6 = "2001:db8::7", "2001:db8::1"
LINKS = {
    1: bytes(12) + b"%s",
    113: b"\0\0\0\1\0\6" + bytes(8) + b"%s",
    276: b"%s\0\0" + bytes(16),
    0: b"\2\0\0\0",
    108: b"\0\0\0\2",
    101: b"",
}
ANSWER = b"SIP/2.0 301 M\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nContent-Length: 0\r\n\r\n"


def udp(payload: bytes) -> bytes:
    return pack(">HHHH", 5062, 5060, len(payload) + 8, 0) + payload


def tcp(payload: bytes, sequence: int, flags: int = 16) -> bytes:
    return pack(">HHIIBBHHH", 5062, 5060, sequence % (1 << 32), 0, 5 << 4, flags, 0, 0, 0) + payload


def ipv4(data: bytes, protocol: int, *, identity: int = 1, offset: int = 0, more: bool = False) -> bytes:
    flags = (0x2000 if more else 0) | offset // 8
    head = pack(">BBHHHBBH", 0x45, 0, 20 + len(data), identity, flags, 64, protocol, 0)
    return head + ip_address(SOURCE).packed + ip_address(TARGET).packed + data


def ipv6(data: bytes, protocol: int) -> bytes:
    return (
        pack(">IHBB", 6 << 28, len(data), protocol, 64) + ip_address(SOURCE6).packed + ip_address(TARGET6).packed + data
    )


def link(packet: bytes, kind: int = 1) -> bytes:
    ethertype = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    return LINKS[kind].replace(b"%s", ethertype) + packet


def pcap(packets: list[bytes], kind: int = 1, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    out = pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, kind)
    fraction = 123456 if magic == 0xA1B2C3D4 else 123456789
    for packet in packets:
        out += pack(order + "IIII", 1795365767, fraction, len(packet), len(packet)) + packet
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return pack(order + "II", kind, len(body) + 12) + body + pack(order + "I", len(body) + 12)


def pcapng(packets: list[bytes], order: str = "<") -> bytes:
    section = block(0x0A0D0D0A, pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    nanoseconds = pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
    out = section + block(1, pack(order + "HHI", 1, 0, 0) + nanoseconds, order) + block(99, b"other", order)
    units = 1795365767 * 10**9 + 123456789
    for packet in packets:
        head = pack(order + "IIIII", 0, units >> 32, units & 0xFFFFFFFF, len(packet), len(packet))
        out += block(6, head + packet, order)
    return out


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, size: int = 1 << 16) -> list[Frame]:
    stream = stream_for(data[:32])
    assert stream is not None
    assert stream.name == "pcap"
    return list(stream.messages(pieces(data, size)))


@pytest.mark.parametrize("kind", sorted(LINKS))
@pytest.mark.parametrize("six", [False, True])
def test_every_link_type_gives_the_message(kind: int, six: bool) -> None:
    """UDP over IPv4 and IPv6 behind Ethernet, both cooked headers, loopback and none; sender and time with it."""
    packet = ipv6(udp(ANSWER), 17) if six else ipv4(udp(ANSWER), 17)
    (frame,) = read(pcap([link(packet, kind)], kind))
    assert frame.payload == ANSWER
    assert frame.peer == Peer("udp", SOURCE6 if six else SOURCE, 5062)
    assert frame.local == Peer("udp", TARGET6 if six else TARGET, 5060)
    assert (frame.direction, frame.stamp, frame.cut) == (Direction.UNKNOWN, "1795365767.123456", False)


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize(
    "write",
    [
        pcap,
        lambda packets: pcap(packets, order=">"),
        lambda packets: pcap(packets, magic=0xA1B23C4D),
        lambda packets: pcap(packets, order=">", magic=0xA1B23C4D),
        pcapng,
        lambda packets: pcapng(packets, ">"),
    ],
    ids=["little", "big", "nano", "big-nano", "ng", "ng-big"],
)
def test_every_file_format_is_read_in_pieces_of_any_size(write: Callable[[list[bytes]], bytes], size: int) -> None:
    """Both byte orders, micro- and nanoseconds, pcapng with an unknown block between."""
    data = write([link(ipv4(udp(ANSWER), 17)), b"\xff" * 20, link(ipv4(udp(b"\r\n\r\n"), 17))])
    frames = read(data, size)
    assert [(frame.payload, frame.stamp) for frame in frames] == [(ANSWER, "1795365767.123456")]
    assert ANSWER in data[frames[0].start : frames[0].end]


@given(
    sent=st.lists(messages(), min_size=1, max_size=4), cuts=st.lists(st.integers(1, 200), min_size=1), data=st.data()
)
def test_tcp_messages_come_back_from_segments_in_any_near_order(
    sent: list[bytes], cuts: list[int], data: st.DataObject
) -> None:
    """A stream cut anywhere, with segments swapped and sent again, gives the same messages in order."""
    stream, start = b"".join(sent), (1 << 32) - 100
    segments: list[tuple[int, bytes]] = []
    at = 0
    while at < len(stream):
        size = cuts[len(segments) % len(cuts)]
        segments.append((start + 1 + at, stream[at : at + size]))
        at += size
    for index in range(0, len(segments) - 1, 2):
        if data.draw(st.booleans()):
            segments[index : index + 2] = [*reversed(segments[index : index + 2]), segments[index]]
    packets = [ipv4(tcp(b"", start, 2), 6), *(ipv4(tcp(part, sequence), 6) for sequence, part in segments)]
    frames = read(pcap([link(packet) for packet in packets]))
    assert [frame.payload for frame in frames] == sent
    assert {frame.peer for frame in frames} == {Peer("tcp", SOURCE, 5062)}


def test_capture_that_starts_in_a_connection_finds_the_next_message() -> None:
    """Without the connection's beginning the first whole start line begins the reading."""
    stream = b"a=sendrecv\r\n" + ANSWER
    frames = read(pcap([link(ipv4(tcp(stream, 5000), 6))]))
    assert [frame.payload for frame in frames] == [ANSWER]


@pytest.mark.parametrize("backwards", [False, True])
def test_fragments_of_a_large_datagram_are_put_together(backwards: bool) -> None:
    """An answer that IP divided is one message, whatever order its parts came in."""
    body = b"a=x\r\n" * 600
    message = ANSWER.replace(b"Length: 0", b"Length: %d" % len(body)) + body
    whole = udp(message)
    parts = [
        ipv4(whole[at : at + 1480], 17, identity=7, offset=at, more=at + 1480 < len(whole))
        for at in range(0, len(whole), 1480)
    ]
    frames = read(pcap([link(part) for part in (reversed(parts) if backwards else parts)]))
    assert [frame.payload for frame in frames] == [message]


def test_packet_that_the_capture_shortened_is_marked() -> None:
    """A snapshot length that cut the packet makes the frame a cut one."""
    packet = link(ipv4(udp(ANSWER), 17))
    kept = packet[:-20]
    data = pcap([]) + pack("<IIII", 1, 2, len(kept), len(packet)) + kept
    (frame,) = read(data)
    assert frame.cut
    assert ANSWER.startswith(frame.payload)


@given(data=st.binary(max_size=400), ng=st.booleans(), packet=st.binary(max_size=120))
def test_damaged_capture_raises_nothing(data: bytes, ng: bool, packet: bytes) -> None:
    """R25: any bytes behind a good beginning, or in a packet, are passed over."""
    good = (pcapng if ng else pcap)([link(ipv4(udp(ANSWER), 17)), link(b"\x45" + packet), link(b"\x60" + packet)])
    assert read(good + data)[0].payload == ANSWER


def test_compressed_hep_payload_is_unpacked_and_bounded() -> None:
    """A zlib payload (chunk 16) is read; one that unpacks to more than a datagram is cut, not swallowed."""
    packed = hep(b"", chunk(16, zlib.compress(ANSWER)))
    decoded = decode_hep(packed)
    assert decoded is not None
    assert (decoded.payload, decoded.cut) == (ANSWER, False)
    bomb = decode_hep(hep(b"", chunk(16, zlib.compress(b"A" * 10_000_000))))
    assert bomb is not None
    assert bomb.cut
    assert len(bomb.payload) == 65_536
    stream = stream_for(len(packed).to_bytes(4, "big") + packed)
    assert stream is not None
    assert [frame.payload for frame in stream.messages([len(packed).to_bytes(4, "big") + packed])] == [ANSWER]


def test_password_chunk_is_in_no_value() -> None:
    """The capture password is not kept anywhere."""
    assert "secret" not in repr(decode_hep(hep(ANSWER)))


@given(message=messages(), at=st.integers(6, 200), byte=st.integers(0, 255))
def test_damaged_hep_datagram_raises_nothing(message: bytes, at: int, byte: int) -> None:
    """R25: a datagram with any byte changed decodes to something or nothing."""
    datagram = bytearray(hep(message))
    datagram[at % len(datagram)] = byte
    decode_hep(bytes(datagram))
    decode_hep(bytes(datagram[: len(datagram) // 2]))


def test_torn_hep_datagram_is_kept_as_unreadable() -> None:
    """What looks like an answer and is torn off by the file's end is said to be unreadable."""
    log = hep_hex(ANSWER).log[:-30]
    framed = by_name("hep").frame(log, log.find(b"SIP/2.0 301"), final=True)
    assert isinstance(framed, Unreadable)
