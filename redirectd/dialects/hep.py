"""`hep`: HEPv3 datagrams kept in a file, each behind its length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import ClassVar

from redirectd.dialects.enclosure import lowest
from redirectd.dialects.frame import Authenticity, Dialect, Frame, Framed, Incomplete, Unreadable
from redirectd.dialects.hep3 import MAGIC, decode_hep, hep_frame
from redirectd.dialects.window import Window

_MOST_DATAGRAMS = 1024
_SMALL = 2048
_LARGE = re.compile(rb"HEP3[\x08-\xff]")
"""The mark of a datagram that tells a length of `_SMALL` or more."""
_HEX = frozenset(b"0123456789abcdefABCDEF")


class HepFile:
    """Two framings: eight hex digits and LF before and LF behind; or four bytes, big-endian, before.

    A compressed payload shows no answer to a search, so whole files are better read by `messages`.
    """

    name: ClassVar[str] = "hep"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)
    captured: ClassVar[Dialect]
    authenticity: ClassVar[Authenticity] = Authenticity.FRAMED
    """Of what a file's messages were, where they are written as datagrams to be searched."""

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        for mark in _marks(window, at):
            framed = _framed(window, mark, at, self.name, final=final)
            if isinstance(framed, Frame) and framed.authenticity is not self.authenticity:
                return replace(framed, authenticity=self.authenticity)
            if framed is not None:
                return framed
        return None

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


def _marks(window: Window, at: int) -> Iterator[int]:
    """Where datagrams begin that can hold `at`, the outermost first: large ones from afar, any from near."""
    near = max(0, at - _SMALL)
    for match in islice(_LARGE.finditer(window, min(lowest(window, at), near), near + len(MAGIC)), _MOST_DATAGRAMS):
        yield match.start()
    mark = window.find(MAGIC, near, at + len(MAGIC))
    while mark >= 0:
        yield mark
        mark = window.find(MAGIC, mark + 1, at + len(MAGIC))


def _length_before(window: Window, mark: int) -> tuple[int, int] | None:
    """Start of the length field that stands before a datagram at `mark`, and the length it tells."""
    digits = window[max(0, mark - 9) : mark]
    if len(digits) == 9 and digits[8] == 0x0A and _HEX.issuperset(digits[:8]):
        return mark - 9, int(digits[:8], 16)
    if mark >= 4:
        return mark - 4, int.from_bytes(window[mark - 4 : mark], "big")
    return None


def _framed(window: Window, mark: int, at: int, dialect: str, *, final: bool) -> Framed:
    told = int.from_bytes(window[mark + 4 : mark + 6], "big")
    if not mark <= at < mark + told:
        return None
    before = _length_before(window, mark)
    if before is None or before[1] != told:
        return None
    end = mark + told
    if end > len(window):
        return (
            Unreadable(before[0], len(window), "the last datagram is torn", dialect) if final else Incomplete(before[0])
        )
    hep = decode_hep(bytes(window[mark:end]))
    if hep is None:
        return Unreadable(before[0], end, "a HEPv3 datagram that does not decode", dialect)
    return hep_frame(hep, before[0], end, dialect)


def _step(held: bytearray, done: int) -> tuple[int, int] | None:
    """Length and start of the next datagram from `done` on, if it is all there; what is no datagram is passed over."""
    while (mark := held.find(MAGIC, done)) >= 0:
        if len(held) < mark + 6:
            return None
        told = int.from_bytes(held[mark + 4 : mark + 6], "big")
        if told >= 6:
            return (told, mark) if len(held) >= mark + told else None
        done = mark + len(MAGIC)
    return None
