"""Reading one log to its end into the database, as `redirectd ingest` and the demo do, and the quarantine again."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any

from sqlalchemy import Connection, delete, select

from redirectd.collect.batch import Batch, SessionProgress
from redirectd.collect.console_streams import reader_of
from redirectd.collect.log_reader import LogReader
from redirectd.collect.reading import Reading
from redirectd.collect.traffic import newest_message
from redirectd.collect.verdict import Refused, digest
from redirectd.dialects import registry
from redirectd.dialects.frame import Dialect
from redirectd.sources.log import Log
from redirectd.sources.spool import SpoolLog
from redirectd.store import settings, sightings
from redirectd.store.collecting import Recorded, record
from redirectd.store.database import Database
from redirectd.store.schema import quarantine

COMMIT_WEIGHT = 2_000
COMMIT_BYTES = 128 << 20
"""What a batch holds, and how much of the log it is of, before it is committed: a commit costs an fsync, a batch
memory."""

PROGRESS_HELD = 1_000
"""183s that wait for what another line or message adds to them, before they are handed on."""

_HEADS = [64 << power for power in range(11)]
"""Sizes of beginnings by which a log is known again, up to 64 KiB."""


@dataclass(slots=True)
class Summary:
    """What reading a log came to, in the contract's words; `lost` is what the log says is missing, and what was cut.

    `known` are 301s that an earlier reading has counted.
    """

    bytes: int = 0
    sightings: int = 0
    known: int = 0
    remaps_new: int = 0
    remaps_updated: int = 0
    session_progress: int = 0
    unpaired: int = 0
    refused: int = 0
    unparsed: int = 0
    lost: int = 0
    over_budget: int = 0
    seconds: float = 0.0

    def add(self, recorded: Recorded) -> None:
        """Counts a committed batch in."""
        for name, count in asdict(recorded).items():
            setattr(self, name, getattr(self, name) + count)


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of a log that is committed at once, and how many 183s were in it.

    With the last one, when the `newest` SIP message was logged.
    """

    batch: Batch
    session_progress: int
    newest: datetime | None = None


def ingest(
    log: Log,
    reading: Reading,
    database: Database,
    *,
    node: str,
    clock: Callable[[], datetime],
    on_progress: Callable[[SessionProgress], None] | None = None,
    on_block: Callable[[int], None] | None = None,
    unread: Callable[[], int] = lambda: 0,
) -> Summary:
    """Reads `log` from its start to its present end. `on_progress` gets each 183, `on_block` the bytes read so far.

    `unread` says in the end how many stretches of the log could not be read.
    """
    names = names_of(log)
    is_proven = were_proven(database, node, [reading.source])[0]
    parts = stretches(log, reading, clock=clock, is_proven=is_proven, on_progress=on_progress, on_block=on_block)
    return store(parts, lambda: (names, unread()), database, source=reading.source, node=node, clock=clock)


def were_proven(database: Database, node: str, sources: Sequence[str]) -> list[bool]:
    """Whether each source has shown a proven record before (R39)."""
    with database.read() as connection:
        return [settings.is_source_proven(connection, node, source) for source in sources]


def stretches(
    log: Log,
    reading: Reading,
    *,
    clock: Callable[[], datetime],
    is_proven: bool,
    on_progress: Callable[[SessionProgress], None] | None = None,
    on_block: Callable[[int], None] | None = None,
) -> Iterator[LogPart]:
    """What a log says, in the parts in which it is committed; knows no database."""
    reader = reader_of(log, reading, clock=clock, proven=is_proven)
    batch, count, more = Batch(reading.source), 0, True
    while more:
        more = reader.read(batch, final=True)
        reader.confirm()  # nothing is ever undone: where a batch can't be committed, the reading ends
        if len(batch.progress) >= PROGRESS_HELD or batch.counted_progress:
            count += _report(batch, on_progress)
        if on_block is not None:
            on_block(reader.offset)
        if batch.weight >= COMMIT_WEIGHT or batch.read >= COMMIT_BYTES or not more:
            count += _report(batch, on_progress)
            yield LogPart(batch, count, None if more else newest_message(reader.parts, clock()))
            batch, count = Batch(reading.source), 0
            if more:
                gc.collect()  # or what a commit leaves behind stays until much more has come: 2 MB
                gc.freeze()  # so that the next time looks only at what is new


def store(
    parts: Iterable[LogPart],
    ending: Callable[[], tuple[Sequence[str], int]],
    database: Database,
    *,
    source: str,
    node: str,
    clock: Callable[[], datetime],
) -> Summary:
    """Commits the stretches of one log; `ending` gives, after the last, its names and how much could not be read."""
    started = monotonic()
    summary = Summary()
    losses: Counter[str] = Counter()
    newest = None
    for part in parts:
        batch, newest = part.batch, part.newest
        summary.session_progress += part.session_progress
        losses.update(batch.losses)
        batch.losses.clear()
        if not batch.is_empty:
            summary.add(database.run(partial(_store, batch, node, clock())))
        summary.bytes += batch.read
    names, unread = ending()
    losses["unread"] += unread
    summary.lost = losses.total()
    if summary.lost:
        _keep_losses(database, Batch(source, losses=dict(losses)), names, node=node, now=clock())
    if summary.bytes:
        _keep_traffic(database, newest, node=node, now=clock())
    summary.seconds = round(monotonic() - started, 3)
    return summary


def _keep_traffic(database: Database, at: datetime | None, *, node: str, now: datetime) -> None:
    """Notes how new what was read is: of an archive it is old, whenever it is read (R45)."""

    def keep(connection: Connection) -> None:
        known = settings.load_position(connection, node, "ingested")
        settings.save_position(connection, node, "ingested", settings.with_traffic({}, at, known), now)

    database.run(keep)


def _report(batch: Batch, on_progress: Callable[[SessionProgress], None] | None) -> int:
    """Hands the 183s of a batch on; gives how many there were."""
    count = len(batch.progress) + batch.counted_progress
    batch.counted_progress = 0
    if on_progress is not None:
        for progress in batch.progress:
            on_progress(progress)
    batch.progress.clear()
    return count


def _store(batch: Batch, node: str, now: datetime, connection: Connection) -> Recorded:
    """Stores a copy: what the store itself loses is counted in a batch, and a transaction may be tried again."""
    return record(connection, replace(batch, losses=dict(batch.losses)), node=node, now=now)


def names_of(log: Log) -> list[str]:
    """Names a log by how it begins, however its file is called: by as much of it as there is, then by less.

    A log that was shorter when it was read before was named by less of the same beginning.
    """
    head = log.read(log.start, _HEADS[-1])
    sizes = [size for size in reversed(_HEADS) if size <= len(head)] or [len(head)]
    return ["ingested " + digest(head[:size].decode("latin-1")) for size in sizes]


def _keep_losses(database: Database, batch: Batch, names: Sequence[str], *, node: str, now: datetime) -> None:
    """Adds what was lost to the source's losses; what an earlier reading of the same log reported counts once."""
    found = dict(batch.losses)

    def keep(connection: Connection) -> None:
        name = next((name for name in names if settings.load_position(connection, node, name) is not None), names[0])
        known = settings.load_position(connection, node, name) or {}
        new = {kind: count - known.get(kind, 0) for kind, count in found.items() if count > known.get(kind, 0)}
        if new:
            record(connection, replace(batch, losses=new), node=node, now=now)
            settings.save_position(connection, node, name, {**known, **found}, now)

    database.run(keep)


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
        summary.add(database.run(partial(_store_again, row.id, batch, node, clock())))
    summary.seconds = round(monotonic() - started, 3)
    return summary, left


def _store_again(number: int, batch: Batch, node: str, now: datetime, connection: Connection) -> Recorded:
    """Stores what a kept record has become, in place of it; may be done again in another transaction."""
    known = sightings.refused_among(connection, (one.answer.move_key for one in batch.verdicts.values()))
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
