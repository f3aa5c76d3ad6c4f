"""`redirectd review` on a pty, as a person sees it and types."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pyte

from tests.cli.conftest import Cli

KEYS = "keys:"
"""The end of the line that asks for a key behind a card."""


class Terminal:
    """A review on a terminal of `columns` by `rows`; `screen` is what it shows.

    Not `interruptible`: started with SIGINT ignored, as a shell starts its background jobs.
    """

    def __init__(
        self, cli: Cli, *args: str, columns: int = 80, rows: int = 24, interruptible: bool = True, **environ: str
    ) -> None:
        command = ["-m", "redirectd", "--config", str(cli.config), "review", *args]
        environment = {**os.environ, "TERM": "vt100", **environ}
        signals = signal.SIG_DFL if interruptible else signal.SIG_IGN
        self.child = pexpect.spawn(
            sys.executable,
            command,
            dimensions=(rows, columns),
            timeout=60,
            env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signals),
        )
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    @property
    def screen(self) -> str:
        """What is on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def until(self, text: str) -> str:
        """Waits for a text; gives the screen as it is then."""
        self.child.expect_exact(text.encode())
        return self._take()

    def press(self, keys: str) -> None:
        """Sends keys as they are."""
        self.child.send(keys)

    def page(self) -> bool:
        """Waits for the end of a page; whether there is another one."""
        more: bool = self.child.expect_exact([b"-- Enter: back", b" (Enter: next page, q: back)"]) == 1
        self._take()
        return more

    def step(self, keys: str, *texts: str) -> str:
        """Sends keys, waits for texts one after another, and then until a key is asked for behind a card."""
        self.press(keys)
        for text in (*texts, KEYS):
            screen = self.until(text)
        return screen

    def resize(self, columns: int, rows: int) -> None:
        """Gives the terminal another size."""
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def end(self, code: int = 0) -> str:
        """Waits for the end; gives the screen."""
        self.child.expect(pexpect.EOF)
        screen = self._take()
        self.child.close()
        assert self.child.exitstatus == code, screen
        return screen

    def _take(self) -> str:
        matched = self.child.after if isinstance(self.child.after, bytes) else b""
        seen = self.child.before + matched
        self.raw += seen
        self._stream.feed(seen)
        return self.screen


@contextmanager
def reviewing(
    cli: Cli, *args: str, columns: int = 80, rows: int = 24, interruptible: bool = True, **environ: str
) -> Iterator[Terminal]:
    """A review that waits for the first key; ended in any case."""
    terminal = Terminal(cli, *args, columns=columns, rows=rows, interruptible=interruptible, **environ)
    try:
        terminal.until(KEYS)
        yield terminal
    finally:
        terminal.child.close(force=True)


def states(cli: Cli) -> dict[int, str]:
    """State by id."""
    return {remap["id"]: remap["state"] for remap in cli("list", "--json").json["remaps"]}


def audit(cli: Cli, number: int) -> list[tuple[str, str]]:
    """What was done to a remap, and why."""
    return [(entry["action"], entry["reason"]) for entry in cli("show", number, "--json").json["audit"]]
