"""The HEP listener, with real captures sent over loopback."""

from __future__ import annotations

import os
import resource
import socket
import time
import zlib
from ipaddress import ip_network
from struct import pack
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.dialects.hep3 import decode_hep
from redirectd.errors import SourceError
from redirectd.sources.hep_listener import HepListener, HepStream, cleaned
from tests.peers.lab.loopback import own_address
from tests.peers.lab.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def asterisk(corpus: Path) -> list[bytes]:
    """Datagrams of Asterisk's capture: eight hex digits and LF before each, LF behind."""
    data, found = (corpus / "asterisk" / "ast22-hep3.raw").read_bytes(), []
    while data:
        size = int(data[:8], 16)
        found.append(data[9 : 9 + size])
        data = data[10 + size :]
    return found


def kamailio(corpus: Path) -> list[bytes]:
    """Datagrams of Kamailio's capture: four bytes of length before each."""
    return framed((corpus / "kamailio" / "siptrace-hep3.raw").read_bytes())


def framed(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def chunk(kind: int, value: bytes) -> bytes:
    return pack(">HHH", 0, kind, len(value) + 6) + value


def packet(*chunks: bytes) -> bytes:
    body = b"".join(chunks)
    return b"HEP3" + pack(">H", len(body) + 6) + body


@pytest.fixture
def listener() -> Iterator[HepListener]:
    listener = HepListener("capture", own_address(), 0)
    yield listener
    listener.close()


def received(listener: HepListener, count: int) -> list[bytes]:
    """Read and confirm until `count` datagrams came."""
    found: list[bytes] = []

    def enough() -> bool:
        segment = listener.poll()
        if segment is not None and segment.end is not None:
            found.extend(framed(segment.log.read(segment.start, segment.end - segment.start)))
            position = listener.position(segment, segment.end)
            assert position is not None
            listener.advance(position)
        return len(found) >= count

    wait_until(enough, f"{count} datagrams")
    return found


def address_of(listener: HepListener) -> tuple[str, int]:
    udp = next(key.fileobj for key in listener._selector.get_map().values() if key.fileobj is not listener._stop_read)
    assert isinstance(udp, socket.socket)
    host, port = udp.getsockname()
    return host, port


@pytest.mark.parametrize("capture", [asterisk, kamailio], ids=["asterisk", "kamailio"])
def test_real_captures_by_udp_and_tcp(listener: HepListener, corpus: Path, capture: object) -> None:
    """What Asterisk and Kamailio sent arrives whole and in order by UDP and by TCP, and decodes as before."""
    assert callable(capture)
    sent = capture(corpus)
    assert len(sent) > 10
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in sent:
            sender.sendto(datagram, address_of(listener))
    found = received(listener, len(sent))
    assert [decode_hep(d) for d in found] == [decode_hep(d) for d in sent]
    stream = b"".join(sent)
    with socket.create_connection(address_of(listener)) as connection:
        for at in range(0, len(stream), 1000):
            connection.sendall(stream[at : at + 1000])
    assert received(listener, len(sent)) == found
    assert (listener.malformed, listener.refused, listener.dropped) == (0, 0, 0)


def test_password_is_never_kept(listener: HepListener) -> None:
    """The password chunk is gone from the log, wherever it stood, and the rest is as it was sent."""
    payload = chunk(15, b"SIP/2.0 301 Moved Permanently\r\n\r\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(packet(chunk(14, b"hunter2"), payload, chunk(14, b"hunter2")), address_of(listener))
    assert received(listener, 1) == [packet(payload)]


def test_compressed_payload_is_inflated() -> None:
    """A zlib payload becomes a plain one, so that a search finds the answer in it."""
    text = b"SIP/2.0 301 Moved Permanently\r\n\r\n" * 50
    assert cleaned(packet(chunk(11, b"\x01"), chunk(16, zlib.compress(text)))) == packet(
        chunk(11, b"\x01"), chunk(15, text)
    )


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"HEP3",
        b"HEP2" + bytes(10),
        packet(chunk(15, b"x"))[:-1],
        packet(chunk(15, b"x")) + b"y",
        packet(chunk(16, b"no zlib")),
        packet(chunk(16, zlib.compress(bytes(10_000_000)))),
        packet(pack(">HHH", 0, 15, 5)),
        packet(pack(">HHH", 0, 15, 500) + b"x"),
        packet(b"abc"),
    ],
)
def test_malformed_is_counted_not_kept(listener: HepListener, bad: bytes) -> None:
    """What is not a whole HEPv3 datagram, or a bomb, is counted; the next good one arrives."""
    good = packet(chunk(15, b"SIP/2.0 200 OK\r\n\r\n"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(bad, address_of(listener))
        sender.sendto(good, address_of(listener))
    assert received(listener, 1) == [good]
    assert listener.malformed == 1


def test_senders_that_are_not_allowed() -> None:
    """Datagrams and connections from other networks are refused and counted."""
    listener = HepListener("capture", own_address(), 0, allowed=[ip_network("192.0.2.0/24")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(packet(chunk(15, b"x")), address_of(listener))
    with socket.create_connection(address_of(listener)) as connection:
        assert connection.recv(1) == b""
    wait_until(lambda: listener.refused == 2, "two refusals")
    assert listener.poll() is None
    listener.close()


def test_full_queue_drops_and_tells() -> None:
    """What the bounded queue can't take is counted and told as a gap until that is confirmed."""
    one = packet(chunk(15, b"x" * 1000))
    listener = HepListener("capture", own_address(), 0, queue=len(one) * 10)
    with socket.create_connection(address_of(listener)) as connection:
        connection.sendall(one * 15)
        wait_until(lambda: listener.dropped == 5, "five drops")
    segment = listener.poll()
    again = listener.poll()
    assert segment is not None
    assert again is not None
    assert segment.gaps == again.gaps
    assert segment.gaps[0].at_least == 5 * len(one)
    assert segment.end == 10 * (len(one) + 4)
    position = listener.position(again, segment.end)
    assert position is not None
    listener.advance(position)
    assert listener.poll() is None
    listener.close()


def test_what_the_kernel_drops_is_counted(listener: HepListener) -> None:
    """Datagrams that came while nobody took them from the socket are told with the next one, not lost in silence."""
    one = packet(chunk(15, b"x" * 8000))
    sent = 2000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        with listener._lock:  # the receiving thread waits for it behind its first datagram
            for _ in range(sent):
                sender.sendto(one, address_of(listener))
        wait_until(lambda: listener._queued > 0, "the thread goes on")
        found = len(received(listener, 1))

        def counted() -> bool:
            nonlocal found
            sender.sendto(packet(chunk(15, b"last")), address_of(listener))
            found += len(received(listener, 1))
            return listener.overrun > 0

        wait_until(counted, "the kernel's count")
    assert 0 < listener.overrun < sent
    assert listener.turned_away()["overrun"] == listener.overrun


def test_without_descriptors_a_connection_waits(listener: HepListener) -> None:
    """Where none is left for a connection the listener goes on, and takes it once there is one again."""
    good = packet(chunk(15, b"SIP/2.0 200 OK\r\n\r\n"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as connection:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            connection.connect(address_of(listener))
            time.sleep(0.3)  # the listener has met it by then
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        connection.sendall(good)
        assert received(listener, 1) == [good]


def test_a_listener_that_ended_is_not_taken_for_a_quiet_one(listener: HepListener) -> None:
    """A fault in the receiving thread is raised by the next poll, so that the source is opened anew and it is told."""
    listener._streams = None  # type: ignore[assignment]  # the fault
    with socket.create_connection(address_of(listener)):
        wait_until(lambda: not listener._thread.is_alive(), "the thread ends")
    with pytest.raises(SourceError, match="the HEP listener ended"):
        listener.poll()


def test_stream_without_hep_is_closed(listener: HepListener) -> None:
    """A connection that sends something else is closed and counted, the others live on."""
    good = packet(chunk(15, b"SIP/2.0 200 OK\r\n\r\n"))
    with (
        socket.create_connection(address_of(listener)) as wrong,
        socket.create_connection(address_of(listener)) as right,
    ):
        wrong.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert wrong.recv(1) == b""
        right.sendall(good)
        assert received(listener, 1) == [good]
    assert listener.malformed == 1


def test_address_that_is_not_ours() -> None:
    """An address that this host does not have is refused with what to do."""
    with pytest.raises(SourceError, match=r"192\.0\.2\.1"):
        HepListener("capture", "192.0.2.1", 0)


@given(values=st.lists(st.binary(max_size=60), max_size=8), cuts=st.lists(st.integers(1, 50), max_size=20))
def test_stream_is_cut_at_the_datagrams(values: list[bytes], cuts: list[int]) -> None:
    """However TCP cuts the bytes, the datagrams come out whole."""
    packets = [packet(chunk(15, value)) for value in values]
    data, stream, found = b"".join(packets), HepStream(), []
    for cut in [*cuts, len(data)]:
        found += stream.feed(data[:cut])
        data = data[cut:]
    found += stream.feed(data)
    assert found == packets


@given(st.binary(max_size=200))
def test_hostile_datagram_never_raises(data: bytes) -> None:
    """Any bytes are taken or refused, never an error, and what is taken decodes without its password."""
    for datagram in (data, packet(data)):
        kept = cleaned(datagram)
        assert kept is None or (kept.startswith(b"HEP3") and len(kept) == int.from_bytes(kept[4:6], "big"))
