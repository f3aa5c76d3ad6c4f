"""A window over bytes that come only once (pipes, compressed files, journal, capture), in flat memory."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from redirectd.errors import SourceError
    from redirectd.sources.log import Log

BACK = 8 << 20
"""Bytes kept behind the reader: the farthest a request is looked for."""

_JOIN = 256 << 10  # small feeds are joined up to this size, so that a block is found quickly


class SpoolLog:
    """A `Log` over what `fill` gives (pulled when read) or what `feed` is handed (pushed).

    `fill` returns the next bytes, `b''` at the end. What lies more than `back` bytes behind the farthest read
    is forgotten; with `hold` it is kept until `release` says that it was dealt with.
    `losses` are the stretches that could not be read, in the order met.
    """

    def __init__(
        self, name: str, fill: Callable[[], bytes] | None = None, *, back: int = BACK, hold: bool = False
    ) -> None:
        self.name = name
        self.losses: list[SourceError] = []
        self._fill = fill
        self._back = back
        self._hold = hold
        self._blocks: list[bytearray | bytes] = []
        self._starts: list[int] = []
        self._end = 0
        self._done = 0  # everything before it has been read (or released) once

    @property
    def start(self) -> int:
        """First offset that is still kept."""
        return self._starts[0] if self._starts else self._end

    @property
    def ahead(self) -> int:
        """Bytes that were fed and not yet read (or released): what a feeder bounds."""
        return self._end - self._done

    def feed(self, data: bytes) -> None:
        """Append `data`."""
        if not data:
            return
        last = self._blocks[-1] if self._blocks else None
        if isinstance(last, bytearray) and len(last) + len(data) <= _JOIN:
            last += data
        else:
            self._blocks.append(data if len(data) >= _JOIN else bytearray(data))
            self._starts.append(self._end)
        self._end += len(data)

    def release(self, offset: int) -> None:
        """Say that what lies before `offset` was dealt with; forget what is more than `back` before that."""
        self._done = max(self._done, min(offset, self._end))
        keep = bisect_right(self._starts, self._done - self._back) - 1
        if keep > 0:
            del self._blocks[:keep], self._starts[:keep]

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at `offset`; pulls as much as needed."""
        self._pull(offset + size, offset)
        buffer = bytearray(max(0, min(size, self._end - offset)))
        self._copy(offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Bytes at `offset` into `buffer`; pulls as much as needed."""
        self._pull(offset + len(buffer), offset)
        return self._copy(offset, buffer)

    def end(self) -> int:
        """First offset past the last byte; pulls to the end, forgetting on the way."""
        while self._pull_one():
            if not self._hold:
                self.release(self._end)
        return self._end

    def previous(self) -> Log | None:
        """A stream knows nothing of what came before it."""
        return None

    def _pull(self, until: int, offset: int) -> None:
        if offset < self.start:
            raise ValueError(f"{self.name}: offset {offset} lies before the kept window ({self.start})")
        while self._end < until and self._pull_one():
            if not self._hold:
                self.release(min(offset, self._end))
        if not self._hold:
            self.release(min(until, self._end))

    def _pull_one(self) -> bool:
        if self._fill is None:
            return False
        data = self._fill()
        if not data:
            self._fill = None
            return False
        self.feed(data)
        return True

    def _copy(self, offset: int, buffer: memoryview) -> int:
        if offset < self.start:
            raise ValueError(f"{self.name}: a read of {len(buffer)} bytes is larger than the kept window")
        size = max(0, min(len(buffer), self._end - offset))
        done = 0
        at = bisect_right(self._starts, offset) - 1
        while done < size:
            block, begin = self._blocks[at], offset + done - self._starts[at]
            count = min(len(block) - begin, size - done)
            buffer[done : done + count] = memoryview(block)[begin : begin + count]
            done += count
            at += 1
        return size
