"""Answers as the reader hands them to the store, and what the store counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from redirectd.collect.answer import Answer
from redirectd.collect.batch import Batch
from redirectd.collect.policy import Policy
from redirectd.collect.rules import judge
from redirectd.dialects.frame import Peer
from redirectd.store import schema
from redirectd.store.collecting import Recorded, record
from redirectd.store.database import Database
from redirectd.store.remap import Remap
from redirectd.store.remaps import RemapFilter, find

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
POLICY = Policy()

WHOLE = Answer(
    status=301,
    method="INVITE",
    call_id="call-1",
    cseq=1,
    fork="0",
    request_uri="sip:old@gw.test",
    contacts=("<sip:new@place.test>",),
    contact_headers=1,
    peer=Peer("udp", "192.0.2.7", 5060),
    seen_at=NOW - timedelta(hours=1),
    dialect="test",
    text="SIP/2.0 301 Moved",
)


def whole(number: int = 1, **changes: Any) -> Answer:
    """A whole telling of the answer to one call."""
    return replace(WHOLE, call_id=f"call-{number}", **changes)


def batch_of(answers: Iterable[Answer], source: str = "test") -> Batch:
    """A batch as the reader makes it, one verdict for each event."""
    batch = Batch(source)
    for answer in answers:
        verdict = judge(answer, POLICY)
        assert verdict is not None
        batch.verdicts[answer.event_key] = verdict
    return batch


def commit(database: Database, *answers: Answer, now: datetime = NOW) -> Recorded:
    """Commits the answers as one batch."""
    with database.begin() as connection:
        return record(connection, batch_of(answers), node="node", now=now)


def remaps(database: Database) -> list[Remap]:
    """All remaps."""
    with database.read() as connection:
        return find(connection, RemapFilter())


def rows(database: Database, table: str) -> int:
    """How many rows a table has."""
    with database.read() as connection:
        return connection.scalars(select(func.count()).select_from(getattr(schema, table))).one()


def counters(database: Database) -> dict[str, Any]:
    """Every counter there is, by what it counts."""
    found: dict[str, Any] = {"events": rows(database, "event")}
    for one in remaps(database):
        found[f"{one.old_uri} -> {one.new_uri}"] = (one.calls, dict(one.peer_calls))
    with database.read() as connection:
        for row in connection.execute(select(schema.remap_method)):
            found[f"{row.remap_id} {row.method}"] = row.calls
        for row in connection.execute(select(schema.refusal)):
            found[f"{row.rule} {row.old_uri}"] = row.calls
    return found
