"""Reading one log to its end into the database: what `redirectd ingest` and the demo do."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic

from sqlalchemy import Connection

from redirectd.collect.batch import Batch, SessionProgress
from redirectd.collect.console_streams import reader_of
from redirectd.collect.reading import Reading
from redirectd.collect.traffic import newest_message
from redirectd.collect.verdict import digest
from redirectd.sources.log import Log
from redirectd.store import positions, proven
from redirectd.store.collecting import Recorded, record
from redirectd.store.database import Database

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
        return [proven.is_proven(connection, node, source) for source in sources]


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
        known = positions.load(connection, node, "ingested")
        positions.save(connection, node, "ingested", positions.with_traffic({}, at, known), now)

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
        name = next((name for name in names if positions.load(connection, node, name) is not None), names[0])
        known = positions.load(connection, node, name) or {}
        new = {kind: count - known.get(kind, 0) for kind, count in found.items() if count > known.get(kind, 0)}
        if new:
            record(connection, replace(batch, losses=new), node=node, now=now)
            positions.save(connection, node, name, {**known, **found}, now)

    database.run(keep)
