"""Finding the few records of interest in a log: blocks, a search for literals, a frame around each hit.

Nearly all bytes say nothing to us, so no loop here walks over lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redirectd.collect.places import Places
from redirectd.dialects.family import is_foreign
from redirectd.dialects.frame import Authenticity, Dialect, Frame, Glimpse, Glimpsing, Incomplete, Record, Unreadable
from redirectd.dialects.sip_text import SipText
from redirectd.dialects.window import REACH, Window
from redirectd.sources.log import Log

BLOCK = 1 << 20
"""Bytes read at a time."""

LEAD = 2 * REACH
"""Bytes before a block that its first records may reach back to."""

Told = Frame | Record | Unreadable


@dataclass(frozen=True, slots=True)
class Block:
    """What one step saw: the window, where it begins in the log, what was found, and how far the log is dealt with.

    `window` holds until the next step, which reads into the same memory.
    `counted` are the places of each counted literal in this stretch, in the window.
    `unframed` are places of a literal that no dialect knows.
    """

    window: Window
    base: int
    found: tuple[tuple[Told | Glimpse, Dialect], ...]
    counted: dict[bytes, list[int]]
    end: int
    at_end: bool
    unframed: tuple[int, ...] = ()


class Scanner:
    """Walks over a log block by block. `offset` is the first byte not dealt with yet: what a position is made of.

    What lies between it and `seen` was looked at and waits for more: a literal or a record may go on.

    `literals` find records; `counted` are literals that are only counted (losses, hints). `glimpsing`: 183s need only
    their identity, where the dialect can tell it.
    """

    def __init__(
        self,
        log: Log,
        dialects: Sequence[Dialect],
        literals: Iterable[bytes],
        *,
        counted: Iterable[bytes] = (),
        offset: int = 0,
        glimpsing: type[Glimpsing] | None = None,
    ) -> None:
        self.log = log
        self.offset = offset
        self.seen = offset
        self.waits = False
        """Whether what is at `offset` is a record that may go on behind the log's present end."""
        self._dialects = [one for one in dialects if one.literals and not isinstance(one, SipText)]
        self._fallback = next((one for one in dialects if isinstance(one, SipText)), None)
        self._places = Places(literals, counted)
        self._buffer = bytearray()
        able = [one for one in dialects if glimpsing is not None and isinstance(one, glimpsing)]
        self._glimpsing = {one.name: one for one in able}
        self._margin = max(0, self._places.longest - 1)

    def next_block(self, *, final: bool) -> Block | None:
        """The next stretch, None where nothing new is there. `final`: the log's present end is its last byte.

        A record that the present end cuts waits for the rest, unless `final`.
        """
        base = max(self.log.start, self.offset - LEAD)
        begin = self.offset - base
        window = self._read(base, begin + BLOCK)
        filled = len(window)
        self.seen = base + filled
        if filled <= begin:
            return None
        at_end = filled < begin + BLOCK
        self.waits = False
        last = at_end and final
        end = filled if last else max(begin, filled - self._margin)
        found: list[tuple[Told | Glimpse, Dialect]] = []
        unframed: list[int] = []
        done = begin
        places, counted = self._places.find(window, begin)
        for at in places:
            if at < done:
                continue
            glimpse = self._glimpse(window, at)
            if glimpse is not None:
                found.append(glimpse)
                done = glimpse[0].end
                continue
            framed = self._frame(window, at, begin=begin, final=last, at_end=at_end)
            if isinstance(framed, Incomplete):
                end = max(begin, min(end, framed.start))
                self.waits = True
                break
            if framed is None:
                unframed.append(at)
            else:
                found.append(framed)
                done = max(done, framed[0].end)
        end = max(end, done)
        if base + end == self.offset and not found:
            return None
        self.offset = base + end
        counted_here = {literal: [at for at in there if at < end] for literal, there in counted.items()}
        return Block(window, base, tuple(found), counted_here, self.offset, at_end, tuple(unframed))

    def _read(self, base: int, size: int) -> Window:
        """Up to `size` bytes at `base`, into memory that is used again: fresh memory costs more than the bytes."""
        if len(self._buffer) < size:
            self._buffer = bytearray(LEAD + BLOCK)
        filled = self.log.read_into(base, memoryview(self._buffer)[:size])
        return self._buffer if filled == len(self._buffer) else bytes(memoryview(self._buffer)[:filled])

    def _glimpse(self, window: Window, at: int) -> tuple[Glimpse, Dialect] | None:
        """What the dialect that would be asked first tells at a glance."""
        dialect = self._glimpsing.get(self._dialects[0].name) if self._dialects else None
        if dialect is not None and window.startswith(dialect.glimpsed, at):
            glimpse = dialect.glimpse(window, at)
            if glimpse is None or (not glimpse.proven and is_foreign(dialect.name, window, glimpse.start)):
                return None
            return glimpse, self._dialects[0]
        return None

    def _prefer(self, dialect: Dialect) -> None:
        """Asks it first at the next place: what one program wrote can look like another's."""
        if self._dialects[0] is not dialect:
            self._dialects.remove(dialect)
            self._dialects.insert(0, dialect)

    def _frame(
        self, window: Window, at: int, *, begin: int, final: bool, at_end: bool
    ) -> tuple[Told, Dialect] | Incomplete | None:
        """The record at a hit, asked of each dialect, the one that knew the last hit first."""
        waiting: Incomplete | None = None
        for dialect in self._dialects:
            framed = dialect.frame(window, at, final=final)
            if isinstance(framed, Incomplete) and not at_end and framed.start <= begin:
                framed = dialect.frame(window, at, final=True)  # larger than a whole block: take what there is
            if framed is not None and not _is_proven(framed) and is_foreign(dialect.name, window, framed.start):
                continue
            if isinstance(framed, Incomplete):
                waiting = waiting or framed
            elif framed is not None and waiting is not None and waiting.start < framed.start:
                continue  # text within a record that is still to come can look like a record of another dialect
            elif framed is not None:
                self._prefer(dialect)
                return framed, dialect
        return waiting or self._any_text(window, at, begin=begin, final=final, at_end=at_end)

    def _any_text(
        self, window: Window, at: int, *, begin: int, final: bool, at_end: bool
    ) -> tuple[Told, Dialect] | Incomplete | None:
        """What is left of a place that no writer's dialect framed: plain SIP text, believed by nobody (R40)."""
        if self._fallback is None:
            return None
        framed = self._fallback.frame(window, at, final=final)
        if isinstance(framed, Incomplete) and not at_end and framed.start <= begin:
            framed = self._fallback.frame(window, at, final=True)
        return framed if framed is None or isinstance(framed, Incomplete) else (framed, self._fallback)


def _is_proven(framed: Told | Incomplete) -> bool:
    """Whether its proof shows who wrote it, whatever the log's tag says (R39)."""
    return isinstance(framed, Record) and framed.authenticity is Authenticity.PROVEN
