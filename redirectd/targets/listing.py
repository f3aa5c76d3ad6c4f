"""csv and json: all routes as data, for what reads files of its own; no server is notified."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from redirectd.plan.route import Route
from redirectd.plan.target import NOTHING, Command, Question, Rendered, TargetError, gather, token_of
from redirectd.sip.compare import route_key
from redirectd.sip.uri import SipUri
from redirectd.targets.lines import write_lines
from redirectd.targets.own_programs import Programs
from redirectd.targets.project import project
from redirectd.targets.uritext import KAMAILIO, checked, write_uri

_COLUMNS = ["old_uri", "new_uri"]


class _Listing(ABC):
    """User and gateway moves under the whole route key, port and transport included."""

    mtime_step: ClassVar[bool] = False

    def __init__(
        self,
        *,
        match: str = "request-uri",
        check: Sequence[str] = (),
        reload: Sequence[str] = (),
        verify: Sequence[str] = (),
    ) -> None:
        self._match = match
        self.programs = Programs(check, reload, verify)

    def render(self, routes: Sequence[Route], base: bytes | None) -> Rendered:
        """Write all routes in key order."""
        found = project(routes, None, self._match, _keys, lambda uri: write_uri(uri, KAMAILIO))
        content = self._write(found.entries)
        return found.rendered(content, token_of(found.entries))

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read the pairs back; TargetError where the file is not of this form or an old URI appears twice."""
        try:
            rows = ((number, old, new) for number, (old, new) in enumerate(self._read(content.decode("ascii")), 1))
            return gather(rows, like, "old URI")
        except TargetError:
            raise
        except (ValueError, csv.Error) as error:
            raise TargetError(f"not the form of this target: {error}") from None

    def reload(self) -> Sequence[Command]:
        """Run the operator's program."""
        return self.programs.reloading()

    def preflight(self, path: str, rendered: Rendered) -> Question:
        """Run the operator's program on the staged file."""
        return self.programs.checking(path)

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Run the operator's program that proves what is in service."""
        return self.programs.verifying(rendered)

    @abstractmethod
    def _write(self, entries: Mapping[str, str]) -> bytes: ...

    @abstractmethod
    def _read(self, text: str) -> Iterable[tuple[str, str]]: ...


class CsvListing(_Listing):
    """Comma-separated values with the heading ``old_uri,new_uri`` (RFC 4180, line feeds)."""

    kind: ClassVar[str] = "csv"

    def _write(self, entries: Mapping[str, str]) -> bytes:
        content = io.BytesIO()
        with io.TextIOWrapper(content, encoding="ascii", newline="") as text:
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(_COLUMNS)
            rows.writerows(entries.items())
            text.flush()
            return content.getvalue()

    def _read(self, text: str) -> Iterator[tuple[str, str]]:
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        if next(rows, None) != _COLUMNS:
            raise ValueError("its first row is not old_uri,new_uri")
        for row in rows:
            if len(row) != 2:
                raise ValueError("not rows of old_uri,new_uri")
            yield row[0], row[1]


class JsonListing(_Listing):
    """One document, ``{"routes": [{"old_uri": ..., "new_uri": ...}]}``."""

    kind: ClassVar[str] = "json"

    def _write(self, entries: Mapping[str, str]) -> bytes:
        return write_lines("{", _json_lines(entries))

    def _read(self, text: str) -> list[tuple[str, str]]:
        document = json.loads(text, object_pairs_hook=_object)
        if not isinstance(document, dict) or list(document) != ["routes"] or not isinstance(document["routes"], list):
            raise ValueError("not an object with routes")
        return [_pair(item) for item in document["routes"]]


def _json_lines(entries: Mapping[str, str]) -> Iterator[str]:
    """Write what json.dumps would with an indent of 1; that takes 300 MB for a million routes."""
    if not entries:
        yield ' "routes": []'
    else:
        yield ' "routes": ['
        for number, (old, new) in enumerate(entries.items(), 1):
            yield "  {"
            yield f'   "old_uri": {json.dumps(old)},'
            yield f'   "new_uri": {json.dumps(new)}'
            yield "  }," if number < len(entries) else "  }"
        yield " ]"
    yield "}"


def _object(pairs: list[tuple[str, object]]) -> object:
    """Make a route its pair at once: a million of them as dicts would take 300 MB."""
    found = dict(pairs)
    return (found["old_uri"], found["new_uri"]) if found.keys() == set(_COLUMNS) else found


def _pair(item: object) -> tuple[str, str]:
    if isinstance(item, tuple):
        old, new = item
        if isinstance(old, str) and isinstance(new, str):
            return old, new
    raise ValueError("a route that is not old_uri and new_uri")


def _keys(uri: SipUri) -> Collection[str]:
    return (str(route_key(checked(uri))),)
