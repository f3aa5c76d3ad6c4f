"""Reading the quarantine again after an upgrade: what can be read now is counted and leaves it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any

from sqlalchemy import Connection, delete, select

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.reading import Reading
from redirectd.collect.verdict import Refused
from redirectd.dialects import registry
from redirectd.dialects.frame import Dialect
from redirectd.service.ingestion import Summary
from redirectd.sources.spool import SpoolLog
from redirectd.store import counting
from redirectd.store.collecting import Recorded, record
from redirectd.store.database import Database
from redirectd.store.schema import quarantine

_AT_ONCE = 50


def replay(
    database: Database,
    reading_of: Callable[[str], Reading],
    *,
    node: str,
    clock: Callable[[], datetime],
    sources: Collection[str] | None = None,
) -> tuple[Summary, int]:
    """Reads each kept record by the ordinary reader; what came of it, and how many records stay.

    `reading_of` gives the reading of a source by its name; `sources` are those to read, None is all. A record that was
    counted as unreadable counts as what it is now, once, as before (R8).
    """
    started = monotonic()
    summary, left = Summary(), 0
    for row in _rows(database, sources):
        batch = _read_again(row, reading_of(row.source))
        summary.bytes += len(row.content)
        if batch is None:
            left += 1
            continue
        summary.add(database.run(partial(_store, row.id, batch, node, clock())))
    summary.seconds = round(monotonic() - started, 3)
    return summary, left


def _store(number: int, batch: Batch, node: str, now: datetime, connection: Connection) -> Recorded:
    """Stores what a kept record has become, in place of it; may be done again in another transaction."""
    known = counting.refused_among(connection, (one.answer.move_key for one in batch.verdicts.values()))
    recorded = record(connection, replace(batch, retracted=known, losses=dict(batch.losses)), node=node, now=now)
    connection.execute(delete(quarantine).where(quarantine.c.id == number))
    return recorded


def _rows(database: Database, sources: Collection[str] | None) -> Iterator[Any]:
    """The rows by number, a few in memory at a time."""
    wanted = () if sources is None else (quarantine.c.source.in_(sources),)
    last = 0
    while True:
        with database.read() as connection:
            query = select(quarantine).where(quarantine.c.id > last, *wanted).order_by(quarantine.c.id).limit(_AT_ONCE)
            rows = connection.execute(query).all()
        if not rows:
            return
        yield from rows
        last = rows[-1].id


def _read_again(row: Any, reading: Reading) -> Batch | None:  # noqa: ANN401 - a row of `quarantine`
    """What the record comes to now, None where it still can't be read. Its date is near that of its first reading."""
    log = SpoolLog(row.source)
    log.feed(row.content)
    reading = replace(reading, dialects=_detected(row.content, reading), counted=())
    reader = LogReader(log, reading, clock=lambda: row.seen_at)
    batch = Batch(row.source)
    while reader.read(batch, final=True):
        pass
    batch.proven = False  # what it says of its source was said when it was read first
    if batch.quarantined or not batch.verdicts:
        return None
    if any(isinstance(one, Refused) and one.unparsed for one in batch.verdicts.values()):
        return None
    for key, one in batch.verdicts.items():
        answer = replace(one.answer, position=row.position, seen_at=one.answer.seen_at or row.seen_at)
        batch.verdicts[key] = replace(one, answer=answer)
    batch.losses.clear()
    return batch


def _detected(content: bytes, reading: Reading) -> Sequence[Dialect]:
    """The reading's dialects, with the keys they have, in the order that fits the record."""
    own = {one.name: one for one in reading.dialects}
    return [own.get(one.name, one) for one in registry.detect(content)]
