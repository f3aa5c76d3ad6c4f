"""Text for a terminal by its columns: made harmless, wrapped, cut, and coloured where the terminal has colours."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import click
from rich.cells import cell_len, chop_cells, set_cell_size

from redirectd.sip.text import printable

HEAD, TAIL = 60, 30
"""Characters that are shown of either end of a part of a URI that is longer than both."""

_MOVES_OTHERS = frozenset({"R", "AL", "AN"})
"""Bidirectional classes of letters that a terminal may show in another order than they are written in (UAX 9)."""


def shown(text: str, limit: int = 2000) -> str:
    """Text from the network as a card shows it: what reorders or overlays other characters is shown by number.

    `printable` does so with controls; letters written from right to left and combining marks are its equals here,
    since a person decides by what a URI looks like.
    """
    safe = printable(text, limit)
    return safe if safe.isascii() else "".join(map(_in_place, safe))


def _in_place(char: str) -> str:
    moves = unicodedata.bidirectional(char) in _MOVES_OTHERS or unicodedata.category(char).startswith("M")
    if not moves:
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def elided(text: str) -> str:
    """Both ends of a long text, and how much is left out between them."""
    if len(text) <= HEAD + TAIL + 20:
        return text
    return f"{text[:HEAD]}...[{len(text) - HEAD - TAIL} characters]...{text[-TAIL:]}"


def chopped(text: str, room: int) -> list[str]:
    """The text in parts of at most `room` columns, wherever they end; none for no text."""
    return chop_cells(text, room) if cell_len(text) > room else [text] if text else []


def wrapped(text: str, room: int) -> list[str]:
    """The text in lines of at most `room` columns, between words where a line has some."""
    lines = []
    for part in text.splitlines():
        indent = " " * min(len(part) - len(part.lstrip(" ")), room // 2)
        lines += [f"{indent}{line}" for line in _words(part, room - len(indent))]
    return lines


def _words(text: str, room: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        both = f"{line} {word}" if line else word
        if cell_len(both) <= room:
            line = both
            continue
        if line:
            yield line
        *whole, line = chopped(word, room)
        yield from whole
    if line:
        yield line


def cut(text: str, room: int) -> str:
    """The text in at most `room` columns; dots say that there was more."""
    return text if cell_len(text) <= room else f"{set_cell_size(text, room - 3).rstrip()}..."


@dataclass(frozen=True, slots=True)
class Ink:
    """Colours, or none: what they say is in the text too."""

    is_on: bool = False

    def title(self, text: str) -> str:
        """What the lines below are about."""
        return click.style(text, bold=True) if self.is_on else text

    def old(self, text: str) -> str:
        """A part of the old URI that the new one does not have."""
        return click.style(text, fg="red", bold=True) if self.is_on else text

    def new(self, text: str) -> str:
        """A part of the new URI that the old one does not have."""
        return click.style(text, fg="green", bold=True) if self.is_on else text

    def warn(self, text: str) -> str:
        """What holds a remap, or asks for a look."""
        return click.style(text, fg="yellow") if self.is_on else text

    def quiet(self, text: str) -> str:
        """What is there to be looked up."""
        return click.style(text, dim=True) if self.is_on else text
