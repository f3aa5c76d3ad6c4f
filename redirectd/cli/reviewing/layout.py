"""Sections of a card, and how they give way to one another where the screen is too low for all."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
from rich.cells import cell_len, chop_cells, set_cell_size

from redirectd.sip.text import printable

LABEL = 9
"""Columns of a label, before its text."""


@dataclass(slots=True)
class LineGroup:
    """Lines that belong together. The lowest `rank` gives way first, down to `least` lines."""

    lines: list[str]
    least: int
    rank: int


def labelled(label: str, text: str, width: int) -> list[str]:
    """A text behind its label, wrapped and harmless; nothing for an empty one."""
    lines = wrapped(shown(text, 8192), width - LABEL - 2)
    return [f"  {label if number == 0 else '':<{LABEL}}{line}" for number, line in enumerate(lines)]


def more(count: int) -> str:
    """The line in place of those that had no room."""
    return f"  {'':<{LABEL}}... {count} more line{'' if count == 1 else 's'}: e"


def fitted(sections: Sequence[LineGroup], room: int | None) -> list[str]:
    """The lines of all sections, at most `room` where their least lines allow it; each cut is marked in its place."""
    if room is not None:
        for section in sorted(sections, key=lambda one: one.rank):
            excess = sum(len(one.lines) for one in sections) - room
            if excess <= 0:
                break
            kept = max(section.least, len(section.lines) - excess) - 1  # one line says what is left out
            if 0 <= kept < len(section.lines) - 1:
                section.lines[kept:] = [more(len(section.lines) - kept)]
    lines = [line for section in sections for line in section.lines]
    if room is not None and len(lines) > room:
        lines[room - 1 :] = [more(len(lines) - room + 1)]
    return lines


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
