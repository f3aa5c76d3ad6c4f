"""The database's own care: dropping what is too old to be of use, and giving the disk its space back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, func, or_, select

from redirectd.errors import StoreError
from redirectd.store.database import Database
from redirectd.store.event_log import EventKind
from redirectd.store.generations import GenerationOutcome
from redirectd.store.remap import State
from redirectd.store.schema import (
    apply_request,
    event,
    event_log,
    event_pack,
    evidence,
    followed_call,
    generation,
    generation_file,
    quarantine,
    refusal,
    remap,
    target_state,
)

ROWS_AT_ONCE = 5_000
"""Rows of one transaction, so that the readers wait for tenths of a second, not for minutes."""

_FREE_SHARE = 0.25
_FREE_PAGES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long evidence, quarantine and reported events are kept, and how many generations of each node.

    Requests to apply are kept as long as reported events.
    """

    evidence: timedelta
    quarantine: timedelta
    generations: int
    reported_events: timedelta = timedelta(days=90)


@dataclass(slots=True)
class Pruned:
    """How many rows of each kind were dropped."""

    evidence: int = 0
    events: int = 0
    refusals: int = 0
    quarantine: int = 0
    generations: int = 0
    reported_events: int = 0
    apply_requests: int = 0

    @property
    def total(self) -> int:
        """All together."""
        return sum(astuple(self))


def prune(database: Database, keep: Retention, *, node: str, now: datetime) -> Pruned:
    """Drops what is older than `keep` says, in many short transactions. Raises StoreError; what was done stays done.

    Remaps, decisions and the audit are never dropped, nor a generation that has a target's present file.
    """
    old, old_quarantine = now - keep.evidence, now - keep.quarantine
    return Pruned(
        evidence=_drop(database, evidence, evidence.c.id, evidence.c.seen_at, old),
        events=_drop(database, event, event.c.key, event.c.seen_at, old)
        + _drop(database, event_pack, event_pack.c.seen_at, event_pack.c.seen_at, old)
        + _drop(database, followed_call, followed_call.c.key, followed_call.c.seen_at, old),
        refusals=_drop(database, refusal, refusal.c.id, refusal.c.last_seen, old),
        quarantine=_drop(database, quarantine, quarantine.c.id, quarantine.c.seen_at, old_quarantine),
        generations=_in_parts(database, lambda connection: _drop_generations(connection, node, keep.generations)),
        reported_events=_drop(
            database, event_log, event_log.c.id, event_log.c.at, now - keep.reported_events, _no_longer_so()
        ),
        apply_requests=_drop(
            database, apply_request, apply_request.c.id, apply_request.c.expires_at, now - keep.reported_events
        ),
    )


def _no_longer_so() -> ColumnElement[bool]:
    """What is still so (an approved remap that fails) keeps its event, or it would be reported anew."""
    approved = select(remap.c.id).where(remap.c.state == State.APPROVED)
    lasting = [EventKind.FAILING.value, EventKind.INEFFECTIVE.value, EventKind.STALE.value]
    return or_(event_log.c.kind.not_in(lasting), event_log.c.remap_id.not_in(approved))


def _drop(
    database: Database,
    table: Table,
    key: Column[object],
    at: Column[datetime],
    before: datetime,
    *also: ColumnElement[bool],
) -> int:
    def part(connection: Connection) -> int:
        keys = connection.scalars(select(key).where(at < before, *also).limit(ROWS_AT_ONCE)).all()
        if keys:
            connection.execute(delete(table).where(key.in_(keys)))
        return len(keys)

    return _in_parts(database, part)


def _in_parts(database: Database, part: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        with database.begin() as connection:
            done = part(connection)
        total += done
        if done == 0:
            return total


def _drop_generations(connection: Connection, node: str, count: int) -> int:
    """Drops generations before the oldest of the newest `count`, but not the files installed then."""
    newest = select(generation.c.number).where(generation.c.node == node).order_by(generation.c.number.desc())
    oldest_kept = connection.scalar(newest.offset(count - 1).limit(1))
    if oldest_kept is None:
        return 0
    standing = (
        select(func.max(generation_file.c.number))
        .join(generation, generation.c.number == generation_file.c.number)
        .where(
            generation.c.node == node,
            generation.c.number <= oldest_kept,
            generation_file.c.outcome.in_((GenerationOutcome.INSTALLED, GenerationOutcome.VERIFIED)),
        )
        .group_by(generation_file.c.target)
    )
    in_use = set(connection.scalars(standing))
    in_use.update(connection.scalars(select(target_state.c.number).where(target_state.c.node == node)))
    candidates = newest.where(generation.c.number < oldest_kept)
    droppable = [number for number in connection.scalars(candidates) if number not in in_use][:ROWS_AT_ONCE]
    for number in droppable:
        connection.execute(delete(generation_file).where(generation_file.c.number == number))
        connection.execute(delete(generation).where(generation.c.number == number))
    return len(droppable)


def vacuum(database: Database) -> int:
    """Gives free pages of an SQLite file back to the disk where they are a quarter of it, and empties its log.

    Returns the bytes by which `Database.file_bytes`, which status shows, is smaller than before.

    Needs the file's size once more on the disk while it runs, and locks it: readers wait. Other databases do this by
    themselves (PostgreSQL's autovacuum) or keep the space for new rows (InnoDB).
    """
    if database.file is None or database.is_missing:
        return 0
    before = database.file_bytes()
    # Past SQLAlchemy, which would open a transaction, and VACUUM runs outside of one.
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        pages, free = (cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        if free >= _FREE_PAGES and free >= pages * _FREE_SHARE:
            cursor.execute("VACUUM")
        cursor.execute("PRAGMA optimize")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StoreError(
            f"database {database.shown}", str(error), "free as much space on its disk as the file takes; it tries again"
        ) from error
    finally:
        connection.close()
    return max(0, before - database.file_bytes())
