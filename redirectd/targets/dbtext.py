"""Tables of Kamailio's db_text: one file each, a line of columns, then a line for each row.

Grammar as the module reads it (modules/db_text of 5.6): ``name(type,option...)`` columns separated by
blanks; fields separated by ``:``; escapes in string fields are exactly ``\\n \\r \\t \\\\ \\0 \\:``; an empty
field is NULL; there are no comments. One malformed row makes the whole table unusable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from redirectd.plan.target import TargetError
from redirectd.targets.lines import text_lines, write_lines

_COLUMN = re.compile(r"([a-z_]{1,64})\((int|string)(,auto|,null)?\)")
_FIELD = re.compile(r"(?:[^\\:]|\\[nrt\\0:])*+")
_ESCAPE = re.compile(r"\\([nrt\\0:])")
_MEANING = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "0": "\0", ":": ":"}
_NAMES = {character: f"\\{letter}" for letter, character in _MEANING.items() if letter in "nrt0"}
_CONTROL = re.compile(f"[{''.join(_NAMES)}]")
_NULL = "\\N"
_ANY_FIELD = re.compile(r"((?:[^\\:]|\\.)*+):")
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_VALUE = r"((?!:)[^\\:]*+(?:\\[nrt\\0:][^\\:]*+)*+)"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `kind` is ``int`` or ``string``, `option` empty, ``auto`` or ``null``."""

    name: str
    kind: str
    option: str = ""

    def __str__(self) -> str:
        return f"{self.name}({self.kind}{',' if self.option else ''}{self.option})"


class Table:
    """A table of which some columns are the same in all rows, and the others, strings all, are what a row is about.

    The column ``auto`` is Kamailio's own number of a row: 0 is written, so that diffs stay small, and any is read.
    """

    def __init__(self, columns: Sequence[Column], same: Mapping[str, str | int]) -> None:
        self._columns = columns
        self._same = same
        self._head = " ".join(map(str, columns))
        fixed = {name: _escaped(str(value)) for name, value in same.items()}
        automatic = {column.name for column in columns if column.option == "auto"}
        self._shape = ":".join("0" if name in automatic else fixed.get(name, "%s") for name in self._names)
        patterns = {name: re.escape(text) for name, text in fixed.items()} | dict.fromkeys(automatic, r"[0-9]{1,9}")
        self._usual = re.compile(":".join(patterns.get(name, _VALUE) for name in self._names))

    @property
    def _names(self) -> Iterator[str]:
        return (column.name for column in self._columns)

    def write(self, rows: Iterable[tuple[str, ...]]) -> bytes:
        """Write rows; values are printable ASCII by the caller's allow-list, or ValueError is raised."""
        return write_lines(self._head, (self._shape % tuple(map(_escaped, row)) for row in rows))

    def read(self, content: bytes) -> Iterator[tuple[int, Sequence[str]]]:
        """Give each row's line and values as Kamailio reads them.

        TargetError names the line of anything Kamailio would refuse or guess at, of another value where all rows are
        the same, and of an empty field. Stricter than Kamailio in one way: every byte must be printable ASCII or a
        line feed, and the last line complete.
        """
        lines = text_lines(content)
        if [_column(name) for name in next(lines).split(" ")] != list(self._columns):
            raise TargetError(f"line 1: the columns are not {self._head}")
        for number, line in enumerate(lines, 2):
            usual = self._usual.fullmatch(line)
            yield number, list(map(_meaning, usual.groups())) if usual else self._unusual(number, line)

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns that a row brings, in their order: all but Kamailio's own number."""
        return tuple(column.name for column in self._columns if column.option != "auto")

    @property
    def same(self) -> Mapping[str, str | int]:
        """The columns that are the same in all rows, with what they are."""
        return self._same

    def text(self, rows: Iterable[Sequence[object]]) -> bytes:
        """Give rows of the columns `stored` as `write` would, whatever they hold, so that nothing of them is lost.

        What Kamailio would not take from a file, such as NULL (``\\N``) and other letters, is refused by `read`.
        """
        lines = [self._head, *(":".join(self._texts(row)) for row in rows)]
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")

    def values(self, content: bytes) -> Iterator[tuple[str | int | None, ...]]:
        """Give the rows that `text` or `write` made; TargetError for anything else."""
        head, *lines = content.decode("utf-8", "surrogateescape").split("\n")
        if head != self._head or not lines or lines.pop():
            raise TargetError(f"line 1: the columns are not {self._head}")
        for number, line in enumerate(lines, 2):
            texts = _ANY_FIELD.findall(line + ":")
            if len(texts) != len(self._columns):
                raise TargetError(f"line {number}: it has not {len(self._columns)} fields")
            pairs = zip(self._columns, texts, strict=True)
            yield tuple(_stored(number, text, column) for column, text in pairs if column.option != "auto")

    def _texts(self, row: Sequence[object]) -> Iterator[str]:
        rest = iter(row)
        return ("0" if column.option == "auto" else _any(next(rest)) for column in self._columns)

    def _unusual(self, number: int, line: str) -> list[str]:
        """Read a row the long way, which finds what is wrong with it."""
        values: list[str] = []
        for column, value in zip(self._columns, _row(number, line, self._columns), strict=True):
            if column.name in self._same:
                if value != self._same[column.name]:
                    raise TargetError(f"line {number}: {column.name} is not {self._same[column.name]}")
            elif isinstance(value, str):
                values.append(value)
            elif column.option != "auto":
                raise TargetError(f"line {number}: {column.name} is empty")
        return values


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")


def _any(value: object) -> str:
    """Write any value of a database's row."""
    if value is None:
        return _NULL
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    text = _escaped(str(value))
    return text if text.isprintable() else _CONTROL.sub(lambda found: _NAMES[found[0]], text)


def _stored(number: int, text: str, column: Column) -> str | int | None:
    """Read what `_any` wrote."""
    if text == _NULL:
        return None
    if column.kind == "string":
        return _meaning(text)
    if not _INTEGER.fullmatch(text):
        raise TargetError(f"line {number}: {column.name} is not a number")
    return int(text)


def _meaning(text: str) -> str:
    if "\\" not in text:
        return text
    plain = text.replace("\\:", ":")
    return plain if "\\" not in plain else _ESCAPE.sub(lambda found: _MEANING[found[1]], text)


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
        return _meaning(text)
    if not _INTEGER.fullmatch(text) or not -(2**31) <= int(text) < 2**31:
        raise TargetError(f"line {number}: {column.name} is no 32-bit number")
    return int(text)
