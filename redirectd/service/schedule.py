"""Jobs on time: APScheduler with what its defaults leave to chance said outright."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from threading import Lock

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
    JobExecutionEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger
from cronsim import CronSim

from redirectd.errors import RedirectdError, RefusedError
from redirectd.service.watchdog import Heartbeats

_log = structlog.get_logger("redirectd.schedule")

_ASK_AGAIN = timedelta(seconds=1)

_TICK = timedelta(microseconds=1)

HEART = "heart"
BEAT_NAME = "scheduler"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One thing to do on time.

    `trigger` says when; `grace_seconds` how late it may still start (a laptop that slept, a long job before it);
    `limit_seconds` after how long a run counts as stuck, which stops the watchdog from being fed; `at_start` makes it
    due at once as well when it comes into the schedule.
    """

    name: str
    run: Callable[[], object]
    trigger: BaseTrigger
    grace_seconds: int
    limit_seconds: float
    at_start: bool = False


@dataclass(slots=True)
class JobRecord:
    """What became of a job's runs, for status and metrics. Times are aware."""

    runs: int = 0
    failures: int = 0
    missed: int = 0
    skipped: int = 0
    last_run: datetime | None = None
    last_seconds: float = 0.0
    last_error: str = ""
    next_run: datetime | None = None


class CrontabTrigger(BaseTrigger):  # type: ignore[misc] # APScheduler has no types
    """Due when cron(8) would run the line, in local time of `zone`; each run up to `jitter_seconds` later.

    APScheduler's own reading is another one: 0 is Monday there, and both days have to match. As in cron, a time of
    day that daylight saving leaves out comes right after the gap, and one that it repeats comes once.
    """

    def __init__(self, line: str, zone: tzinfo, *, jitter_seconds: int = 0) -> None:
        self._line = line
        self._zone = zone
        self._jitter = jitter_seconds or None

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time after the last one, those too that a sleeping machine let pass; at first at or after `now`."""
        after = now - _TICK if previous_fire_time is None else min(previous_fire_time, now)
        due = next(CronSim(self._line, after.astimezone(self._zone)), None)
        jittered: datetime | None = self._apply_jitter(due, self._jitter, now)
        return jittered


def every(interval: timedelta, zone: tzinfo, *, jitter_seconds: int = 0) -> BaseTrigger:
    """The trigger for something that is due again `interval` after the last time."""
    return IntervalTrigger(seconds=int(interval.total_seconds()), timezone=zone, jitter=jitter_seconds or None)


@dataclass(slots=True)
class _Running:
    since: float
    limit: float


@dataclass(slots=True)
class Schedule:
    """The running scheduler. Jobs are run one after another in one thread, since they share the database and files.

    A heart job proves that the scheduler's thread goes round; it stays silent while a job runs over its limit.
    """

    heartbeats: Heartbeats
    zone: tzinfo
    beat_seconds: float
    _lock: Lock = field(default_factory=Lock)
    _records: dict[str, JobRecord] = field(default_factory=dict)
    _running: dict[str, _Running] = field(default_factory=dict)
    _wanted: set[str] = field(default_factory=set)
    _specs: tuple[JobSpec, ...] = ()
    _scheduler: BackgroundScheduler | None = None

    def start(self, jobs: Sequence[JobSpec]) -> None:
        """Starts with these jobs; each is due first when its trigger says so, unless it is one for the start."""
        _quiet_library()
        self.heartbeats.expect(BEAT_NAME)
        self._scheduler = BackgroundScheduler(
            timezone=self.zone,
            executors={"default": ThreadPoolExecutor(1), HEART: ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(
            self._on_event, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )
        self._add(jobs)
        self._scheduler.start()

    def replace(self, jobs: Sequence[JobSpec], zone: tzinfo) -> None:
        """Other jobs from now on (a new configuration). A run under way goes on to its end."""
        assert self._scheduler is not None, "started before"
        self.zone = zone
        self._scheduler.remove_all_jobs()
        self._add(jobs)

    def realign(self) -> None:
        """Computes all next times again: the system's clock was set, and they were reckoned with the old one."""
        self.replace(self._specs, self.zone)

    def stop(self) -> None:
        """No more runs; waits for the one under way."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)
        self.heartbeats.forget(BEAT_NAME)

    def run_now(self, name: str) -> None:
        """Makes a job due at once, after those already waiting; an unknown name (a job not configured) does nothing.

        A run under way may have read what it needs before this call: another follows it.
        """
        assert self._scheduler is not None, "started before"
        with self._lock:
            if name not in self._records:
                return
            self._wanted.add(name)
        self._make_due(name, timedelta(0))

    def _make_due(self, name: str, after: timedelta) -> None:
        assert self._scheduler is not None, "started before"
        with suppress(JobLookupError):  # a reload is exchanging the jobs: `_add` knows what is wanted
            self._scheduler.modify_job(name, next_run_time=datetime.now(self.zone) + after)

    def records(self) -> Mapping[str, JobRecord]:
        """What became of each job, with its next time."""
        with self._lock:
            copies = {
                name: JobRecord(**{slot: getattr(found, slot) for slot in JobRecord.__slots__})
                for name, found in self._records.items()
            }
        for name, record in copies.items():
            job = self._scheduler.get_job(name) if self._scheduler is not None else None
            record.next_run = job.next_run_time if job is not None else None
        return copies

    def overdue(self) -> tuple[str, ...]:
        """The jobs that have been running for longer than their limit."""
        now = time.monotonic()
        with self._lock:
            return tuple(name for name, running in self._running.items() if now - running.since > running.limit)

    def _add(self, jobs: Sequence[JobSpec]) -> None:
        assert self._scheduler is not None, "called by start and replace"
        self._specs = tuple(jobs)
        with self._lock:
            self._records = {spec.name: self._records.get(spec.name, JobRecord()) for spec in jobs}
        for spec in jobs:
            self._scheduler.add_job(
                self._timed(spec), spec.trigger, id=spec.name, misfire_grace_time=spec.grace_seconds, executor="default"
            )
            if spec.at_start or spec.name in self._wanted:
                self.run_now(spec.name)
        heart = IntervalTrigger(seconds=self.beat_seconds, timezone=self.zone)
        self._scheduler.add_job(self._beat, heart, id=HEART, misfire_grace_time=None, executor=HEART)

    def _beat(self) -> None:
        if not self.overdue():
            self.heartbeats.beat(BEAT_NAME)

    def _timed(self, spec: JobSpec) -> Callable[[], None]:
        def run() -> None:
            started = time.monotonic()
            threading.current_thread().name = "jobs"
            with self._lock:
                self._running[spec.name] = _Running(started, spec.limit_seconds)
                self._wanted.discard(spec.name)
            try:
                spec.run()
            finally:
                with self._lock:
                    del self._running[spec.name]
                    if spec.name in self._records:
                        self._records[spec.name].last_seconds = time.monotonic() - started

        return run

    def _on_event(self, event: JobEvent) -> None:
        if event.job_id == HEART:
            return
        with self._lock:
            record = self._records.get(event.job_id)
            if record is None:
                return
            too_early = event.code == EVENT_JOB_MAX_INSTANCES and event.job_id in self._wanted
            if too_early:
                pass
            elif event.code == EVENT_JOB_MISSED:
                record.missed += 1
            elif event.code == EVENT_JOB_MAX_INSTANCES:
                record.skipped += 1
            else:
                record.runs += 1
                record.last_run = datetime.now(self.zone)
                record.last_error = ""
                if isinstance(event, JobExecutionEvent) and event.exception is not None:
                    record.failures += 1
                    record.last_error = str(event.exception)
        if too_early:  # asked for during a run, which must not be missed
            self._make_due(event.job_id, _ASK_AGAIN)
        else:
            _tell(event)


def _tell(event: JobEvent) -> None:
    """The log line for a run that did not go as planned."""
    if event.code == EVENT_JOB_MISSED:
        _log.warning("job_missed", job=event.job_id, due=event.scheduled_run_time.isoformat())
    elif event.code == EVENT_JOB_MAX_INSTANCES:
        _log.warning("job_skipped", job=event.job_id, reason="its run before has not ended yet")
    elif event.code == EVENT_JOB_ERROR:
        error = event.exception
        if isinstance(error, RedirectdError):
            name = "job_refused" if isinstance(error, RefusedError) else "job_failed"
            _log.error(name, job=event.job_id, where=error.where, why=error.why, what_to_do=error.what_to_do)
        else:
            _log.error("job_failed", job=event.job_id, error=repr(error), traceback=event.traceback)


def _quiet_library() -> None:
    """Its own log lines say less than the events above and would be a second kind of text on standard error."""
    for name in ("apscheduler.executors", "apscheduler.scheduler"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
