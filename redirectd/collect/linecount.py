"""Line numbers of places in a log, counted a stretch at a time and only where one is asked for."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redirectd.collect.scan import Block
    from redirectd.sources.log import Log


class LineCount:
    """Knows how many lines lie before each stretch that was read."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._begins: list[int] = []
        self._lines: list[int] = []
        self._next = 1

    def add(self, block: Block, begin: int) -> None:
        """Counts the stretch from offset `begin` on."""
        self._begins.append(begin)
        self._lines.append(self._next)
        self._next += block.window.count(b"\n", begin - block.base, block.end - block.base)

    def at(self, position: int | None) -> int | None:
        """The line, from 1, that holds an offset; None where a stream has forgotten the stretch before it."""
        if position is None:
            return None
        index = bisect_right(self._begins, position) - 1
        if index < 0 or self._begins[index] < self._log.start:
            return None
        begin = self._begins[index]
        return self._lines[index] + self._log.read(begin, position - begin).count(b"\n")


_STEP = 1 << 20


class LineFinder:
    """The same for places of a log that is read another way than block by block."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._begins = [0]
        self._lines = [1]

    def add(self, block: Block, begin: int) -> None:
        """Nothing: the stretch is of another text."""

    def at(self, position: int | None) -> int | None:
        """The line, from 1, that holds an offset; None where a stream has forgotten what came before."""
        if position is None:
            return None
        while self._begins[-1] + _STEP <= position:
            if self._begins[-1] < self._log.start:
                return None
            self._lines.append(self._lines[-1] + self._log.read(self._begins[-1], _STEP).count(b"\n"))
            self._begins.append(self._begins[-1] + _STEP)
        index = bisect_right(self._begins, position) - 1
        begin = self._begins[index]
        if begin < self._log.start:
            return None
        return self._lines[index] + self._log.read(begin, position - begin).count(b"\n")
