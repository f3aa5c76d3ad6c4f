"""What a node keeps for itself between its runs: texts by name, and where each source was read to."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from redirectd.collect.verdict import digest
from redirectd.store.database import Database
from redirectd.store.schema import position, setting
from redirectd.store.statements import insert_missing, insert_or_add


def get_setting(connection: Connection, node: str, name: str) -> str | None:
    """The text; None where there is none."""
    value: str | None = connection.scalar(select(setting.c.value).where(setting.c.node == node, setting.c.name == name))
    return value


def put_setting(connection: Connection, node: str, name: str, value: str | None) -> None:
    """Stores a text in place of the one before; None removes it."""
    connection.execute(setting.delete().where(setting.c.node == node, setting.c.name == name))
    if value is not None:
        connection.execute(setting.insert().values(node=node, name=name, value=value))


TRAFFIC = "traffic_at"
"""Key in a position: when the newest SIP message that was read was logged, RFC 3339."""


def load_position(connection: Connection, node: str, source: str) -> dict[str, Any] | None:
    """The stored position as the source wrote it, None where it was never read."""
    value = connection.scalar(select(position.c.value).where(position.c.node == node, position.c.source == source))
    return None if value is None else json.loads(value)


def save_position(connection: Connection, node: str, source: str, value: Mapping[str, Any], now: datetime) -> None:
    """Stores a position in place of the one before."""
    row = {"node": node, "source": source, "value": json.dumps(dict(value)), "updated_at": now}
    insert_or_add(connection, position, [row], ["node", "source"], [], [], new=["value", "updated_at"])


def with_traffic(value: Mapping[str, Any], at: datetime | None, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The position with the later of `at` and what the position `before` had."""
    known = traffic_of(before)
    latest = max((one for one in (at, known) if one is not None), default=None)
    return {**value, TRAFFIC: latest.isoformat()} if latest is not None else dict(value)


def traffic_of(value: Mapping[str, Any] | None) -> datetime | None:
    """What `with_traffic` has put into a position."""
    text = (value or {}).get(TRAFFIC)
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def traffic(connection: Connection) -> dict[str, datetime]:
    """By node, when the newest SIP message in its logs was logged, as far as they were read."""
    found: dict[str, datetime] = {}
    rows = select(position.c.node, position.c.value).where(position.c.value.contains(TRAFFIC))
    for node, value in connection.execute(rows):
        at = traffic_of(json.loads(value))
        if at is not None:
            found[node] = max(at, found.get(node, at))
    return found


def is_source_proven(connection: Connection, node: str, source: str) -> bool:
    """Whether the source has shown one."""
    return get_setting(connection, node, _name_of_proven(source)) is not None


def note_proven(connection: Connection, node: str, source: str) -> None:
    """Keeps that it has."""
    row = {"node": node, "name": _name_of_proven(source), "value": source}
    insert_missing(connection, setting, [row], ["node", "name"])


def _name_of_proven(source: str) -> str:
    return "proven " + digest(source)


_TARGETS = "targets"


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """One target of a node: its name, kind and `match`, and what else than a route key it moves (`width`, R41)."""

    name: str
    kind: str
    match: str
    width: str | None = None


def put_node_targets(database: Database, node: str, targets: Sequence[NodeTarget]) -> None:
    """Makes the targets of `node` known to all nodes; writes nothing where they are. Raises StoreError."""
    value = json.dumps([asdict(one) for one in targets])
    with database.read() as connection:
        if get_setting(connection, node, _TARGETS) == value:
            return
    with database.begin() as connection:
        put_setting(connection, node, _TARGETS, value)


def node_targets(connection: Connection) -> list[tuple[str, NodeTarget]]:
    """The targets of all nodes, each with its node's name."""
    rows = connection.execute(select(setting.c.node, setting.c.value).where(setting.c.name == _TARGETS))
    return [(row.node, NodeTarget(**one)) for row in rows for one in json.loads(row.value)]


_REFUSED = "refused_by_server"


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """Why a server did not hold a remap whose new URI was `new`; approved for another place it is another matter."""

    new: str
    reason: str


Refused = dict[str, dict[int, RefusedEntry]]
"""By target and remap."""


def refused_entries(connection: Connection, node: str) -> Refused:
    """Give what the servers of `node` were found not to hold."""
    value = get_setting(connection, node, _REFUSED)
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
    _put_refused(connection, node, known)


def forget_refused_entries(connection: Connection, node: str, targets: Collection[str]) -> None:
    """Forget those of some targets, so that they are tried again."""
    known = refused_entries(connection, node)
    if not known.keys().isdisjoint(targets):
        _put_refused(connection, node, {target: entries for target, entries in known.items() if target not in targets})


def _put_refused(connection: Connection, node: str, known: Refused) -> None:
    value = {
        target: {str(number): asdict(entry) for number, entry in entries.items()} for target, entries in known.items()
    }
    put_setting(connection, node, _REFUSED, json.dumps(value) if value else None)


_HOLDS = "apply_hold"


@dataclass(frozen=True, slots=True)
class Hold:
    """Who holds applies on a node, since when (RFC 3339) and why.

    `generation` is the rollback's own, which ends its hold if it does not come into service. `targets` are those held;
    none means all of the node, as a hold of an earlier redirectd does.
    """

    actor: str
    at: str
    reason: str
    generation: int = 0
    targets: tuple[str, ...] = ()

    def covers(self, names: Collection[str]) -> bool:
        """Say if any of these targets is held."""
        return not self.targets or not set(self.targets).isdisjoint(names)


def get_holds(connection: Connection, node: str) -> list[Hold]:
    """Give the holds on `node`, the latest last."""
    value = get_setting(connection, node, _HOLDS)
    if value is None:
        return []
    found = json.loads(value)
    if isinstance(found, dict):  # of a redirectd that had one hold for all, with the one before within it
        earlier = found.pop("earlier", None)
        if earlier is not None:
            earlier.pop("earlier", None)
        found = [each for each in (earlier, found) if each is not None]
    return [Hold(**{**each, "targets": tuple(each.get("targets", ()))}) for each in found]


def add_hold(connection: Connection, node: str, hold: Hold) -> None:
    """Hold applies on `node`; earlier holds stay."""
    _put_holds(connection, node, [*get_holds(connection, node), hold])


def end_hold_of(connection: Connection, node: str, generation: int) -> Hold | None:
    """End the hold of a rollback that did not come into service; give what ended."""
    holds = get_holds(connection, node)
    ended = next((hold for hold in holds if hold.generation == generation), None)
    if ended is not None:
        _put_holds(connection, node, (hold for hold in holds if hold is not ended))
    return ended


def clear_holds(connection: Connection, node: str, names: Collection[str]) -> list[Hold]:
    """Let applies of the targets `names` go on; give the holds that were on them."""
    holds = get_holds(connection, node)
    ended = [hold for hold in holds if hold.covers(names)]
    left = [replace(hold, targets=tuple(name for name in hold.targets if name not in names)) for hold in holds]
    _put_holds(
        connection, node, (after for hold, after in zip(holds, left, strict=True) if after.targets or hold not in ended)
    )
    return ended


def _put_holds(connection: Connection, node: str, holds: Iterable[Hold]) -> None:
    value = [asdict(hold) for hold in holds]
    put_setting(connection, node, _HOLDS, json.dumps(value) if value else None)
