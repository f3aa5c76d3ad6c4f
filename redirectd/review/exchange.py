"""Remaps as rows of CSV or JSON and back: pure text, every fault reported by its row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from redirectd.review.portable import COLUMNS, IGNORED, DocumentError, Portable, from_document
from redirectd.sip.text import printable

Format = Literal["csv", "json"]

SHOWN = ("id", "flags", "peers")
"""Columns of a CSV that are for people and programs beside us."""

_WORDS = frozenset({"contacts", "methods", "flags", "peers"})
_IN_JSON = frozenset({"calls", "contact_details", "peer_calls", "incoming", "incoming_forked", "held", "facts"})
_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True, slots=True)
class RowFault:
    """What is wrong with one row: `row` counts remaps from 1, behind the heading of a CSV; 0 is the file itself."""

    row: int
    why: str


def write(documents: Iterable[Mapping[str, Any]], form: Format) -> Iterator[str]:
    """The text of a whole file, in pieces; ASCII in JSON, and no cell that a spreadsheet would take for a formula.

    A document is `as_document` of a remap; what else it holds goes into JSON, and into CSV where `SHOWN` names it.
    """
    if form == "json":
        yield '{"remaps": ['
        for number, one in enumerate(documents):
            yield (",\n" if number else "\n") + json.dumps(one)
        yield "\n]}\n"
        return
    columns = (*SHOWN, *COLUMNS)
    yield _csv_line(columns)
    for one in documents:
        yield _csv_line([_cell(name, one.get(name)) for name in columns])


def _csv_line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if name in _WORDS and isinstance(value, list):
        text = " ".join(value)
    elif name in _IN_JSON:
        return json.dumps(value)
    else:
        text = str(value)
    return f"'{text}" if text.startswith(_RISKY) else text


def read(text: str, form: Format) -> Iterator[tuple[int, Portable | RowFault]]:
    """Every row with its number: what it says, or what is wrong with it. A text in no such format is one fault."""
    for row, document in _json_rows(text) if form == "json" else _csv_rows(text):
        if isinstance(document, RowFault):
            yield row, document
            continue
        try:
            yield row, from_document(document)
        except DocumentError as error:
            yield row, RowFault(row, str(error))


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any] | RowFault]]:
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        yield 0, RowFault(0, f"this is no JSON: {printable(str(error), 200)}")
        return
    rows = document.get("remaps") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        yield 0, RowFault(0, 'the document is neither a list of remaps nor {"remaps": [...]}')
        return
    for number, row in enumerate(rows, 1):
        yield number, row if isinstance(row, dict) else RowFault(number, "this is no object")


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any] | RowFault]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), restkey="", strict=True)
    row = 0
    try:
        if reader.fieldnames is None or "old_uri" not in reader.fieldnames:
            yield 0, RowFault(0, "the first line must name the columns, old_uri and new_uri among them")
            return
        if unknown := sorted(set(reader.fieldnames) - set(COLUMNS) - IGNORED):
            yield 0, RowFault(0, f"there is no column {printable(', '.join(unknown), 200)}")
            return
        for row, cells in enumerate(reader, 1):
            if "" in cells:
                yield row, RowFault(row, "it has more cells than the first line names")
                continue
            try:
                yield row, {name: _value(name, cell) for name, cell in cells.items() if name not in IGNORED and cell}
            except ValueError as error:
                yield row, RowFault(row, printable(str(error), 300))
    except csv.Error as error:
        yield row + 1, RowFault(row + 1, f"this is no CSV, line {reader.line_num}: {error}")


def _value(name: str, cell: str) -> Any:  # noqa: ANN401 - a JSON value
    if name in _WORDS:
        return cell.removeprefix("'").split()
    if name not in _IN_JSON:
        return cell.removeprefix("'")
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError(f"{name}: {printable(cell, 60)} can't be read") from None
