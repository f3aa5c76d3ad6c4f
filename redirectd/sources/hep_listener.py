"""A HEPv3 listener: captured SIP sent here by the siptrace of Kamailio or the res_hep of Asterisk."""

from __future__ import annotations

import selectors
import socket
import sys
import threading
import time
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from struct import pack, unpack_from
from typing import TYPE_CHECKING, Any

from redirectd.dialects.hep3 import LARGEST_MESSAGE, MAGIC, SMALLEST
from redirectd.errors import SourceError
from redirectd.sources.log import Gap, LogSegment
from redirectd.sources.spool import SpoolLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_PASSWORD, _PAYLOAD, _ZIPPED = 14, 15, 16


def cleaned(datagram: bytes) -> bytes | None:
    """`datagram` without its password (chunk 14), and with a compressed payload (16) inflated into chunk 15.

    None for what is not a whole HEPv3 datagram, or does not inflate into one.
    """
    if not datagram.startswith(MAGIC) or stated_length(datagram) != len(datagram):
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


def stated_length(head: bytes | bytearray) -> int:
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
            length = stated_length(self._held)
            if not self._held.startswith(MAGIC) or length < SMALLEST:
                raise ValueError("no HEPv3 datagram begins here")
            if len(self._held) < length:
                break
            found.append(bytes(self._held[:length]))
            del self._held[:length]
        return found


QUEUE = 16 << 20
"""Bytes that wait for the reader; what comes beyond is dropped and counted."""

CONNECTIONS = 64
"""TCP connections at once; a further one is closed."""

_LARGEST = 65_536
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))
_TURN = 4 << 20  # bytes handed to the reader at once
_IDLE_SECONDS = 60  # until a silent TCP connection is asked whether it is still there
_OUT_OF_BREATH = 0.1

_SO_RXQ_OVFL = 40  # socket(7); Python has no name for it
_ROOM = socket.CMSG_SPACE(4)


@dataclass(frozen=True, slots=True)
class HepPosition:
    """A network brings nothing twice, so there is nothing to go back to; `offset` counts bytes since the start."""

    offset: int

    def to_dict(self) -> dict[str, Any]:
        """As kept in the database."""
        return {"offset": self.offset}


class HepListener:
    """Takes HEPv3 datagrams at `address` and `port`, by UDP and TCP, from `allowed` networks only.

    The log it gives holds each behind its length (four bytes, big-endian), as Kamailio's capture files do, without
    the password and with the payload inflated. A thread receives, so that a database that is slow costs queue
    and not datagrams; what the queue can't hold is dropped, counted and reported as a `Gap`.

    `fileno` is readable while something waits. Raises `SourceError` where it can't listen.
    """

    def __init__(
        self,
        name: str,
        address: str = "127.0.0.1",
        port: int = 9060,
        *,
        allowed: Sequence[IPv4Network | IPv6Network] = _LOOPBACK,
        queue: int = QUEUE,
    ) -> None:
        self.trouble: SourceError | None = None
        self.refused = 0
        """Datagrams and connections of senders that are not allowed, or one connection too many."""
        self.malformed = 0
        """Datagrams that are no HEPv3, or don't inflate."""
        self.dropped = 0
        """Datagrams that the full queue could not take."""
        self.overrun = 0
        """Datagrams that the kernel dropped before they could be taken from the socket; the next one reports them."""
        self._name = name
        self._allowed = tuple(allowed)
        self._bound = queue
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._lost = 0
        self._reported = 0
        self._ended = ""  # what ended the receiving thread, other than `close`
        self._lock = threading.Lock()
        self._log = SpoolLog(name, hold=True)
        self._confirmed = 0
        self._ready_read, self._ready_write = socket.socketpair()
        self._ready_read.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self._ready_write.setblocking(False)  # noqa: FBT003 - as above
        self._stop_read, self._stop_write = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stop_read, selectors.EVENT_READ)
        self._streams: dict[socket.socket, HepStream] = {}
        self.port = self._listen(address, port)
        self._thread = threading.Thread(target=self._receive, name=f"hep {name}", daemon=True)
        self._thread.start()

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Losses found and not confirmed yet."""
        lost = self._lost
        return (Gap(self._name, "the queue was full and datagrams were dropped", lost),) if lost else ()

    def fileno(self) -> int:
        """Readable while datagrams wait."""
        return self._ready_read.fileno()

    def poll(self) -> LogSegment | None:
        """What came, at most a few MiB at a time. Raises SourceError where nothing is received any more."""
        if not self._thread.is_alive():
            raise SourceError(self._name, f"the HEP listener ended: {self._ended}", "report this as a fault")
        with suppress(BlockingIOError):
            while self._ready_read.recv(4096):
                pass
        while self._log.ahead < _TURN:
            with self._lock:
                if not self._queue:
                    break
                datagram = self._queue.popleft()
                self._queued -= len(datagram)
            self._log.feed(len(datagram).to_bytes(4, "big") + datagram)
        gaps = self.gaps
        if self._log.end() == self._confirmed and not gaps:
            return None
        self._reported = sum(gap.at_least for gap in gaps)
        return LogSegment(self._log, self._confirmed, self._log.end(), final=False, gaps=gaps)

    def position(self, segment: LogSegment, offset: int) -> HepPosition | None:
        """How far the reader has got."""
        return HepPosition(offset) if segment.log is self._log else None

    def advance(self, position: HepPosition) -> None:
        """Confirm it."""
        self._confirmed = position.offset
        self._log.release(position.offset)
        with self._lock:
            self._lost -= self._reported
        self._reported = 0
        if self._queue:
            self._tell()

    def unread(self) -> int:
        """Bytes that wait, here and in the queue."""
        return self._log.end() - self._confirmed + self._queued

    def turned_away(self) -> Mapping[str, int]:
        """Datagrams by why they were not taken in; dropped ones are also reported as a gap of their size in bytes."""
        counts = {"refused": self.refused, "malformed": self.malformed, "dropped": self.dropped}
        return counts | {"overrun": self.overrun}

    def close(self) -> None:
        """Stop listening; what waits is given up."""
        self._stop_write.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        for end in (self._stop_write, self._ready_read, self._ready_write):
            end.close()

    # The receiving thread

    def _listen(self, address: str, port: int) -> int:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            listening = socket.socket(family, kind)
            try:
                if kind == socket.SOCK_STREAM:
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                else:
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                    listening.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
                listening.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    listening.listen(CONNECTIONS)
            except OSError as error:
                listening.close()
                where = f"HEP listener {address}:{port}"
                raise SourceError(where, error.strerror or str(error), "choose a free port of this host") from error
            listening.setblocking(False)  # noqa: FBT003 - the socket module's own signature
            self._selector.register(listening, selectors.EVENT_READ)
            port = listening.getsockname()[1]
        return port

    def _receive(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 - reported by the next poll, in the reader's thread
            self._ended = repr(error)
            self._tell()

    def _turn(self) -> bool:
        """Take what came; False once it shall stop."""
        for key, _ in self._selector.select():
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            if ready is self._stop_read:
                return False
            try:
                self._one(ready)
            except BlockingIOError:
                pass
            except OSError:
                # No descriptors left for a connection, or it was gone before it was taken: not to spin meanwhile.
                time.sleep(_OUT_OF_BREATH)
        return True

    def _one(self, ready: socket.socket) -> None:
        if ready.type == socket.SOCK_DGRAM:
            for _ in range(256):  # then the others' turn
                data, notes, _, sender = ready.recvmsg(_LARGEST, _ROOM)
                for level, kind, value in notes:
                    if (level, kind) == (socket.SOL_SOCKET, _SO_RXQ_OVFL):
                        self.overrun = int.from_bytes(value, sys.byteorder)
                if self._is_allowed(sender[0]):
                    self._keep(data)
        elif ready in self._streams:
            self._read_stream(ready)
        else:
            connection, sender = ready.accept()
            if not self._is_allowed(sender[0]):
                connection.close()
            elif len(self._streams) >= CONNECTIONS:
                self.refused += 1
                connection.close()
            else:
                connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
                # A sender that lost its power says no good-bye, and would hold its place for ever.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_SECONDS)
                self._streams[connection] = HepStream()
                self._selector.register(connection, selectors.EVENT_READ)

    def _read_stream(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_LARGEST)
            for datagram in self._streams[connection].feed(data):
                self._keep(datagram)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        except ValueError:
            self.malformed += 1
            data = b""
        if not data:
            self._selector.unregister(connection)
            del self._streams[connection]
            connection.close()

    def _is_allowed(self, sender: str) -> bool:
        address = ip_address(sender.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if any(mapped in network for network in self._allowed):
            return True
        self.refused += 1
        return False

    def _keep(self, data: bytes) -> None:
        datagram = cleaned(data)
        if datagram is None:
            self.malformed += 1
            return
        with self._lock:
            if self._queued + len(datagram) > self._bound:
                self.dropped += 1
                self._lost += len(datagram)
                return
            self._queue.append(datagram)
            self._queued += len(datagram)
        self._tell()

    def _tell(self) -> None:
        with suppress(BlockingIOError):
            self._ready_write.send(b"x")
