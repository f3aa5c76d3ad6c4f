"""What a server was found not to hold: remaps that its target is planned without until somebody says to try again."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from redirectd.store.settings import get_setting, put_setting

_NAME = "refused_by_server"


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """Why a server did not hold a remap whose new URI was `new`; approved for another place it is another matter."""

    new: str
    reason: str


Refused = dict[str, dict[int, RefusedEntry]]
"""By target and remap."""


def refused_entries(connection: Connection, node: str) -> Refused:
    """Give what the servers of `node` were found not to hold."""
    value = get_setting(connection, node, _NAME)
    found: dict[str, dict[str, dict[str, str]]] = {} if value is None else json.loads(value)
    return {
        target: {int(number): RefusedEntry(**entry) for number, entry in entries.items()}
        for target, entries in found.items()
    }


def put_refused_entries(connection: Connection, node: str, new: Mapping[str, Mapping[int, RefusedEntry]]) -> None:
    """Remember more of them."""
    known = refused_entries(connection, node)
    for target, entries in new.items():
        known[target] = known.get(target, {}) | dict(entries)
    _put(connection, node, known)


def forget_refused_entries(connection: Connection, node: str, targets: Collection[str]) -> None:
    """Forget those of some targets, so that they are tried again."""
    known = refused_entries(connection, node)
    if not known.keys().isdisjoint(targets):
        _put(connection, node, {target: entries for target, entries in known.items() if target not in targets})


def _put(connection: Connection, node: str, known: Refused) -> None:
    value = {
        target: {str(number): asdict(entry) for number, entry in entries.items()} for target, entries in known.items()
    }
    put_setting(connection, node, _NAME, json.dumps(value) if value else None)
