"""A remap without what belongs to one database alone, and the documents that it travels in.

Rows of CSV or JSON and back are pure text, every fault reported by its row.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from redirectd.review.holds import DERIVED_FLAGS
from redirectd.sip.text import printable
from redirectd.store.remap import Remap, RemapTarget, State
from redirectd.times import rfc3339

COLUMNS = (
    "state",
    "kind",
    "old_uri",
    "new_uri",
    "contacts",
    "calls",
    "methods",
    "first_seen",
    "last_seen",
    "note",
    "expires_at",
    "contact_details",
    "peer_calls",
    "incoming",
    "incoming_forked",
    "held",
    "facts",
)
"""What travels. `old_uri` and one of `new_uri`, `contacts` and `contact_details` are needed, all else has a default."""

IGNORED = frozenset(
    {
        *("id", "flags", "needs", "approvals", "required", "stale"),
        *("peers", "replaces", "decided_at", "decided_by", "reasons", "evidence"),
    }
)
"""What an export or `list --json` shows beside it and an import leaves alone: ids, and what follows from policy."""

MAX_NUMBER = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Portable:
    """A remap without what belongs to one database alone.

    `kind` is empty where a row does not say it; `held` are the flags that no policy decides.
    """

    old_uri: str
    new_uri: str | None
    contacts: tuple[RemapTarget, ...]
    state: State = State.PENDING
    kind: str = ""
    note: str = ""
    calls: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    expires_at: datetime | None = None
    methods: tuple[str, ...] = ()
    peer_calls: Mapping[str, int] = field(default_factory=dict)
    incoming: tuple[str, ...] = ()
    incoming_forked: bool = False
    held: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


class DocumentError(ValueError):
    """Why a document can't be taken, in words that are safe to print."""


def portable(remap: Remap) -> Portable:
    """What travels of a remap; the holds of the policy and of its siblings follow anew wherever it comes to."""
    return Portable(
        old_uri=remap.old_uri,
        new_uri=remap.new_uri,
        contacts=remap.contacts,
        state=remap.state,
        kind=remap.kind,
        note=remap.note,
        calls=remap.calls,
        first_seen=remap.first_seen,
        last_seen=remap.last_seen,
        expires_at=remap.expires_at,
        methods=remap.methods,
        peer_calls=dict(remap.peer_calls),
        incoming=remap.incoming,
        incoming_forked=remap.incoming_forked,
        held={name: reason for name, reason in remap.flags.items() if name not in DERIVED_FLAGS},
        facts=dict(remap.facts),
    )


def as_document(one: Portable) -> dict[str, Any]:
    """A row as JSON, in the order of `COLUMNS`; names in a cell by the alphabet, so that equal rows are equal text."""
    return {
        "state": one.state.value,
        "kind": one.kind,
        "old_uri": one.old_uri,
        "new_uri": one.new_uri,
        "contacts": [c.uri for c in one.contacts],
        "calls": one.calls,
        "methods": list(one.methods),
        "first_seen": _time_text(one.first_seen),
        "last_seen": _time_text(one.last_seen),
        "note": one.note,
        "expires_at": _time_text(one.expires_at),
        "contact_details": [{"uri": c.uri, "q": c.q, "raw": c.raw, "dropped": c.dropped} for c in one.contacts],
        "peer_calls": dict(sorted(one.peer_calls.items())),
        "incoming": list(one.incoming),
        "incoming_forked": one.incoming_forked,
        "held": dict(sorted(one.held.items())),
        "facts": dict(sorted(one.facts.items())),
    }


def from_document(row: Mapping[str, Any]) -> Portable:
    """What a row says. Raises DocumentError."""
    if unknown := sorted(set(row) - set(COLUMNS) - IGNORED - {"audit"}):
        raise DocumentError(f"there is no key {printable(', '.join(unknown), 200)}")
    new_uri = _take(row, "new_uri", _text, None)
    contacts = _take(row, "contact_details", _contacts, ()) or _take(row, "contacts", _contacts, ())
    if not contacts:
        if new_uri is None:
            raise DocumentError("new_uri is missing")
        contacts = (RemapTarget(new_uri),)
    return Portable(
        old_uri=_take(row, "old_uri", _text, None) or _missing("old_uri"),
        new_uri=new_uri,
        contacts=contacts,
        state=_take(row, "state", lambda value: State(_text(value)), State.PENDING),
        kind=_take(row, "kind", _text, ""),
        note=_take(row, "note", _text, ""),
        calls=_take(row, "calls", _count, 0),
        first_seen=_take(row, "first_seen", _time, None),
        last_seen=_take(row, "last_seen", _time, None),
        expires_at=_take(row, "expires_at", _time, None),
        methods=_take(row, "methods", _texts, ()),
        peer_calls=_take(row, "peer_calls", lambda value: _mapping(value, _count), {}),
        incoming=_take(row, "incoming", _texts, ()),
        incoming_forked=_take(row, "incoming_forked", _flag, False),  # noqa: FBT003 - a default value
        held=_take(row, "held", lambda value: _mapping(value, _text), {}),
        facts=_take(row, "facts", lambda value: _mapping(value, _text), {}),
    )


def _missing(name: str) -> str:
    raise DocumentError(f"{name} is missing")


def _take(row: Mapping[str, Any], name: str, read_value: Callable[[Any], Any], default: Any) -> Any:  # noqa: ANN401 - JSON
    value = row.get(name)
    if value is None:
        return default
    try:
        return read_value(value)
    except (ValueError, OverflowError) as error:
        raise DocumentError(f"{name}: {printable(str(error), 200)}") from None


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    if not isinstance(value, str):
        raise ValueError("it must be a text")  # noqa: TRY004 - every fault of a row is a ValueError
    if not value.isprintable() or len(value) > 8192:
        raise ValueError("it holds control characters, or more than 8,192 characters")
    return value


def _texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    if not isinstance(value, list):
        raise ValueError("it must be a list of texts")  # noqa: TRY004 - as above
    return tuple(_text(item) for item in value)


def _count(value: Any) -> int:  # noqa: ANN401 - JSON
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
        raise ValueError("it must be a whole number from 0 on")
    return value


def _flag(value: Any) -> bool:  # noqa: ANN401 - JSON
    if not isinstance(value, bool):
        raise ValueError("it must be true or false")  # noqa: TRY004 - as above
    return value


def _mapping(value: Any, read_value: Callable[[Any], Any]) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(value, dict):
        raise ValueError("it must be an object")  # noqa: TRY004 - as above
    return {_text(name): read_value(item) for name, item in value.items()}


def _time(value: Any) -> datetime:  # noqa: ANN401 - JSON
    when = datetime.fromisoformat(_text(value))
    if when.tzinfo is None:
        raise ValueError("it has no zone: write it as 2026-01-31T12:00:00Z")
    return when.astimezone(UTC)


def _time_text(when: datetime | None) -> str | None:
    return None if when is None else rfc3339(when)


def _contacts(value: Any) -> tuple[RemapTarget, ...]:  # noqa: ANN401 - JSON
    if not isinstance(value, list) or len(value) > 50:
        raise ValueError("it must be a list of at most 50 Contacts")
    found = []
    for item in value:
        one = {"uri": item} if isinstance(item, str) else item
        if not isinstance(one, dict) or not set(one) <= {"uri", "q", "raw", "dropped"}:
            raise ValueError("a Contact is a URI, or has uri, q, raw and dropped alone")
        q = one.get("q", 1.0)
        if isinstance(q, bool) or not isinstance(q, int | float) or not 0 <= q <= 1:
            raise ValueError("the q of a Contact must be from 0 to 1")
        raw, dropped = _text(one.get("raw", "")), _text(one.get("dropped", ""))
        found.append(RemapTarget(_text(one.get("uri")), round(float(q), 3), raw, dropped))
    return tuple(found)


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
        yield 0, RowFault(0, f"this is not JSON: {printable(str(error), 200)}")
        return
    rows = document.get("remaps") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        yield 0, RowFault(0, 'the document is neither a list of remaps nor {"remaps": [...]}')
        return
    for number, row in enumerate(rows, 1):
        yield number, row if isinstance(row, dict) else RowFault(number, "this is not an object")


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
        yield row + 1, RowFault(row + 1, f"this is not CSV, line {reader.line_num}: {error}")


def _value(name: str, cell: str) -> Any:  # noqa: ANN401 - a JSON value
    if name in _WORDS:
        return cell.removeprefix("'").split()
    if name not in _IN_JSON:
        return cell.removeprefix("'")
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError(f"{name}: {printable(cell, 60)} can't be read") from None
