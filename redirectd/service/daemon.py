"""The service itself: puts its parts together, then sleeps until a signal, a watchdog turn or trouble wakes it."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from signal import SIGHUP, Signals
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import structlog

import redirectd
from redirectd.config.model import Config
from redirectd.errors import ConfigError, RedirectdError
from redirectd.service.announcer import Announcer
from redirectd.service.control import StatusServer
from redirectd.service.jobs import APPLY
from redirectd.service.metrics import MetricsServer
from redirectd.service.metrics import families as families_of
from redirectd.service.schedule import JobSpec, Schedule
from redirectd.service.source_threads import Fleet, ReaderReport, ReaderSpec, ReaderState
from redirectd.service.status_document import Document, job_part, shown, source_part
from redirectd.service.watchdog import Heartbeats, Notifier, watchdog_seconds

if TYPE_CHECKING:
    from prometheus_client import Metric

    from redirectd.service.listener import Listener

_log = structlog.get_logger("redirectd.daemon")

_TICK_SECONDS = 60.0
_CLOCK_STEP_SECONDS = 5.0


class Plant(Protocol):
    """What a configuration asks for, built but not begun. A reload makes a new one and throws the old one away."""

    config: Config
    zone: tzinfo

    def readers(self) -> Sequence[ReaderSpec]:
        """The sources."""
        ...

    def jobs(self, families: Callable[[], list[Metric]]) -> Sequence[JobSpec]:
        """The schedule; `families` gives the metrics for the job that writes them to a file."""
        ...

    def announcer(self, reports: Callable[[], Sequence[ReaderReport]]) -> Announcer:
        """What logs events; `reports` is what the sources are doing."""
        ...

    def wake_url(self) -> str | None:
        """The database to listen on for decisions made on other nodes; None where none are waited for."""
        ...

    def stored(self) -> Document:
        """The database's part of the status document. Never raises."""
        ...

    def paused(self) -> bool:
        """Whether a pause window holds applies back now."""
        ...

    def close(self) -> None:
        """Lets go of the database."""
        ...


@dataclass(slots=True)
class _Doors:
    """What others talk to us by; replaced on reload only where the address changed."""

    status: StatusServer | None = None
    metrics: MetricsServer | None = None

    def change_to(self, config: Config, document: Callable[[], Document], families: Callable[[], list[Metric]]) -> None:
        """Opens the new ones before it closes the old ones. Raises ConfigError with the old ones still open."""
        daemon = config.daemon
        path, listen = config.resolve(daemon.socket), daemon.metrics_listen
        with ExitStack() as undo:
            status, metrics = self.status, self.metrics
            if status is None or status.path != path:
                status = StatusServer(path, document)
                undo.callback(status.close)
            if listen is None or metrics is None or metrics.listen != listen:
                metrics = None if listen is None else MetricsServer(listen, families)
            undo.pop_all()
        replaced = [(self.status, status), (self.metrics, metrics)]
        self.status, self.metrics = status, metrics
        for old, new in replaced:
            if old is not None and old is not new:
                old.close()

    def start(self) -> None:
        """Answers from now on, those too who have asked already."""
        for door in (self.status, self.metrics):
            if door is not None:
                door.start()

    def close(self) -> None:
        """Nobody is answered any longer."""
        for door in (self.status, self.metrics):
            if door is not None:
                door.close()


@dataclass(slots=True)
class Daemon:
    """`run` returns when SIGTERM or SIGINT came.

    `load` builds the plant from the configuration file, at the start and for each SIGHUP; it is given the plant in
    force, whose database it may take over.
    """

    load: Callable[[Plant | None], Plant]
    environ: MutableMapping[str, str] = field(default_factory=lambda: os.environ)
    _plant: Plant = field(init=False)
    _fleet: Fleet = field(init=False)
    _schedule: Schedule = field(init=False)
    _announcer: Announcer = field(init=False)
    _doors: _Doors = field(default_factory=_Doors)
    _listener: Listener | None = None
    _heartbeats: Heartbeats = field(default_factory=Heartbeats)
    _started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _refused: str | None = None
    _silent: tuple[str, ...] = ()
    _status_text: str = ""

    def run(self) -> None:
        """Starts, serves, stops. Raises RedirectdError for a configuration or address that can't be used."""
        notifier = Notifier.from_environ(self.environ)
        watchdog = watchdog_seconds(self.environ)
        tick = watchdog / 4 if watchdog else _TICK_SECONDS
        self._plant = self.load(None)
        with SignalInbox() as inbox:
            # A beat must come between two ticks, or every second tick would find somebody silent.
            self._fleet = Fleet(self._heartbeats, tick / 2, inbox.wake)
            self._schedule = Schedule(self._heartbeats, self._plant.zone, tick / 2)
            self._announcer = self._plant.announcer(self._fleet.reports)
            try:
                self._announcer.start()
                self._doors.change_to(self._plant.config, self.document, self.metrics)
                self._fleet.change_to(self._plant.readers())
                self._schedule.start(self._plant.jobs(self.metrics))
                self._listen()
                self._doors.start()
                notifier.send(READY=1, STATUS=self._say())
                _log.info("started", version=redirectd.__version__, sources=len(self._plant.config.source))
                self._serve(inbox, notifier, tick)
            finally:
                self._stop(notifier)

    def document(self) -> Document:
        """The status document. Called from the doors' threads."""
        config = self._plant.config
        document: Document = shown(
            {
                "daemon": {
                    "running": True,
                    "pid": os.getpid(),
                    "version": redirectd.__version__,
                    "node": config.node,
                    "started_at": self._started_at,
                    "configuration": None if config.file is None else str(config.file),
                    "configuration_error": self._refused,
                    "silent": list(self._silent),
                    "paused": self._plant.paused(),
                    "listening": None if self._listener is None else self._listener.listening,
                },
                **self._plant.stored(),
                "sources": source_part(self._fleet.reports()),
                "jobs": job_part(self._schedule.records()),
            }
        )
        return document

    def metrics(self) -> list[Metric]:
        """The metrics as they are now."""
        return families_of(self.document())

    def _serve(self, inbox: SignalInbox, notifier: Notifier, tick: float) -> None:
        next_tick = time.monotonic() + tick
        clock_offset = time.time() - time.monotonic()
        while True:
            for arrived in inbox.wait(next_tick - time.monotonic()):
                if arrived is not SIGHUP:
                    _log.info("stopping", signal=Signals(arrived).name)
                    return
                self._reload(notifier)
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + tick
                self._feed_watchdog(notifier)
                clock_offset = self._follow_clock(clock_offset)
            said, text = self._status_text, self._say()
            if text != said:
                notifier.send(STATUS=text)

    def _feed_watchdog(self, notifier: Notifier) -> None:
        silent = self._heartbeats.take()
        if not silent:
            notifier.send(WATCHDOG=1)
        elif silent != self._silent:
            _log.warning("no_progress", silent=list(silent), overdue_jobs=list(self._schedule.overdue()))
        self._silent = silent

    def _follow_clock(self, known_offset: float) -> float:
        """Next times were computed by the old clock: one set back by an hour would stop all jobs for that long."""
        offset = time.time() - time.monotonic()
        if abs(offset - known_offset) > _CLOCK_STEP_SECONDS:
            _log.warning("clock_set", by_seconds=round(offset - known_offset, 1))
            self._schedule.realign()
        return offset

    def _reload(self, notifier: Notifier) -> None:
        """All of the new configuration or nothing of it."""
        notifier.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        try:
            plant = self.load(self._plant)
            self._doors.change_to(plant.config, self.document, self.metrics)
        except RedirectdError as error:
            self._refused = f"{error.where}: {error.why}"
            log_faults("reload_refused", error)
        except Exception as error:  # noqa: BLE001 - a defect met while loading must not end a service that works
            self._refused = f"{type(error).__name__}: {error}"
            _log.error("reload_refused", exc_info=error)
        else:
            self._plant = plant
            self._refused = None
            self._fleet.change_to(plant.readers())
            self._schedule.replace(plant.jobs(self.metrics), plant.zone)
            self._announcer.stop()
            self._announcer = plant.announcer(self._fleet.reports)
            self._announcer.start()
            self._listen()
            self._doors.start()
            _log.info("reloaded", sources=len(plant.config.source))
        notifier.send(READY=1, STATUS=self._say())

    def _listen(self) -> None:
        """Listens for decisions on the plant's database, and no longer on another one."""
        url = self._plant.wake_url()
        known = None if self._listener is None else self._listener.url
        if url == known:
            return
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
        if url is not None:
            from redirectd.service.listener import Listener  # its driver is an extra

            self._listener = Listener(url, lambda: self._schedule.run_now(APPLY))

    def _stop(self, notifier: Notifier) -> None:
        notifier.send(STOPPING=1, STATUS="stopping")
        if self._listener is not None:
            self._listener.stop()
        clean = self._fleet.stop()
        self._schedule.stop()
        self._announcer.stop()
        self._doors.close()
        self._plant.close()
        _log.info("stopped", clean=clean)

    def _say(self) -> str:
        """One line for `systemctl status`: trouble first."""
        self._status_text = _summary(self._fleet.reports(), self._refused, self._silent)
        return self._status_text


def _summary(reports: Sequence[ReaderReport], refused: str | None, silent: Sequence[str]) -> str:
    troubles = [f"{report.name} {report.state.value}: {report.error}" for report in reports if report.error]
    if silent:
        troubles.append("no progress: " + ", ".join(silent))
    if refused is not None:
        troubles.append(f"the new configuration was refused: {refused}")
    reading = sum(report.state is ReaderState.READING for report in reports)
    return "; ".join([*troubles, f"reading {reading} of {len(reports)} sources"])


def log_faults(event: str, error: RedirectdError) -> None:
    """One record for each fault of a configuration."""
    faults: Sequence[RedirectdError] = error.faults if isinstance(error, ConfigError) and error.faults else (error,)
    for fault in faults:
        details: Mapping[str, str] = {"where": fault.where, "why": fault.why, "what_to_do": fault.what_to_do}
        _log.error(event, **details)


HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignalInbox:
    """While entered, SIGTERM, SIGINT and SIGHUP arrive here. Only the main thread may enter it."""

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(0)
        self._writer.settimeout(0)
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _seen) for number in HANDLED}
        return self

    def wait(self, seconds: float) -> tuple[signal.Signals, ...]:
        """The signals that came within `seconds`, in order; empty when none did or `wake` was called."""
        ready, _, _ = select.select([self._reader], [], [], max(seconds, 0.0))
        if not ready:
            return ()
        return tuple(signal.Signals(number) for number in self._reader.recv(4096) if number)

    def wake(self) -> None:
        """Ends a `wait` from another thread."""
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # full: the waiter wakes anyway

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        self._reader.close()
        self._writer.close()


def _seen(_number: int, _frame: FrameType | None) -> None:
    """Python's part of a signal; the byte on the socket has already woken the waiter."""
