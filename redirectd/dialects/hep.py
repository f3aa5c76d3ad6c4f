"""`hep`: HEPv3 datagrams kept in a file, each behind its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from redirectd.dialects.frame import Authenticity, Dialect, Frame, Framed, Incomplete, Unreadable
from redirectd.dialects.framing import Ending, Grammar, entry_around, find_ahead
from redirectd.dialects.hep3 import MAGIC, SMALLEST, decode_hep, hep_frame
from redirectd.dialects.window import Window

_HEX = frozenset(b"0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class Datagram:
    """Where its length field and it itself begin, and how long it is."""

    start: int
    begin: int
    size: int


class Datagrams(Grammar[Datagram]):
    """See `Grammar`: a length before, and the same length in the datagram."""

    def next_head(self, window: Window, at: int, stop: int, low: int = 0) -> Datagram | None:
        """See `Grammar.next_head`."""
        while (mark := find_ahead(window, MAGIC, at, stop)) >= 0:
            claimed, before = int.from_bytes(window[mark + 4 : mark + 6], "big"), _length_before(window, mark)
            if before is not None and before[1] == claimed >= SMALLEST and before[0] >= low:
                return Datagram(before[0], mark, claimed)
            at = mark + 1
        return None

    def ending(self, window: Window, head: Datagram, *, final: bool) -> Ending:
        """See `Grammar.ending`: the length is the writer's own."""
        end = head.begin + head.size
        return Ending(min(end, len(window)), min(end, len(window)), waits=end > len(window) and not final)


DATAGRAMS = Datagrams()


class HepFile:
    """Two framings: eight hex digits and LF before and LF behind; or four bytes, big-endian, before.

    A compressed payload shows no answer to a search, so whole files are better read by `messages`.
    """

    name: ClassVar[str] = "hep"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    captured: ClassVar[Dialect]
    authenticity: ClassVar[Authenticity] = Authenticity.FRAMED
    """Of what a file's messages were, where they are written as datagrams to be searched."""
    grammar: ClassVar[Grammar[Any]] = DATAGRAMS
    reads_lines: ClassVar[bool] = False

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        entry = entry_around(window, DATAGRAMS, at, final=final)
        if entry is None or at < entry.head.begin:
            return None
        start, begin, end = entry.head.start, entry.head.begin, entry.head.begin + entry.head.size
        if end > len(window):
            torn = "the last datagram is torn"
            return Unreadable(start, len(window), torn, self.name) if final else Incomplete(start)
        hep = decode_hep(bytes(window[begin:end]))
        if hep is None:
            return Unreadable(start, end, "a HEPv3 datagram that does not decode", self.name)
        framed = hep_frame(hep, start, end, self.name)
        return framed if framed.authenticity is self.authenticity else replace(framed, authenticity=self.authenticity)

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text

    def recognises(self, head: bytes) -> bool:
        """See `StreamDialect.recognises`."""
        return head[4:8] == MAGIC or (head[9:13] == MAGIC and _length_before(head, 9) is not None)

    def messages(self, chunks: Iterable[bytes]) -> Iterator[Frame]:
        """See `StreamDialect.messages`."""
        held, base = bytearray(), 0
        for chunk in chunks:
            held += chunk
            done = 0
            while (step := _step(held, done)) is not None:
                length, begin = step
                hep = decode_hep(bytes(held[begin : begin + length]))
                if hep:
                    yield hep_frame(hep, base + done, base + begin + length, self.name)
                done = begin + length
            del held[:done]
            base += done


HepFile.captured = HepFile()


def _length_before(window: Window, mark: int) -> tuple[int, int] | None:
    """Start of the length field before a datagram at `mark`, and the length it gives."""
    digits = window[max(0, mark - 9) : mark]
    if len(digits) == 9 and digits[8] == 0x0A and _HEX.issuperset(digits[:8]):
        return mark - 9, int(digits[:8], 16)
    if mark >= 4:
        return mark - 4, int.from_bytes(window[mark - 4 : mark], "big")
    return None


def _step(held: bytearray, done: int) -> tuple[int, int] | None:
    """Length and start of the next datagram from `done` on, if it is all there; anything else is passed over."""
    while (mark := held.find(MAGIC, done)) >= 0:
        if len(held) < mark + 6:
            return None
        claimed = int.from_bytes(held[mark + 4 : mark + 6], "big")
        if claimed >= 6:
            return (claimed, mark) if len(held) >= mark + claimed else None
        done = mark + len(MAGIC)
    return None
