"""All readers together: started, exchanged on reload where their configuration changed, stopped within seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from redirectd.service.heartbeat import Heartbeats
from redirectd.service.source_thread import Feed, ReaderReport, SourceThread

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
        """Stops what is no longer wanted as it is, then starts what is new."""
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
        """Where each stands, in the order of the configuration."""
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
