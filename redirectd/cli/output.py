"""Printing: one JSON document, or tables for people. Text from the network is made harmless here."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from redirectd.errors import ConfigError, RedirectdError
from redirectd.sip.text import printable

CELL = 160
"""Characters of a table's cell; what is longer ends in dots, and `show` and JSON have it whole."""


def json_option(command: click.decorators.FC) -> click.decorators.FC:
    """Adds `--json` as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def emit_json(document: Mapping[str, Any]) -> None:
    """Prints one JSON document, in ASCII, so that nothing in it can reach a terminal's controls."""
    click.echo(json.dumps(document, indent=2, default=_plain))


def _plain(value: object) -> str:
    return rfc3339(value) if isinstance(value, datetime) else str(value)


def rfc3339(when: datetime) -> str:
    """An aware time as RFC 3339 in UTC."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def short_time(when: datetime | None) -> str:
    """A time for people: UTC, to the minute."""
    return "" if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def say(text: str = "") -> None:
    """Prints a line for people; what came from the network has gone through `printable` before."""
    click.echo(text)


def note(text: str) -> None:
    """Prints a line to standard error."""
    click.echo(text, err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Prints a table. Cells are shown as they are, made printable; on a terminal they are folded to its width."""
    from redirectd.cli.table import table_lines

    cells = [[printable(str(cell), CELL) for cell in row] for row in rows]
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    head, *lines = table_lines(columns, cells, right=right, width=width)
    click.echo(click.style(head, bold=True) if terminal else head)
    for line in lines:
        click.echo(line)


def diff_text(text: str) -> None:
    """Prints a unified diff, with colours on a terminal."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in text.splitlines():
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1]) if colour else None
        click.echo(click.style(shown_line(line), fg=style) if style else shown_line(line))


def shown_line(line: str) -> str:
    """A line of a file for a terminal: its tabs kept, anything else made printable."""
    return "\t".join(printable(part) for part in line.split("\t"))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What to do about a misspelt word: the nearest of the known ones, or all of them."""
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"use one of: {', '.join(names)}"


def show_error(error: RedirectdError) -> None:
    """Prints an error, or each fault of a configuration, as where, why and what to do."""
    faults = error.faults if isinstance(error, ConfigError) and error.faults else (error,)
    if len(faults) > 1:
        note(f"redirectd: {printable(error.where)}: {len(faults)} faults")
    for fault in faults:
        lead = "" if len(faults) > 1 else "redirectd: "
        note(f"{lead}{printable(fault.where)}")
        note(f"  why:        {printable(fault.why)}")
        note(f"  what to do: {printable(fault.what_to_do)}")
