"""SIP messages in a TCP byte stream (RFC 3261 18.3), segments in whatever order they were captured."""

from __future__ import annotations

from redirectd.dialects.extent import find_message, measure
from redirectd.dialects.packets import TransportSegment

_STREAMS_HELD, _BYTES_HELD, _SEGMENTS_HELD = 4096, 131_072, 64
_SYN, _RST, _WRAP = 2, 4, 1 << 32


class TcpDirection:
    """One direction of a connection: takes segments, gives whole messages."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._next: int | None = None
        self._early: dict[int, bytes] = {}

    def add(self, segment: TransportSegment) -> list[bytes]:
        """Take a segment and give the messages it completes. A gap that does not fill up is stepped over."""
        sequence, payload = segment.sequence, segment.payload
        if segment.flags & (_SYN | _RST):
            self._data.clear()
            self._early.clear()
            self._next = (sequence + 1) % _WRAP if segment.flags & _SYN else None
            sequence = (sequence + 1) % _WRAP
        if not payload:
            return []
        if self._next is None:
            self._next = sequence
        self._early[sequence] = payload
        self._take()
        if len(self._early) > _SEGMENTS_HELD:
            self._data.clear()
            self._next = min(self._early, key=self._ahead)
            self._take()
        return self._messages()

    def _ahead(self, sequence: int) -> int:
        """How far `sequence` is ahead of what is expected next; what was sent before is very far ahead."""
        return (sequence - (self._next or 0)) % _WRAP

    def _take(self) -> None:
        while self._next is not None and self._early:
            at = next((one for one in self._early if self._starts_by(one)), None)
            if at is None:
                return
            payload = self._early.pop(at)
            fresh = payload[(self._next - at) % _WRAP :]
            self._data += fresh
            self._next = (self._next + len(fresh)) % _WRAP

    def _starts_by(self, sequence: int) -> bool:
        """Whether a held segment begins at or before the expected byte: next in line, or sent again."""
        return self._ahead(sequence) == 0 or self._ahead(sequence) >= _WRAP // 2

    def _messages(self) -> list[bytes]:
        found: list[bytes] = []
        while True:
            start = find_message(self._data)
            if start < 0:
                if len(self._data) > _BYTES_HELD:
                    self._data.clear()
                return found
            extent = measure(self._data, start)
            end = extent.end if extent.end is not None else extent.body
            if extent.body < 0 or end > len(self._data):
                if len(self._data) - start <= _BYTES_HELD:
                    del self._data[:start]
                    return found
                end = start + 1
            else:
                found.append(bytes(self._data[start:end]))
            del self._data[:end]


class Streams:
    """All connections of a capture, a bounded number of them."""

    def __init__(self) -> None:
        self._streams: dict[tuple[tuple[str, int], tuple[str, int]], TcpDirection] = {}

    def add(self, segment: TransportSegment) -> list[bytes]:
        """See `Stream.add`."""
        key = (segment.source, segment.target)
        stream = self._streams.pop(key, None) or TcpDirection()
        if len(self._streams) >= _STREAMS_HELD:
            del self._streams[next(iter(self._streams))]
        self._streams[key] = stream
        return stream.add(segment)
