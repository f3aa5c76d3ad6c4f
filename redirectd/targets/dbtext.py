"""Tables of Kamailio's db_text: one file each, a line of columns, then a line for each row.

Grammar as the module reads it (modules/db_text of 5.6): ``name(type,option...)`` columns separated by
blanks; fields separated by ``:``; escapes in string fields are exactly ``\\n \\r \\t \\\\ \\0 \\:``; an empty
field is NULL; there are no comments. One malformed row makes the whole table unusable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redirectd.targets.base import TargetError

_COLUMN = re.compile(r"([a-z_]{1,64})\((int|string)(,auto|,null)?\)")
_FIELD = re.compile(r"(?:[^\\:]|\\[nrt\\0:])*+")
_ESCAPE = re.compile(r"\\([nrt\\0:])")
_MEANING = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "0": "\0", ":": ":"}
_INTEGER = re.compile(r"-?[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `kind` is ``int`` or ``string``, `option` empty, ``auto`` or ``null``."""

    name: str
    kind: str
    option: str = ""

    def __str__(self) -> str:
        return f"{self.name}({self.kind}{',' if self.option else ''}{self.option})"


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str | int]]) -> bytes:
    """Write a table; values are printable ASCII by the caller's allow-list, or ValueError is raised."""
    lines = [" ".join(map(str, columns))]
    lines += [":".join(map(_field, row)) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _field(value: str | int) -> str:
    text = str(value)
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a db_text field is printable ASCII")
    return text.replace("\\", "\\\\").replace(":", "\\:")


def read_table(content: bytes, columns: Sequence[Column]) -> list[list[str | int | None]]:
    """Read a table as Kamailio does; TargetError names the line of anything Kamailio would refuse or guess at.

    Stricter than Kamailio in one way: every byte must be printable ASCII or a line feed, and the last line complete.
    """
    lines = text_lines(content)
    found = [_column(name) for name in lines[0].split(" ")]
    if found != list(columns):
        raise TargetError(f"line 1: the columns are not {' '.join(map(str, columns))}")
    return [_row(number, line, columns) for number, line in enumerate(lines[1:], 2)]


def text_lines(content: bytes) -> list[str]:
    """Split a file of printable ASCII into its lines; TargetError names the line of any other byte."""
    text = content.decode("latin-1")
    if not text.endswith("\n"):
        raise TargetError("the last line is not complete")
    lines = text[:-1].split("\n")
    for number, line in enumerate(lines, 1):
        if not (line.isascii() and (line.isprintable())):
            raise TargetError(f"line {number}: a byte that is not printable ASCII")
    return lines


def _column(text: str) -> Column | None:
    found = _COLUMN.fullmatch(text)
    return Column(found[1], found[2], (found[3] or "")[1:]) if found else None


def _row(number: int, line: str, columns: Sequence[Column]) -> list[str | int | None]:
    values: list[str | int | None] = []
    at = 0
    for i, column in enumerate(columns):
        found = _FIELD.match(line, at)
        assert found  # it matches the empty text
        at = found.end() + 1
        end = ":" if i < len(columns) - 1 else ""
        if line[found.end() : at] != end:
            raise TargetError(f"line {number}: field {i + 1} does not end where it should")
        values.append(_value(number, found[0], column))
    return values


def _value(number: int, text: str, column: Column) -> str | int | None:
    if not text:
        return None
    if column.kind == "string":
        return _ESCAPE.sub(lambda found: _MEANING[found[1]], text)
    if not _INTEGER.fullmatch(text) or not -(2**31) <= int(text) < 2**31:
        raise TargetError(f"line {number}: {column.name} is no 32-bit number")
    return int(text)
