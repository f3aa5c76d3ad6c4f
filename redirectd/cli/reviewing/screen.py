"""The screen of a review: its size at this moment, lines that fit it, pages, questions and progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from rich.cells import cell_len

from redirectd.cli.reviewing.keys import QUIT, REDRAW, Keys
from redirectd.cli.reviewing.layout import Ink, shown, wrapped
from redirectd.errors import RedirectdError

NARROWEST, WIDEST, LOWEST = 40, 120, 12


@dataclass(slots=True)
class Screen:
    """`say` prints text as it is. `size` gives columns and rows; None means not a terminal, where nothing is paged."""

    keys: Keys
    say: Callable[[str], None]
    size: Callable[[], tuple[int, int] | None]
    ink: Ink = field(default_factory=Ink)

    @property
    def width(self) -> int:
        """Columns to write on."""
        size = self.size()
        return 80 if size is None else max(NARROWEST, min(size[0], WIDEST))

    @property
    def rows(self) -> int | None:
        """Rows there are; None where they don't matter."""
        size = self.size()
        return None if size is None or not self.keys.is_terminal else max(LOWEST, size[1])

    def line(self, text: str) -> None:
        """Prints a text of ours and of others, wrapped and harmless."""
        self.lines([part for line in text.splitlines() for part in self.fold(line)])

    def fold(self, text: str) -> list[str]:
        """A line of text as the lines that it takes here, harmless."""
        safe = shown(text, 8192)
        return [safe] if cell_len(safe) <= self.width else wrapped(safe, self.width)

    def lines(self, lines: Sequence[str]) -> None:
        """Prints lines as they are."""
        self.say("".join(f"{line}\n" for line in lines))

    def error(self, error: RedirectdError) -> None:
        """Says why something was not done, and what to do."""
        self.line(f"not done: {error.why}\n  what to do: {error.what_to_do}")

    def key(self, prompt: str) -> str:
        """Asks for one key, and echoes it."""
        self.say(f"{chr(10).join(self.fold(prompt))} ")
        key = self.keys.key()
        self.say(f"{key if key.isprintable() and key != REDRAW else ''}\n")
        return key

    def ask(self, prompt: str) -> str | None:
        """Asks for a line; None where it was broken off."""
        answer = self.keys.line(f"{prompt} ")
        if answer is None:
            self.say("\nnothing was done\n")
        return answer

    def pages(self, lines: Sequence[str], *, wait: bool = True) -> None:
        """Prints lines a screen at a time; with `wait` also behind the last, before what comes next pushes it away."""
        at = 0
        while (rows := self.rows) is not None and (at < len(lines) if wait else len(lines) - at > rows - 2):
            self.lines(lines[at : at + rows - 2])
            at += rows - 2
            prompt = (
                f"-- {at} of {len(lines)} lines (Enter: next page, q: back)" if at < len(lines) else "-- Enter: back"
            )
            key = REDRAW
            while key == REDRAW:
                key = self.key(prompt)
            if key == QUIT:
                return
        self.lines(lines[at:])

    def progress(self, done: int, total: int, what: str) -> None:
        """How far a long work is, on one line of a terminal."""
        if self.keys.is_terminal:
            self.say(f"\r{done:,} of {total:,} {what}{'' if done < total else chr(10)}")


def screen_of(keys: Keys, say: Callable[[str], None], out: TextIO) -> Screen:
    """The screen that `out` is."""

    def size() -> tuple[int, int] | None:
        if not out.isatty():
            return None
        columns, rows = os.get_terminal_size(out.fileno())
        return columns or 80, rows or 24  # a serial line knows neither

    return Screen(keys, say, size, Ink(out.isatty() and _has_colours()))


def _has_colours() -> bool:
    """Whether the terminal has colours, and nobody has asked for none (NO_COLOR)."""
    if os.environ.get("NO_COLOR"):
        return False
    try:
        import curses
    except ImportError:  # a Python built without it
        return False
    try:
        curses.setupterm()
    except curses.error:  # a terminal that this host knows nothing of
        return False
    return curses.tigetnum("colors") >= 8
