"""Printing: one JSON document, or tables for people. Text from the network is made harmless here.

Tables are laid out here: a library for it takes longer to load than most commands run. The standard streams may be
closed, take no more, or be unable to show a character.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from errno import EBADF, EDQUOT, EFBIG, EIO, ENOSPC
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TypeGuard

import click

from redirectd.cli.pager import write
from redirectd.errors import ConfigError, RedirectdError
from redirectd.sip.text import printable
from redirectd.times import rfc3339

_NO_MORE = {EBADF, EDQUOT, EFBIG, EIO, ENOSPC}


def _cells(text: str) -> int:
    """Columns that a terminal shows a text in."""
    from rich.cells import cell_len  # not for help, which prints no table

    return cell_len(text)


def open_closed() -> None:
    """Puts /dev/null where a standard stream is closed (`>&-`).

    Its number would else go to the next file that is opened, a database or a routing file, and what is printed would
    end up there; Python itself has None for such a stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        os.dup2(opened, number)
        if opened != number:
            os.close(opened)
        setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", errors="replace"))


def show_any_character() -> None:
    """A terminal that is not of UTF-8 shows a character it has none for as its number: a reason, or a file's name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_of_output(error: Exception) -> TypeGuard[OSError]:
    """Say if an error is that of a stream which takes no more, such as a file on a full disk."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _NO_MORE


def drop_output() -> None:
    """Sends what is left for standard output nowhere, or Python's own last flush would complain of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


GAP = "  "
INDENT = "    "
NARROWEST = 12
"""Cells of a last column whose text is wrapped."""


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = (), width: int | None = None
) -> Iterator[str]:
    """Give the head and the rows of a table, its columns aligned, those of `right` to the right.

    `width` is that of the terminal in cells, None where it does not matter. What is wider wraps the texts of its last
    column between words, or where that does not do, every row from cell to cell. No word is ever broken: one that is
    longer than a line, a URI, is left to the terminal, from which it can be copied as a whole. Cells are printable
    text; wide characters count for two cells.
    """
    widths = [max(map(_cells, column)) for column in zip(columns, *rows, strict=True)]
    before = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    if width is not None and before + widths[-1] > width:
        words = max(_cells(word) for cell in (columns[-1], *(row[-1] for row in rows)) for word in cell.split(" "))
        if before + max(words, NARROWEST, _cells(columns[-1])) > width:
            for row in (columns, *rows):
                yield from flowed([cell for cell in row if cell], width)
            return
        widths[-1] = width - before
    sides = [name in right for name in columns]
    for row in (columns, *rows):
        last = list(wrapped(row[-1], widths[-1])) or [""]
        parts = [_padded(cell, room, side) for cell, room, side in zip(row[:-1], widths, sides, strict=False)]
        yield GAP.join([*parts, _padded(last[0], widths[-1], sides[-1])]).rstrip()
        for line in last[1:]:
            yield " " * before + line


def flowed(cells: Sequence[str], width: int, indent: str = INDENT) -> Iterator[str]:
    """Give cells one after another, in as many lines as they need; those after the first begin with `indent`.

    Blanks before the first cell stay.
    """
    line = " " * (len(cells[0]) - len(cells[0].lstrip(" "))) if cells else ""
    for cell in (one.lstrip(" ") for one in cells):
        if line.strip() and _cells(line) + len(GAP) + _cells(cell) <= width:
            line += GAP + cell
            continue
        if line.strip():
            yield line.rstrip()
            line = indent
        *full, line_end = list(wrapped(cell, max(1, width - _cells(line)))) or [""]
        for part in full:
            yield line + part
            line = indent
        line += line_end
    if line.strip():
        yield line.rstrip()


def wrapped(text: str, room: int) -> Iterator[str]:
    """Give a text in lines of at most `room` cells, broken between words alone."""
    line = ""
    for word in text.split(" "):
        both = f"{line} {word}" if line else word
        if line and _cells(both) > room:
            yield line
            both = word
        line = both
    if line:
        yield line


def _padded(text: str, room: int, to_the_right: bool) -> str:  # noqa: FBT001 - for map
    blanks = " " * (room - _cells(text))
    return blanks + text if to_the_right else text + blanks


CELL = 500
"""Characters of a table's cell, a URI among them; what is longer ends in dots, and `show` and JSON have it whole."""

NARROW = 110
"""Columns of a terminal below which a remap takes two lines, and a plan leaves out what kind its targets are of."""


_AT_ONCE = 64 << 10
"""Characters of a long document that are printed at a time."""

_WIDE = "redirectd.wide"
_UTC_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


def json_option(command: click.decorators.FC) -> click.decorators.FC:
    """Adds `--json` as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def wide_option(command: click.decorators.FC) -> click.decorators.FC:
    """Adds `--wide`, which `is_wide` gives to whoever lays something out."""
    return click.option(
        "--wide",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({_WIDE: value}),
        help="One line each with all columns, paths too, however narrow the terminal is.",
    )(command)


def is_wide() -> bool:
    """Whether `--wide` was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_WIDE))


def emit_json(document: Mapping[str, Any]) -> None:
    """Prints one JSON document, in ASCII, so that nothing in it can reach a terminal's controls."""
    click.echo(json.dumps(document, indent=2, default=_plain))


def emit_pieces(pieces: Iterable[str]) -> None:
    """Prints a long text as it comes, so that none of it is kept in memory."""
    held: list[str] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= _AT_ONCE:
            click.echo("".join(held), nl=False)
            held, length = [], 0
    click.echo("".join(held), nl=False)


def _plain(value: object) -> str:
    return rfc3339(value) if isinstance(value, datetime) else str(value)


def short_time(when: datetime | None) -> str:
    """A time for people: local, to the minute; its zone is said once, by `zone`."""
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M}"


def exact_time(when: datetime | str | None) -> str:
    """A time for people to the second, where that matters; also from the RFC 3339 of a document."""
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M:%S}"


def zone() -> str:
    """The name of the local time zone, as in Europe/Berlin: right for times of summer and winter alike."""
    named = os.environ.get("TZ", "").lstrip(":")
    if not named:
        try:
            named = str(Path("/etc/localtime").readlink()).rpartition("zoneinfo/")[2]
        except OSError:
            named = time.strftime("%Z")
    return printable(named.removeprefix("Etc/"), 60)


def say(text: str = "") -> None:
    """Prints a line for people; what came from the network has gone through `printable` before."""
    write(f"{text}\n")


def note(text: str) -> None:
    """Prints a sentence to standard error."""
    say_wrapped(text, err=True)


def say_wrapped(text: str, *, indent: str = "  ", err: bool = False) -> None:
    """Prints a sentence; on a terminal it is wrapped between words, its further lines behind `indent`."""

    terminal = (sys.stderr if err else sys.stdout).isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    for line in [text] if width is None else flowed([text], width, indent):
        write(f"{line}\n", err=err)


def terminal_width() -> int | None:
    """Columns of the terminal; None where standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colours() -> bool:
    """Whether standard output is a terminal, and nobody has asked for none (NO_COLOR)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def heading(text: str) -> str:
    """The head of a table, bold on a terminal."""
    return click.style(text, bold=True) if has_colours() else text


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Prints a table. Cells are made printable; on a terminal it keeps to its width, unless `--wide` was given."""

    cells = [[printable(str(cell), CELL) for cell in row] for row in rows]
    head, *lines = table_lines(columns, cells, right=right, width=None if is_wide() else terminal_width())
    say(heading(head))
    for line in lines:
        say(line)


def diff_text(text: str) -> None:
    """Prints a unified diff, with colours on a terminal."""
    colour = has_colours()
    for line in text.splitlines():
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1]) if colour else None
        say(click.style(shown_line(line), fg=style) if style else shown_line(line))


def shown_line(line: str) -> str:
    """A line of a file for a terminal: its tabs kept, anything else made printable."""
    return "\t".join(printable(part) for part in line.split("\t"))


def with_local_times(text: str) -> str:
    """A sentence for people, its times in RFC 3339 as local ones with their zone."""
    return _UTC_TIME.sub(lambda found: f"{exact_time(found[0])} ({zone()})", text)


@contextmanager
def progress_bar(label: str, length: int, *, least: int = 0) -> Iterator[Callable[[int], None]]:
    """Progress on a terminal, where there is more than `least` to do; takes how much was done since it was asked."""
    if length <= least or not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


def error_json(error: RedirectdError) -> dict[str, str]:
    """An error as documents have it."""
    return {
        "where": printable(error.where),
        "why": printable(error.why),
        "what_to_do": printable(error.what_to_do),
    }


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
        note(f"{lead}{printable(fault.where).removeprefix('redirectd ')}")
        for title, text in (("why:       ", fault.why), ("what to do:", fault.what_to_do)):
            say_wrapped(f"  {title} {with_local_times(printable(text))}", indent=" " * 14, err=True)
