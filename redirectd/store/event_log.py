"""What happened, for those who are to hear of it: one row each, written with what it reports, read by a cursor.

Call `emit` last in a transaction, after what takes other turns: its own turn is kept to the end, so that cursors
are committed in their order, and a reader that has seen one never misses an earlier one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, func, select

from redirectd.collect.verdict import digest
from redirectd.sip.text import printable
from redirectd.store.schema import event_log as table
from redirectd.store.statements import chunks, insert, insert_missing
from redirectd.store.turns import take_turn
from redirectd.times import rfc3339

TURN = "events"


class EventKind(StrEnum):
    """What can be heard of; a decision is heard as the state it leads to."""

    PENDING = "pending"
    """A remap waits for review: new, imported, or reopened."""
    AGREED = "agreed"
    """One of several people who must approve a remap has; it still waits for the others."""
    APPROVED = "approved"
    REJECTED = "rejected"
    REVOKED = "revoked"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    FAILING = "failing"
    """The target of an approved remap answers that it is not there."""
    INEFFECTIVE = "ineffective"
    """The old URI of a remap in service is still answered 301."""
    STALE = "stale"
    """An approved remap is past its review date (R36)."""
    ROLLED_BACK = "rolled-back"
    """A generation was taken back, by redirectd or by a person."""
    SOURCE_DOWN = "source-down"
    SOURCE_UP = "source-up"
    LOSS = "loss"
    """Something could not be read; the first of its kind from a source in an hour."""
    ALARM = "alarm"
    """A bound was reached, such as R46's; the first of its kind from a source in an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to write. `at` is aware; `key` names what is reported once, however often it is found."""

    kind: EventKind
    at: datetime
    remap_id: int | None = None
    node: str = ""
    source: str = ""
    actor: str = ""
    key: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """An event as it was written; `cursor` is greater than that of every earlier one."""

    cursor: int
    kind: EventKind
    at: datetime
    remap_id: int | None
    node: str
    source: str
    actor: str
    detail: Mapping[str, Any]


def emit(connection: Connection, events: Sequence[NewEvent]) -> None:
    """Writes events in their order, in the caller's transaction; one whose key is there already is left out."""
    if not events:
        return
    take_turn(connection, TURN)
    rows = [
        {
            "key": None if one.key is None else _name(one.key),
            "at": one.at,
            "kind": one.kind.value,
            "node": one.node,
            "remap_id": one.remap_id,
            "source": printable(one.source, 255),
            "actor": printable(one.actor, 255),
            "detail": json.dumps(dict(one.detail)),
        }
        for one in events
    ]
    if all(one.key is None for one in events):
        insert(connection, table, rows)
    else:
        insert_missing(connection, table, rows, ["key"])


def unreported(connection: Connection, events: Sequence[NewEvent]) -> list[NewEvent]:
    """Those of `events`, which all have keys, that were not written yet."""
    known: set[str | None] = set()
    for part in chunks({_name(one.key) for one in events if one.key is not None}):
        known.update(connection.scalars(select(table.c.key).where(table.c.key.in_(part))))
    return [one for one in events if one.key is not None and _name(one.key) not in known]


def alarm(connection: Connection, *, node: str, source: str, what: str, why: str, now: datetime) -> None:
    """Reports that a bound was reached (R46): `what` is its short name, `why` a sentence for people.

    Once an hour for each bound and source of a node, whatever a peer sends; call it as `emit`.
    """
    found = [_hourly(EventKind.ALARM, node, source, what, now, {"what": what, "why": why})]
    emit(connection, unreported(connection, found))  # no turn where nothing is new


def losses(connection: Connection, *, node: str, source: str, counts: Mapping[str, int], now: datetime) -> None:
    """Reports what a source has lost, by kind, each once an hour; call it as `emit`."""
    kinds = {kind: count for kind, count in counts.items() if count}
    found = [_hourly(EventKind.LOSS, node, source, what, now, {"what": what, "count": n}) for what, n in kinds.items()]
    emit(connection, unreported(connection, found))


def _name(key: str) -> str:
    return digest("event", key)


def _hourly(
    kind: EventKind, node: str, source: str, what: str, now: datetime, detail: Mapping[str, object]
) -> NewEvent:
    key = json.dumps([kind, node, source, what, f"{now.astimezone(UTC):%Y-%m-%dT%H}"])
    return NewEvent(kind=kind, at=now, node=node, source=source, key=key, detail=detail)


def read(
    connection: Connection, *, since: int = 0, kinds: Collection[EventKind] = (), limit: int = 500
) -> list[LoggedEvent]:
    """The first `limit` events after the cursor `since`, oldest first."""
    query = select(table).where(table.c.id > since)
    if kinds:
        query = query.where(table.c.kind.in_([kind.value for kind in kinds]))
    return [_event(row) for row in connection.execute(query.order_by(table.c.id).limit(limit))]


def newest(connection: Connection, *, earlier_than: datetime | None = None) -> int:
    """The cursor of the newest event, of those before a time where one is given; 0 where there is none."""
    query = select(func.max(table.c.id))
    return int(connection.scalar(query if earlier_than is None else query.where(table.c.at < earlier_than)) or 0)


def oldest(connection: Connection) -> int:
    """The cursor of the oldest event that is kept; 0 where none is."""
    return int(connection.scalar(select(func.min(table.c.id))) or 0)


def before(connection: Connection, count: int, kinds: Collection[EventKind] = ()) -> int:
    """The cursor after which the newest `count` events come."""
    query = select(table.c.id).order_by(table.c.id.desc())
    if kinds:
        query = query.where(table.c.kind.in_([kind.value for kind in kinds]))
    return int(connection.scalar(query.offset(count).limit(1)) or 0)


def document(one: LoggedEvent) -> dict[str, Any]:
    """One event as documents have it."""
    return {
        "cursor": one.cursor,
        "at": rfc3339(one.at),
        "kind": one.kind.value,
        "id": one.remap_id,
        "node": one.node or None,
        "source": one.source or None,
        "actor": one.actor or None,
        "detail": {
            key: printable(value) if isinstance(value, str) else value for key, value in sorted(one.detail.items())
        },
    }


def _event(row: Any) -> LoggedEvent:  # noqa: ANN401 - a row
    return LoggedEvent(
        cursor=row.id,
        kind=EventKind(row.kind),
        at=row.at,
        remap_id=row.remap_id,
        node=row.node,
        source=row.source,
        actor=row.actor,
        detail=json.loads(row.detail),
    )
