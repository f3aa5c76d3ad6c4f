"""Long output through a pager, as git does it: on a terminal alone, and only where it fills more than a screen."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any

import click

_DEFAULTS = {"LESS": "FRX", "LV": "-c"}
"""As git sets them where the user has not: end on a short text, show colours, leave the text on the screen."""


class _Page:
    """Text on its way to the terminal: held back until it fills a screen, then given to the pager."""

    def __init__(self, command: str, columns: int, rows: int) -> None:
        self._command = command
        self._columns = columns
        self._room = rows - 1
        self._held: list[str] = []
        self._pager: subprocess.Popen[bytes] | None = None

    def write(self, text: str) -> None:
        """Takes text; what comes after the person has left the pager goes nowhere."""
        if self._pager is None:
            self._held.append(text)
            self._room -= _rows(text, self._columns)
            if self._room >= 0:
                return
            text = "".join(self._held)
            self._pager = subprocess.Popen(  # noqa: S602 - the user's own command, as a shell would run it
                self._command,
                shell=True,
                stdin=subprocess.PIPE,
                env={**_DEFAULTS, **os.environ},
            )
        assert self._pager.stdin is not None
        with suppress(BrokenPipeError):
            self._pager.stdin.write(text.encode(sys.stdout.encoding, "backslashreplace"))
            self._pager.stdin.flush()

    def close(self) -> None:
        """Shows what is left, and waits until the person leaves the pager."""
        if self._pager is None:
            click.echo("".join(self._held), nl=False)
            return
        assert self._pager.stdin is not None
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pager's now
        try:
            with suppress(BrokenPipeError):
                self._pager.stdin.close()
            self._pager.wait()
        finally:
            signal.signal(signal.SIGINT, before)


class _Kept:
    """Text that is kept instead of printed."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, text: str) -> None:
        """Keeps text."""
        self.parts.append(text)


_page: _Page | _Kept | None = None


def kept(show: Callable[[], None]) -> str:
    """What `show` prints for people, kept instead of printed."""
    global _page  # noqa: PLW0603 - one process has one terminal
    before, keeper = _page, _Kept()
    _page = keeper
    try:
        show()
    finally:
        _page = before
    return "".join(keeper.parts)


def fits(text: str) -> bool:
    """Whether a text leaves a line of the screen free, as a prompt needs."""
    columns, rows = shutil.get_terminal_size()
    return _rows(text, columns) < rows


def _rows(text: str, columns: int) -> int:
    return sum(1 + max(0, len(line) - 1) // columns for line in text.splitlines())


def write(text: str, *, err: bool = False) -> None:
    """Prints text: into the pager where one is in use, notes of standard error too where that is the same terminal."""
    if _page is not None and (not err or sys.stderr.isatty()):
        _page.write(text)
    else:
        click.echo(text, nl=False, err=err)


def paged(command: Callable[..., Any]) -> Callable[..., Any]:
    """Shows what a command prints for people through the pager."""

    @wraps(command)
    def with_pager(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click calls with anything
        with _paging(click.get_current_context(), as_json=bool(kwargs.get("as_json"))):
            return command(*args, **kwargs)

    return with_pager


@contextmanager
def _paging(context: click.Context, *, as_json: bool) -> Iterator[None]:
    global _page  # noqa: PLW0603 - one process has one terminal
    wanted = None if as_json or context.find_root().params.get("no_pager") else pager_command()
    if wanted is None or not sys.stdout.isatty():
        yield
        return
    size = shutil.get_terminal_size()
    _page = page = _Page(wanted, size.columns, size.lines)
    try:
        yield
    finally:
        _page = None
        page.close()


def pager_command() -> str | None:
    """The user's pager, else less; None for none (`PAGER=cat`, or empty), or where it is not installed."""
    wanted = os.environ.get("PAGER", "less")
    try:
        words = [word for word in shlex.split(wanted) if "=" not in word]
    except ValueError:
        return None
    if not words or words[0] == "cat" or os.environ.get("TERM") == "dumb" or shutil.which(words[0]) is None:
        return None
    return wanted
