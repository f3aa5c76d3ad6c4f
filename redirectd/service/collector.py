"""Reads a followed source into the database: what was found and the position behind it are committed together.

The family that a source is pinned to is decided once by the log's envelope, and kept with its position (R38).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic
from typing import Any, Protocol

from sqlalchemy import Connection

from redirectd.collect.batch import Batch, SessionProgress
from redirectd.collect.console_streams import Reads, reader_of, shows_wrapper
from redirectd.collect.reading import Reading, ReadPart
from redirectd.collect.traffic import newest_message
from redirectd.dialects.family import FAMILIES, SAMPLE, sole_family
from redirectd.dialects.registry import envelope_of
from redirectd.dialects.wrapped_lines import wrapper_of
from redirectd.errors import RedirectdError, StoreChangedError, StoreError
from redirectd.sources.hep_listener import HepListener
from redirectd.sources.log import Gap, Log, LogSegment, Source, Stored
from redirectd.store import settings
from redirectd.store.collecting import record
from redirectd.store.database import Database
from redirectd.store.settings import TRAFFIC

LOOK_SECONDS = 30.0
"""How often what a log holds now is compared with the decision."""

_FAMILY, _CONSOLES = "family", "consoles"


class Pinned:
    """How one source is read, and by which decision. Used by one thread."""

    def __init__(
        self, reading: Reading, decided: Callable[[str, bytes], Reading] | None, stored: Mapping[str, Any] | None
    ) -> None:
        """`decided` gives the reading for a family and the log's head; None where the configuration decides.

        `stored` is what `with_position` gave before a restart, None for a source that was never read.
        """
        self.reading = reading
        self.conflict = ""
        """The other family whose entries the log holds now; "" where there is none."""
        self._decided = decided
        self._log: Log | None = None
        self._looked_at = -LOOK_SECONDS
        self._shown = 0  # bytes of the beginning that showed no family
        family, consoles = (stored or {}).get(_FAMILY), (stored or {}).get(_CONSOLES)
        if decided is not None and isinstance(family, str) and family:
            self._take(family, b"", dict(consoles) if isinstance(consoles, dict) else {})

    @property
    def family(self) -> str:
        """What the source is read as; "" where nothing is sure yet: then all dialects are tried."""
        return self.reading.family

    def look(self, log: Log, offset: int) -> bool:
        """Decides where that is due, by the log's beginning; whether it did. Else looks for other entries in the log.

        `offset` is how far the log was read: what came before it is looked at.
        """
        is_due = log is not self._log or monotonic() - self._looked_at >= LOOK_SECONDS
        if self._decided is not None and not self.family:
            return self._decide(log, is_due=is_due)
        if is_due:
            self._log, self._looked_at = log, monotonic()
            self._compare(log, offset)
        return False

    def with_position(self, position: Mapping[str, Any]) -> dict[str, Any]:
        """The position of the source together with the decision, as they are stored."""
        if self._decided is None or not self.family:
            return dict(position)
        consoles = {_CONSOLES: dict(self.reading.consoles)} if self.reading.consoles else {}
        return {**position, _FAMILY: self.family, **consoles}

    def _decide(self, log: Log, *, is_due: bool) -> bool:
        if log.start or not (is_due or self._shown <= min(log.end(), SAMPLE) // 2):
            return False  # a log that has grown little is not looked at again at each step
        head = log.read(0, SAMPLE)
        self._log, self._looked_at, self._shown = log, monotonic(), len(head)
        family = envelope_of(head) if b"\n" in head else ""
        if family:
            self._take(family, head, {})
        return bool(family)

    def _take(self, family: str, head: bytes, consoles: dict[str, str]) -> None:
        assert self._decided is not None
        self.reading = replace(self._decided(family, head), family=family, consoles=consoles)

    def _compare(self, log: Log, offset: int) -> None:
        low = max(log.start, offset - SAMPLE)
        sample = log.read(low, min(SAMPLE, max(offset - low, 0)) or SAMPLE)
        if low:
            sample = sample[sample.find(b"\n") + 1 :]
        seen = "" if wrapper_of(sample) is not None else sole_family(sample)
        self.conflict = seen if seen and not self._reads(seen) else ""

    def _reads(self, family: str) -> bool:
        """Whether that family's entries are read; what is wrapped has other ones in it."""
        if self.family:
            return family == self.family or self.family not in FAMILIES
        return not FAMILIES[family].isdisjoint(one.name for one in self.reading.dialects)


def family_in(stored: Mapping[str, Any] | None) -> str:
    """The decision in what `Pinned.with_position` gave, "" for none."""
    return str((stored or {}).get(_FAMILY, ""))


def without_decision(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The source's own position of what `Pinned.with_position` gave."""
    if stored is None:
        return None
    return {name: value for name, value in stored.items() if name not in {_FAMILY, _CONSOLES, TRAFFIC}}


STEP_BYTES = 16 << 20
STEP_WEIGHT = 2_000
"""Bounds of one step: what a crash makes us read again, and what a batch holds in memory."""

STEP_SECONDS = 0.5
"""What a step takes before its commit, whatever is read: so the watchdog, a stop and the other sources are served."""

POSITION_SECONDS = 2.0
"""How often the position alone is committed while nothing is found; reading such a stretch again does no harm."""


@dataclass(frozen=True, slots=True)
class CollectStep:
    """What one step did. `more` says that there is more to read at once; `read` are bytes.

    `over_budget` are sightings that an hour's budgets of new remaps left out, by reason (R46).
    """

    more: bool
    sightings: int = 0
    session_progress: int = 0
    gaps: tuple[Gap, ...] = ()
    read: int = 0
    over_budget: Mapping[str, int] = field(default_factory=dict)


class Companion(Protocol):
    """What else learns from the same bytes, and stores it with them (see `redirectd.review.follower`)."""

    def refresh(self, parts: Sequence[ReadPart]) -> None:
        """Before a turn: looks at what it needs to know, and how far each part of the log was read. Raises StoreError.

        There is one part for each console in a wrapped log, and more can come with what is read.
        """
        ...

    def read(self, parts: Sequence[ReadPart], *, final: bool) -> bool:
        """Takes what was read of each part since; whether there is something to store.

        `final`: the log is read to its end, and nothing follows it.
        """
        ...

    def store(self, connection: Connection) -> None:
        """Stores it in the transaction that holds the position."""
        ...

    def confirm(self) -> None:
        """Says that it is committed."""
        ...

    def undo(self) -> None:
        """Says that it is not, and will be read again."""
        ...


class Collector:
    """One source with everything behind it. Used by one thread."""

    def __init__(
        self,
        open_source: Callable[[Mapping[str, Any] | None], Source[Any]],
        reading: Reading,
        database: Database,
        *,
        node: str,
        clock: Callable[[], datetime],
        on_progress: Callable[[SessionProgress], None],
        companion: Companion | None = None,
        decided: Callable[[str, bytes], Reading] | None = None,
    ) -> None:
        """Goes on where the database says that this source was read to. Raises StoreError.

        `open_source` makes the source from its stored position, None for one never read. `reading` is how it is read
        until its family is decided, for which `decided` then gives it; see `Pinned`.
        """
        self._name = reading.source
        self._database = database
        self._node = node
        self._clock = clock
        self._on_progress = on_progress
        self._companion = companion
        stored = self._stored()
        self._pinned = Pinned(reading, decided, stored)
        self.source: Source[Any] = open_source(without_decision(stored))
        self._is_new = stored is None
        self._saved = stored  # the position that the database has, as far as we know
        self._epoch = database.epoch
        self._is_doubtful = False  # whether the database was away meanwhile
        self._reader: Reads | None = None
        self._is_told = False  # whether the log has shown how it is wrapped
        self._saved_at = monotonic()
        self._owed: Stored | None = None  # confirmed, and not committed yet since nothing was found before it
        self._held = 0  # bytes at the end that were looked at and wait for what may follow them
        self._losses: dict[str, int] = {}
        self._stored_away: dict[str, int] = {}  # what was turned away, as far as the database knows

    def pump(self) -> CollectStep:
        """Reads a bounded part of what is there and commits it.

        Raises:
            StoreChangedError: the database was restored to another state: open the source anew.
            StoreError: nothing is lost, call it again.
        """
        self._see_same_state()
        try:
            return self._step()
        except StoreError:
            self._is_doubtful = True
            raise

    def _step(self) -> CollectStep:
        segment = self.source.poll()
        if segment is None:
            return CollectStep(more=False)
        if self._is_new:
            self._begin(segment)
        reader = self._at(segment)
        batch = Batch(self._name)
        if self._companion is not None:
            self._companion.refresh(reader.parts)
        turned_away = dict(self.source.turned_away())
        batch.losses = self._lost(segment, turned_away)
        self._held = 0
        bounded = False
        began = monotonic()
        while not bounded and reader.read(batch, final=segment.final):
            is_heavy = batch.read >= STEP_BYTES or batch.weight >= STEP_WEIGHT
            bounded = is_heavy or monotonic() - began >= STEP_SECONDS
        try:
            sightings = self._commit(segment, reader, batch)
        except BaseException:
            self._undo(segment, reader)
            raise
        if sightings is None:  # truncated while it was read: what was read may be mixed
            self._undo(segment, reader)
            return CollectStep(more=True)
        reader.confirm()
        self._held = 0 if bounded else reader.held
        if self._companion is not None:
            self._companion.confirm()
        self._stored_away = turned_away
        for progress in batch.progress:
            self._on_progress(progress)
        moved = reader.offset != segment.start
        counted = len(batch.progress) + batch.counted_progress
        return CollectStep(moved, sightings, counted, segment.gaps, batch.read, batch.over_budget)

    def trouble(self) -> RedirectdError | None:
        """What keeps the source from being read now."""
        return self.source.trouble

    def pinned(self) -> Pinned:
        """Which family of writers it is read as."""
        return self._pinned

    def lag_bytes(self) -> int:
        """Bytes that are there and were not looked at yet: none where all is read, though a record may still go on."""
        return max(0, self.source.unread() - self._held)

    def losses(self) -> Mapping[str, int]:
        """What was lost since it was opened, by kind: gaps, the bytes known to be in them, what was turned away."""
        return {**self._losses, **{kind: count for kind, count in self.source.turned_away().items() if count}}

    def close(self) -> None:
        """Commits the position where that is still owed and lets go of the files. Raises StoreError."""
        try:
            if self._owed is not None:
                self._see_same_state()
                self._save(self._owed)
        finally:
            self.source.close()

    def _begin(self, segment: LogSegment) -> None:
        """Commits where reading begins, before anything is read: a kill then does not begin with another file."""
        position = self.source.position(segment, segment.start)
        if position is not None:
            self._save(position)
            self._is_new = False

    def _save(self, position: Stored) -> None:
        now = self._clock()
        with self._transaction() as connection:
            kept = self._kept(position, now)
            settings.save_position(connection, self._node, self._name, kept, now)
        self._saved = kept

    def _kept(self, position: Stored, now: datetime) -> dict[str, Any]:
        """The position as it is stored: with the log's family, and how new the traffic is that was read."""
        newest = newest_message(self._reader.parts, now) if self._reader is not None else None
        return settings.with_traffic(self._pinned.with_position(position.to_dict()), newest, self._saved)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One that does not go into another file than the one that was read from."""
        with self._database.begin() as connection:
            if self._database.epoch != self._epoch:
                raise StoreError(f"database {self._database.shown}", "its file was replaced", "nothing: it is used now")
            yield connection

    def _stored(self) -> dict[str, Any] | None:
        with self._database.read() as connection:
            return settings.load_position(connection, self._node, self._name)

    def _see_same_state(self) -> None:
        """After the database was away: a backup that was put back, or a replica that lagged, knows less than we read.

        What comes over a network is not there a second time, so that goes on.
        """
        epoch = self._database.epoch
        if not self._is_doubtful and epoch == self._epoch:
            return
        stored = self._stored()
        if stored != self._saved and self._database.epoch == epoch and not isinstance(self.source, HepListener):
            self._owed = None
            raise StoreChangedError(
                f"source {self._name}",
                "the database stands elsewhere than it was left; reading goes on from where it says",
                "nothing, if a backup was put back or the server was lost in a commit",
            )
        self._epoch, self._is_doubtful = epoch, False

    def _lost(self, segment: LogSegment, turned_away: Mapping[str, int]) -> dict[str, int]:
        """What is to be stored as lost with this segment, by kind."""
        lost = {kind: count - self._stored_away.get(kind, 0) for kind, count in turned_away.items()}
        lost["gap"] = len(segment.gaps)
        lost["gap-bytes"] = sum(gap.at_least for gap in segment.gaps)
        return {kind: count for kind, count in lost.items() if count}

    def _at(self, segment: LogSegment) -> Reads:
        if self._pinned.look(segment.log, segment.start):
            self._reader = None
            self._saved_at = -POSITION_SECONDS  # the decision is kept with the next position
        if self._reader is None or not self._is_told:
            self._is_told = shows_wrapper(segment.log)
            with self._database.read() as connection:
                is_proven = settings.is_source_proven(connection, self._node, self._name)
            self._reader = reader_of(
                segment.log,
                self._pinned.reading,
                clock=self._clock,
                offset=segment.start,
                proven=is_proven,
                followed=True,
            )
        elif self._reader.log is not segment.log or self._reader.offset != segment.start:
            self._reader.follow(segment.log, segment.start)
        return self._reader

    def _undo(self, segment: LogSegment, reader: Reads) -> None:
        reader.undo(segment.log, segment.start)
        if self._companion is not None:
            self._companion.undo()

    def _commit(self, segment: LogSegment, reader: Reads, batch: Batch) -> int | None:
        """Commits and confirms; the number of new sightings, None where the file changed under the reading."""
        position = self.source.position(segment, reader.offset)
        if position is None:
            return None
        sightings = 0
        companion = self._companion
        is_over = segment.final and not segment.log.read(reader.offset, 1)
        has_more = companion is not None and companion.read(reader.parts, final=is_over)
        due = monotonic() - self._saved_at >= POSITION_SECONDS and reader.offset != segment.start
        if not batch.is_empty or has_more or due:
            now = self._clock()
            kept = self._kept(position, now)
            with self._transaction() as connection:
                # What is this node's alone comes first: others wait from the first answer on to the commit.
                settings.save_position(connection, self._node, self._name, kept, now)
                sightings = record(connection, batch, node=self._node, now=now).sightings
                if has_more and companion is not None:
                    companion.store(connection)
            self._saved_at = monotonic()
            self._saved = kept
            self._owed = None
            for kind, count in batch.losses.items():
                self._losses[kind] = self._losses.get(kind, 0) + count
        else:
            self._owed = position
        self.source.advance(position)
        return sightings
