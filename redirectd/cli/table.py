"""Tables as lines of text; laid out here, since a library for it takes longer to load than most commands run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len

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
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    before = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    if width is not None and before + widths[-1] > width:
        words = max(cell_len(word) for cell in (columns[-1], *(row[-1] for row in rows)) for word in cell.split(" "))
        if before + max(words, NARROWEST, cell_len(columns[-1])) > width:
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
        if line.strip() and cell_len(line) + len(GAP) + cell_len(cell) <= width:
            line += GAP + cell
            continue
        if line.strip():
            yield line.rstrip()
            line = indent
        *full, line_end = list(wrapped(cell, max(1, width - cell_len(line)))) or [""]
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
        if line and cell_len(both) > room:
            yield line
            both = word
        line = both
    if line:
        yield line


def _padded(text: str, room: int, to_the_right: bool) -> str:  # noqa: FBT001 - for map
    blanks = " " * (room - cell_len(text))
    return blanks + text if to_the_right else text + blanks
