"""csv and json: all routes as data, for what reads files of its own; nothing is told to any server."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from redirectd.plan.route import Route
from redirectd.sip.routekey import route_key
from redirectd.sip.uri import SipUri
from redirectd.targets.base import Command, Question, Rendered, TargetError, token_of
from redirectd.targets.project import project
from redirectd.targets.uritext import KAMAILIO, checked, write_uri

_COLUMNS = ["old_uri", "new_uri"]


class _Listing(ABC):
    """User and gateway moves under the whole route key, port and transport included."""

    mtime_step: ClassVar[bool] = False

    def __init__(self, *, match: str = "request-uri") -> None:
        self._match = match

    def render(self, routes: Sequence[Route], base: bytes | None) -> Rendered:
        """Write all routes in key order."""
        found = project(routes, None, self._match, _keys, lambda uri: write_uri(uri, KAMAILIO))
        content = self._write(found.entries).encode("ascii")
        return Rendered(content, found.entries, found.refused, found.conflicts, token_of(found.entries), found.carried)

    def parse(self, content: bytes) -> Mapping[str, str]:
        """Read the pairs back; TargetError where the file is not of this form or an old URI stands there twice."""
        try:
            pairs = self._read(content.decode("ascii"))
        except (ValueError, csv.Error) as error:
            raise TargetError(f"not the form of this target: {error}") from None
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise TargetError("an old URI stands there twice")
        return entries

    def reload(self) -> Sequence[Command]:
        """Nothing: no server is known."""
        return ()

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Nothing: no server is known."""
        return ()

    @abstractmethod
    def _write(self, entries: Mapping[str, str]) -> str: ...

    @abstractmethod
    def _read(self, text: str) -> list[tuple[str, str]]: ...


class CsvListing(_Listing):
    """Comma-separated values with the heading ``old_uri,new_uri`` (RFC 4180, line feeds)."""

    kind: ClassVar[str] = "csv"

    def _write(self, entries: Mapping[str, str]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *entries.items()])
        return text.getvalue()

    def _read(self, text: str) -> list[tuple[str, str]]:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        if not rows or rows[0] != _COLUMNS or any(len(row) != 2 for row in rows):
            raise ValueError("not rows of old_uri,new_uri")
        return [(old, new) for old, new in rows[1:]]


class JsonListing(_Listing):
    """One document, ``{"routes": [{"old_uri": ..., "new_uri": ...}]}``."""

    kind: ClassVar[str] = "json"

    def _write(self, entries: Mapping[str, str]) -> str:
        routes = [{"old_uri": old, "new_uri": new} for old, new in entries.items()]
        return json.dumps({"routes": routes}, indent=1) + "\n"

    def _read(self, text: str) -> list[tuple[str, str]]:
        document = json.loads(text)
        if not isinstance(document, dict) or list(document) != ["routes"] or not isinstance(document["routes"], list):
            raise ValueError("not an object with routes")
        return [_pair(item) for item in document["routes"]]


def _pair(item: object) -> tuple[str, str]:
    match item:
        case {"old_uri": str(old), "new_uri": str(new), **rest} if not rest:
            return old, new
    raise ValueError("a route that is not old_uri and new_uri")


def _keys(uri: SipUri) -> Collection[str]:
    return (str(route_key(checked(uri))),)
