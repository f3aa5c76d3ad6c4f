"""The screen of a review and its keys: raw from a terminal, else line by line; lines that fit, pages, questions."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.cells import cell_len

from redirectd.cli.reviewing.card import Ink, wrapped
from redirectd.errors import RedirectdError
from redirectd.sip.text import shown

QUIT = "q"
REDRAW = "redraw"
"""No key: the terminal has another size, or the program is in the foreground again."""

MAX_LINE = 4096

_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;]{0,16}[ -/]{0,4}[@-~]|O.|.)?", re.DOTALL)
_SIGNALS = (signal.SIGWINCH, signal.SIGCONT)


class Keys(Protocol):
    """Where a review gets its keys from."""

    is_terminal: bool

    def key(self) -> str:
        """The next key, one character; `QUIT` where nothing more will come, `REDRAW` where the screen is not right."""
        ...

    def line(self, prompt: str) -> str | None:
        """A line of text behind a prompt, without its end; None where it was broken off: nothing may be done then."""
        ...

    def forget(self) -> None:
        """Drops what was typed ahead: nobody decides on what was not shown yet."""
        ...


class TerminalKeys:
    """A terminal, read unbuffered: keys as they are pressed, lines with the terminal's own editing and echo."""

    is_terminal = True

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        """Signals wake it for the rest of the process."""
        self._fd = stream.fileno()
        self._say = say
        self._ahead = b""
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)

    def key(self) -> str:
        """A key; arrows and other sequences are none."""
        before = termios.tcgetattr(self._fd)
        try:
            # Leaves Ctrl-C a signal. Output is drained first, input that is typed ahead stays.
            tty.setcbreak(self._fd, termios.TCSADRAIN)
            while True:
                if not self._ahead:
                    if self._is_woken():
                        return REDRAW
                    if not self._read():
                        return QUIT
                if self._ahead[:1] == b"\x1b":
                    self._ahead = _ESCAPE.sub(b"", self._ahead, count=1)
                    continue
                first, self._ahead = self._ahead[:1], self._ahead[1:]
                return QUIT if first == b"\x04" else first.decode("ascii", "replace")
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    def line(self, prompt: str) -> str | None:
        """A line, edited and echoed by the terminal itself. Ctrl-C, Ctrl-D, a lone Escape and the end break it off."""
        self._say(prompt)
        try:
            while b"\n" not in self._ahead and len(self._ahead) < MAX_LINE:
                if not self._read():
                    return None
        except KeyboardInterrupt:
            self._ahead = b""
            return None
        line, _, self._ahead = self._ahead.replace(b"\r", b"\n").partition(b"\n")
        if line.endswith(b"\x1b"):
            return None
        return _ESCAPE.sub(b"", line).decode("utf-8", "replace").strip()

    def forget(self) -> None:
        """Drops what the terminal and this hold."""
        self._ahead = b""
        termios.tcflush(self._fd, termios.TCIFLUSH)

    def _is_woken(self) -> bool:
        """Waits for a key or a signal; whether it was one of those after which the screen is drawn anew."""
        ready, _, _ = select.select([self._fd, self._woken], [], [])
        return self._woken in ready and any(number in _SIGNALS for number in os.read(self._woken, 4096))

    def _read(self) -> bool:
        try:
            more = os.read(self._fd, 1024)
        except OSError:  # the other end of an SSH connection has gone
            more = b""
        self._ahead += more
        return bool(more)


class LineKeys:
    """Input that is not a terminal: the first character of each line is the key, empty lines are none."""

    is_terminal = False

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        self._stream = stream
        self._say = say

    def key(self) -> str:
        """The first character of the next line that is not empty."""
        while line := self._stream.readline(MAX_LINE):
            if line.strip():
                return line.strip()[0]
        return QUIT

    def line(self, prompt: str) -> str | None:
        """The next line; None at the end of the input."""
        self._say(prompt)
        text = self._stream.readline(MAX_LINE)
        self._say("\n")
        return text.strip() if text else None

    def forget(self) -> None:
        """Nothing: a script has written its lines before."""


def keys_of(stream: TextIO, say: Callable[[str], None]) -> Keys:
    """The way to read `stream`."""
    return TerminalKeys(stream, say) if stream.isatty() and sys.platform != "win32" else LineKeys(stream, say)


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
