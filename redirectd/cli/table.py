"""Tables as lines of text; laid out here, since a library for it takes longer to load than most commands run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len, chop_cells

GAP = "  "


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = (), width: int | None = None
) -> Iterator[str]:
    """Give the head and the rows of a table, its columns aligned, those of `right` to the right.

    `width` is that of the terminal in cells: what does not fit goes on in the next line of its column. None, where
    nothing is cut or folded. Cells are printable text; wide characters count for two cells.
    """
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    if width is not None:
        _fit(widths, width - len(GAP) * (len(widths) - 1))
    sides = [name in right for name in columns]
    for row in (columns, *rows):
        folded = [_folded(cell, room) for cell, room in zip(row, widths, strict=True)]
        for number in range(max(map(len, folded))):
            parts = [lines[number] if number < len(lines) else "" for lines in folded]
            yield GAP.join(map(_padded, parts, widths, sides)).rstrip()


def _fit(widths: list[int], room: int) -> None:
    """Take from the widest column until all fit, or each has one cell."""
    while sum(widths) > room and max(widths) > 1:
        widest = widths.index(max(widths))
        widths[widest] -= 1


def _folded(text: str, room: int) -> list[str]:
    """Fold at a blank where there is one, else anywhere: nothing of a URI gets lost."""
    lines: list[str] = []
    while cell_len(text) > room:
        line = chop_cells(text, max(room, 2))[0]
        blank = line.rfind(" ")
        end = blank + 1 if blank > 0 else len(line)
        lines.append(text[:end].rstrip(" "))
        text = text[end:]
    return [*lines, text]


def _padded(text: str, room: int, to_the_right: bool) -> str:  # noqa: FBT001 - for map
    blanks = " " * (room - cell_len(text))
    return blanks + text if to_the_right else text + blanks
