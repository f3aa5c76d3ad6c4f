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
