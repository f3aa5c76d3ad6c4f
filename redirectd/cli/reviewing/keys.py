"""Keys and lines from a person: raw from a terminal, else line by line."""

from __future__ import annotations

import os
import re
import sys
import termios
import tty
from collections.abc import Callable
from typing import Protocol, TextIO

QUIT = "q"
MAX_LINE = 4096

_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;]{0,16}[ -/]{0,4}[@-~]|O.|.)?", re.DOTALL)


class Keys(Protocol):
    """Where a sitting gets its keys from."""

    def key(self) -> str:
        """The next key, one character; `QUIT` where nothing more will come."""
        ...

    def line(self, prompt: str) -> str:
        """A line of text behind a prompt, without its end; empty where nothing more will come."""
        ...


class TerminalKeys:
    """A terminal, read unbuffered: keys as they are pressed, lines with the terminal's own editing and echo."""

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        self._fd = stream.fileno()
        self._say = say
        self._ahead = b""

    def key(self) -> str:
        """A key; arrows and other sequences are none."""
        before = termios.tcgetattr(self._fd)
        try:
            # Leaves Ctrl-C a signal. Output is drained first, input that is typed ahead stays.
            tty.setcbreak(self._fd, termios.TCSADRAIN)
            while True:
                if not self._ahead and not self._read():
                    return QUIT
                if self._ahead[:1] == b"\x1b":
                    self._ahead = _ESCAPE.sub(b"", self._ahead, count=1)
                    continue
                first, self._ahead = self._ahead[:1], self._ahead[1:]
                return QUIT if first == b"\x04" else first.decode("ascii", "replace")
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, before)

    def line(self, prompt: str) -> str:
        """A line, edited and echoed by the terminal itself."""
        self._say(prompt)
        while b"\n" not in self._ahead and len(self._ahead) < MAX_LINE:
            if not self._read():
                break
        line, _, self._ahead = self._ahead.replace(b"\r", b"\n").partition(b"\n")
        return line.decode("utf-8", "replace").strip()

    def _read(self) -> bool:
        try:
            more = os.read(self._fd, 1024)
        except OSError:  # the other end of an SSH connection has gone
            more = b""
        self._ahead += more
        return bool(more)


class LineKeys:
    """Input that is no terminal: the first character of each line is the key, an empty line is Enter."""

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        self._stream = stream
        self._say = say

    def key(self) -> str:
        """The first character of the next line that is not empty."""
        while line := self._stream.readline(MAX_LINE):
            if line.strip():
                return line.strip()[0]
        return QUIT

    def line(self, prompt: str) -> str:
        """The next line."""
        self._say(prompt)
        text = self._stream.readline(MAX_LINE).strip()
        self._say("\n")
        return text


def keys_of(stream: TextIO, say: Callable[[str], None]) -> Keys:
    """The way to read `stream`."""
    return TerminalKeys(stream, say) if stream.isatty() and sys.platform != "win32" else LineKeys(stream, say)
