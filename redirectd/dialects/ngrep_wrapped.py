"""`ngrep-wrapped`: text of ngrep without `-W byline`: messages wrapped at the terminal's width, line ends as dots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from redirectd.dialects.arrow import read_arrow
from redirectd.dialects.frame import Authenticity, Dialect, Frame, Unsearched
from redirectd.dialects.hep import HepFile

_LONGEST = 131_072
"""Bytes of a message as printed; what is longer is cut there."""

_HEAD_OF_ONE = re.compile(rb"(?:[#!. ]{0,256}\n)*+[UT] [^\n]{6,200} -> [^\n]{6,200}\n  [^ \n]")
_LINE_ENDS = re.compile(rb"\.\.(?=[A-Za-z][A-Za-z-]{0,40}[ \t]{0,4}:|[a-z]=|\.\.|\Z)")


class CapturedNgrep(HepFile):
    """Messages of such a text: a header's value can look like a line end and a header (R40)."""

    name: ClassVar[str] = "ngrep-wrapped"
    authenticity: ClassVar[Authenticity] = Authenticity.UNPROVEN


class NgrepWrapped(Unsearched):
    """A head line with an arrow, then lines indented by two blanks, then an empty line."""

    name: ClassVar[str] = "ngrep-wrapped"
    captured: ClassVar[Dialect] = CapturedNgrep()

    def recognises(self, head: bytes) -> bool:
        """See `StreamDialect.recognises`."""
        said = head
        while said.startswith((b"interface: ", b"filter: ", b"match: ")):
            said = said[said.find(b"\n") + 1 :] if b"\n" in said else b""
        return _HEAD_OF_ONE.match(said) is not None

    def messages(self, chunks: Iterable[bytes]) -> Iterator[Frame]:
        """See `StreamDialect.messages`."""
        head, parts, size, begin, base = b"", list[bytes](), 0, 0, 0
        held = b""
        for chunk in (*chunks, b"\n\n"):
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                if head and line.startswith(b"  ") and size < _LONGEST:
                    parts.append(line[2:])
                    size += len(line)
                else:
                    if head and parts:
                        yield from self._frame(head, parts, begin, base)
                    head, parts, size, begin = (line if line[:2] in {b"U ", b"T "} else b""), [], 0, base
                base += len(line) + 1
            if len(held) > _LONGEST:
                base += len(held)
                held = b""

    def _frame(self, head: bytes, parts: list[bytes], start: int, end: int) -> Iterator[Frame]:
        arrow = read_arrow(head + b"\n", 0)
        if arrow is None:
            return
        text = _LINE_ENDS.sub(b"\r\n", b"".join(parts))
        yield Frame(
            start=start,
            end=end,
            payload=text,
            dialect=self.name,
            peer=arrow.source,
            local=arrow.target,
            stamp=arrow.stamp,
            authenticity=Authenticity.UNPROVEN,
        )
