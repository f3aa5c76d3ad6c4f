"""Colour on a terminal, and none where NO_COLOR is set or output is no terminal."""

from __future__ import annotations

import os
import sys

import pexpect
import pytest

from tests.cli.conftest import Cli

COLOUR = "\x1b[3"
"""How a foreground colour begins (ECMA-48 SGR 30 to 37)."""


def on_terminal(cli: Cli, *args: str, **environ: str) -> str:
    """What a command prints on a terminal of 80 columns."""
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"} | environ
    command = ["-m", "redirectd", "--config", str(cli.config), *args]
    terminal = pexpect.spawn(
        sys.executable,
        command,
        dimensions=(60, 80),
        timeout=60,
        encoding="utf-8",
        env=env,
    )
    terminal.expect(pexpect.EOF)
    return str(terminal.before)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_diff_colours(filled: Cli, no_color: str) -> None:
    """A plan's diff is coloured on a terminal, unless NO_COLOR is set to anything but an empty text."""
    filled("approve", "1")
    out = on_terminal(filled, "plan", NO_COLOR=no_color)
    assert "alice@127.0.31.1" in out
    assert (COLOUR in out) is not bool(no_color)


def test_table_fits_the_terminal(filled: Cli) -> None:
    """On 80 columns no line of a table is longer, and no URI is lost: it goes on in the next line."""
    out = on_terminal(filled, "pending", NO_COLOR="1")
    lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert "gateway" in out
