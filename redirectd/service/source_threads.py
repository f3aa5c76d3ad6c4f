"""One thread for each source: sleep until there is something, read it, say so."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from threading import Event, Lock, Thread
from typing import Protocol

import structlog

from redirectd.errors import RedirectdError, StoreChangedError, StoreError
from redirectd.service.backpressure import IN_LOG, ON_TERMINAL, Backoff, CatchUp, Outage
from redirectd.service.collector import CollectStep, Pinned
from redirectd.service.watchdog import Heartbeats
from redirectd.sip.text import printable

_log = structlog.get_logger("redirectd.reader")

SLOW_SECONDS = 10.0
_SAY_SLOW_AFTER = 60.0
_SAY_OVER_AFTER = 60.0
_MOST_REASONS = 5


class Feed(Protocol):
    """A source with everything behind it, down to the database. One thread uses it; only `interrupt` is for others."""

    def pump(self) -> CollectStep:
        """Reads a bounded part of what is there and commits it.

        Raises StoreError with nothing lost: call it again; StoreChangedError where the feed is to be opened anew.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Sleeps until there may be something to read, `interrupt` is called, or the time is over."""
        ...

    def interrupt(self) -> None:
        """Ends `wait`, also one that begins only now."""
        ...

    def trouble(self) -> RedirectdError | None:
        """What keeps the source from being read now (a log that is not there yet); None if all is well."""
        ...

    def lag_bytes(self) -> int | None:
        """Bytes that are there and not read yet; None where the source can't know."""
        ...

    def losses(self) -> Mapping[str, int]:
        """What was lost since it was opened, by kind."""
        ...

    def pinned(self) -> Pinned:
        """Which family of writers it is read as."""
        ...

    def close(self) -> None:
        """Lets go of files and sockets."""
        ...


class ReaderState(StrEnum):
    """What a reader is doing."""

    STARTING = "starting"
    READING = "reading"
    WAITING = "waiting"  # for the source: a log that is not there yet or may not be read
    BLOCKED = "blocked"  # by the database
    FAILED = "failed"  # waits to be opened again
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """A reader as status and metrics show it. Times are aware UTC; counts are since the service started."""

    name: str
    state: ReaderState = ReaderState.STARTING
    error: str = ""
    what_to_do: str = ""
    blocked_since: datetime | None = None
    restarts: int = 0
    store_failures: int = 0
    sightings: int = 0
    session_progress: int = 0
    lag_bytes: int | None = None
    losses: Mapping[str, int] = field(default_factory=dict)
    family: str = ""
    consoles: Mapping[str, str] = field(default_factory=dict)
    conflict: str = ""
    last_read: datetime | None = None
    last_sighting: datetime | None = None
    longest_pump_seconds: float = 0.0


class SourceThread:
    """Runs a feed in a thread until it is stopped.

    A database that does not take the sightings stops the reading, not the thread: the same pump is tried again with
    growing pauses. Anything else that goes wrong closes the feed, and it is opened anew after a pause.
    """

    def __init__(
        self,
        name: str,
        open_feed: Callable[[], Feed],
        heartbeats: Heartbeats,
        beat_seconds: float,
        on_change: Callable[[], None],
    ) -> None:
        """`open_feed` runs in the reader's thread, at the start and after each failure.

        `on_change` is called, in that thread too, when the state becomes another.
        """
        self._on_change = on_change
        self.name = name
        self._open = open_feed
        self._heartbeats = heartbeats
        self._beat_seconds = beat_seconds
        self._stop = Event()
        self._lock = Lock()
        self._feed: Feed | None = None
        self._report = ReaderReport(name)
        self._outage = Outage()
        self._catch_up = CatchUp(ON_TERMINAL if sys.stderr.isatty() else IN_LOG)
        self._trouble_said = ""
        self._slow_said_at = -_SAY_SLOW_AFTER
        self._over_budget: Counter[str] = Counter()
        self._over_said_at = -_SAY_OVER_AFTER
        self._thread = Thread(target=self._run, name=f"reader-{name}", daemon=True)

    @property
    def beat_name(self) -> str:
        """The name it beats under."""
        return f"reader {self.name}"

    def start(self) -> None:
        """Begins to read."""
        self._heartbeats.expect(self.beat_name)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Ends it after the transaction under way. Returns at once."""
        self._stop.set()
        with self._lock:
            if self._feed is not None:
                self._feed.interrupt()

    def join(self, seconds: float) -> bool:
        """Waits for the end; False if it has not ended within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def report(self) -> ReaderReport:
        """Its state, safe from any thread."""
        with self._lock:
            return self._report

    def _run(self) -> None:
        reopening = Backoff()
        while not self._stop.is_set():
            try:
                self._read_until_stopped(reopening)
            except StoreError as error:
                self._blocked(error)
                self._pause(reopening.delay())
            except Exception as error:  # noqa: BLE001 - whatever ends one reader must neither end the service nor stay unseen
                self._failed(error)
                self._pause(reopening.delay())
        self._update(state=ReaderState.STOPPED)
        self._heartbeats.forget(self.beat_name)

    def _read_until_stopped(self, reopening: Backoff) -> None:
        with closing(self._open()) as feed:
            with self._lock:
                self._feed = feed
            try:
                while not self._stop.is_set():
                    if not self._pump(feed):
                        feed.wait(self._beat_seconds)
                    reopening.reset()
            finally:
                with self._lock:
                    self._feed = None

    def _pump(self, feed: Feed) -> bool:
        """One step, tried until the database takes it; True if there is more."""
        retrying = Backoff()
        while True:
            started = time.monotonic()
            try:
                pumped = feed.pump()
            except StoreChangedError:
                raise
            except StoreError as error:
                self._blocked(error)
                self._update(lag_bytes=feed.lag_bytes(), losses=dict(feed.losses()))
                if self._pause(retrying.delay()):
                    return False
                continue
            self._note(feed, pumped, time.monotonic() - started)
            return pumped.more

    def _note(self, feed: Feed, pumped: CollectStep, seconds: float) -> None:
        self._heartbeats.beat(self.beat_name)
        lasted = self._outage.over(time.monotonic())
        if lasted is not None:
            _log.info("database_back", source=self.name, after_seconds=round(lasted, 1))
        if seconds > SLOW_SECONDS and time.monotonic() - self._slow_said_at > _SAY_SLOW_AFTER:
            self._slow_said_at = time.monotonic()
            _log.warning("slow", source=self.name, seconds=round(seconds, 1), lag_bytes=feed.lag_bytes())
        now = datetime.now(UTC)
        known = self.report()
        for gap in pumped.gaps:
            _log.warning("lost", source=self.name, where=gap.path, why=gap.why, bytes_at_least=gap.at_least)
        self._tell_over_budget(pumped)
        lag = feed.lag_bytes()
        if (progress := self._catch_up.note(lag, pumped.read, time.monotonic())) is not None:
            _log.info("catching_up", source=self.name, **asdict(progress))
        trouble, pinned = feed.trouble(), feed.pinned()
        self._tell_trouble(trouble)
        self._update(
            state=ReaderState.WAITING if trouble else ReaderState.READING,
            error=str(trouble) if trouble else "",
            what_to_do=trouble.what_to_do if trouble else "",
            blocked_since=None,
            sightings=known.sightings + pumped.sightings,
            session_progress=known.session_progress + pumped.session_progress,
            lag_bytes=lag,
            losses=dict(feed.losses()),
            family=pinned.family,
            consoles=dict(pinned.reading.consoles),
            conflict=self._tell_conflict(pinned),
            last_read=now,
            last_sighting=now if pumped.sightings else known.last_sighting,
            longest_pump_seconds=max(seconds, known.longest_pump_seconds),
        )

    def _tell_trouble(self, trouble: RedirectdError | None) -> None:
        """One record when a source stops being readable or is so again, not one at each look."""
        said, self._trouble_said = self._trouble_said, str(trouble) if trouble else ""
        if trouble is None and said:
            _log.info("source_back", source=self.name)
        elif trouble is not None and str(trouble) != said:
            _log.warning(
                "source_unreadable",
                source=self.name,
                where=trouble.where,
                why=trouble.why,
                what_to_do=trouble.what_to_do,
            )

    def _tell_conflict(self, pinned: Pinned) -> str:
        """One record when a log is found to hold another family's entries (R38); their name."""
        if pinned.conflict and pinned.conflict != self.report().conflict:
            _log.warning(
                "other_format",
                source=self.name,
                read_as=pinned.family,
                holds=pinned.conflict,
                what_to_do=f'if that program writes it now: dialect = "{pinned.conflict}" in its [[source]]',
            )
        return pinned.conflict

    def _tell_over_budget(self, pumped: CollectStep) -> None:
        """R46: a record when sightings go over an hour's budget of new remaps, and at most one a minute."""
        self._over_budget.update(pumped.over_budget)
        if not self._over_budget or time.monotonic() - self._over_said_at < _SAY_OVER_AFTER:
            return
        self._over_said_at = time.monotonic()
        _log.error(
            "remaps_over_budget",
            source=self.name,
            sightings=self._over_budget.total(),
            why=[printable(reason, 200) for reason, _ in self._over_budget.most_common(_MOST_REASONS)],
            what_to_do="see who sends these 301s; if they are right, raise policy.new_remaps_per_peer or "
            "policy.new_remaps_per_incoming_uri",
        )
        self._over_budget.clear()

    def _blocked(self, error: StoreError) -> None:
        if self._outage.failed(time.monotonic()):
            _log.error(
                "database_unavailable",
                source=self.name,
                where=error.where,
                why=error.why,
                what_to_do=error.what_to_do,
                attempts=self._outage.attempts,
            )
        known = self.report()
        self._update(
            state=ReaderState.BLOCKED,
            error=f"{error.where}: {error.why}",
            what_to_do=error.what_to_do,
            blocked_since=known.blocked_since or datetime.now(UTC),
            store_failures=known.store_failures + 1,
        )

    def _failed(self, error: Exception) -> None:
        known = self.report()
        if isinstance(error, RedirectdError):
            _log.error("reader_failed", source=self.name, where=error.where, why=error.why, what_to_do=error.what_to_do)
        else:
            _log.error("reader_failed", source=self.name, exc_info=error)
        self._update(
            state=ReaderState.FAILED,
            error=f"{type(error).__name__}: {error}",
            what_to_do=error.what_to_do if isinstance(error, RedirectdError) else "report this with the log",
            restarts=known.restarts + 1,
        )

    def _pause(self, seconds: float) -> bool:
        """Sleeps, beating on the way, since waiting for the database is not a hang; True if it is time to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._heartbeats.beat(self.beat_name)
            if self._stop.wait(min(left, self._beat_seconds)):
                return True
        self._heartbeats.beat(self.beat_name)
        return self._stop.is_set()

    def _update(self, **changes: object) -> None:
        with self._lock:
            before = self._report.state
            self._report = replace(self._report, **changes)  # type: ignore[arg-type]  # names are checked by replace
            changed = self._report.state is not before
        if changed:
            self._on_change()


_log = structlog.get_logger("redirectd.reader")

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ReaderSpec:
    """A source to read. `fingerprint` is all its configuration: a reader whose fingerprint stays is left alone."""

    name: str
    fingerprint: object
    open_feed: Callable[[], Feed]


class Fleet:
    """The readers by name. Used by the main thread; `reports` by any."""

    def __init__(self, heartbeats: Heartbeats, beat_seconds: float, on_change: Callable[[], None]) -> None:
        """`on_change` is called from a reader's thread when its state changes."""
        self._heartbeats = heartbeats
        self._beat_seconds = beat_seconds
        self._on_change = on_change
        self._running: dict[str, tuple[ReaderSpec, SourceThread]] = {}

    def change_to(self, specs: Iterable[ReaderSpec]) -> None:
        """Stops what is not wanted any more as it is, then starts what is new."""
        wanted = {spec.name: spec for spec in specs}
        kept = {
            name: running
            for name, running in self._running.items()
            if name in wanted and wanted[name].fingerprint == running[0].fingerprint
        }
        self._stop(reader for name, (_, reader) in self._running.items() if name not in kept)
        for name, spec in wanted.items():
            if name not in kept:
                reader = SourceThread(name, spec.open_feed, self._heartbeats, self._beat_seconds, self._on_change)
                kept[name] = (spec, reader)
                reader.start()
        self._running = kept

    def reports(self) -> tuple[ReaderReport, ...]:
        """The state of each, in the order of the configuration."""
        return tuple(reader.report() for _, reader in self._running.values())

    def stop(self) -> bool:
        """Stops all; False if one hung and is left to the process's end (its transaction is then rolled back)."""
        everyone = [reader for _, reader in self._running.values()]
        self._running = {}
        return self._stop(everyone)

    def _stop(self, readers: Iterable[SourceThread]) -> bool:
        asked = list(readers)
        for reader in asked:
            reader.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        hung = [reader.name for reader in asked if not reader.join(max(0.0, deadline - time.monotonic()))]
        for name in hung:
            _log.error("reader_hangs", source=name, seconds=STOP_SECONDS)
        return not hung
