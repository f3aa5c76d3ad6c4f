"""Sections of a card, and how they give way to one another where the screen is too low for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redirectd.cli.reviewing.columns import shown, wrapped

LABEL = 9
"""Columns of a label, before its text."""


@dataclass(slots=True)
class LineGroup:
    """Lines that belong together. The lowest `rank` gives way first, down to `least` lines."""

    lines: list[str]
    least: int
    rank: int


def told(label: str, text: str, width: int) -> list[str]:
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
