"""Remaps as rows of a CSV or JSON file, both ways."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redirectd.cli.remapview import remap_json
from redirectd.errors import UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from datetime import datetime

    from redirectd.store.remap import Remap

COLUMNS = (
    "id",
    "state",
    "kind",
    "old_uri",
    "new_uri",
    "contacts",
    "flags",
    "calls",
    "peers",
    "methods",
    "first_seen",
    "last_seen",
    "replaces",
    "note",
)
NEEDED = ("old_uri", "new_uri")
MAX_ROWS = 1_000_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an import: `number` counts from 1 as a person counts, behind a heading."""

    number: int
    old_uri: str
    new_uri: str
    kind: str
    state: str


def to_json(remaps: Sequence[Remap], now: datetime) -> str:
    """The document of `list --json`."""
    return json.dumps({"remaps": [remap_json(remap, now) for remap in remaps]}, indent=2)


def to_csv(remaps: Sequence[Remap], now: datetime) -> str:
    """One line a remap, lists separated by spaces. A cell that a spreadsheet would compute gets a quote in front."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for remap in remaps:
        row = remap_json(remap, now)
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def read_rows(text: str, name: str) -> Iterator[Row]:
    """The rows of a CSV or JSON text. Raises UsageError for a text that is neither or lacks what is needed."""
    for number, row in enumerate(_mappings(text, name), 1):
        if number > MAX_ROWS:
            raise UsageError(name, f"it has more than {MAX_ROWS:,} rows", "split the file")
        values = {key: row.get(key) for key in ("old_uri", "new_uri", "kind", "state")}
        texts = {key: value if isinstance(value, str) else "" for key, value in values.items()}
        yield Row(number, texts["old_uri"], texts["new_uri"], texts["kind"] or "user", texts["state"] or "pending")


def _mappings(text: str, name: str) -> Iterator[Mapping[str, Any]]:
    if text.lstrip()[:1] in {"{", "["}:
        yield from _json_rows(text, name)
        return
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in NEEDED if column not in (reader.fieldnames or ())]
    if missing:
        why = f"its first line does not name {' and '.join(missing)}"
        raise UsageError(name, why, "see how 'redirectd export --format csv' writes it")
    try:
        yield from reader
    except csv.Error as error:
        raise UsageError(name, f"line {reader.line_num}: {printable(str(error))}", "mend that line") from error


def _json_rows(text: str, name: str) -> Iterator[Mapping[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(name, f"this is no JSON: {error}", "mend that place") from error
    rows = document.get("remaps") if isinstance(document, dict) else document
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(name, "it holds no list of remaps", "see how 'redirectd export --format json' writes it")
    yield from rows
