"""Jobs run one after another, and what does not go as planned is counted, logged and stops the watchdog in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from apscheduler.triggers.date import DateTrigger
from structlog.testing import capture_logs

from redirectd.errors import RefusedError, StoreError
from redirectd.service.schedule import BEAT_NAME, JobRecord, JobSpec, Schedule, every
from redirectd.service.watchdog import Heartbeats


def until(ready: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that happens in another thread."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def beats() -> Heartbeats:
    return Heartbeats()


@pytest.fixture
def schedule(beats: Heartbeats) -> Iterator[Schedule]:
    made = Schedule(beats, UTC, beat_seconds=0.05)
    yield made
    made.stop()


def once(name: str, run: Callable[[], object], *, limit: float = 60, late: float = 0, grace: int = 60) -> JobSpec:
    """A job that is due now, or was `late` seconds ago."""
    trigger = DateTrigger(datetime.now(UTC) - timedelta(seconds=late) + timedelta(milliseconds=50))
    return JobSpec(name, run, trigger, grace, limit)


def record(schedule: Schedule, name: str) -> JobRecord:
    return schedule.records()[name]


def test_a_failed_job_is_counted_told_and_tried_again(schedule: Schedule) -> None:
    """A database that is away fails one run; the job stays in the schedule and its next run clears the error."""
    answers: list[Exception | None] = [StoreError("database x", "it is gone", "bring it back"), None]

    def run() -> None:
        if answers and (error := answers.pop(0)) is not None:
            raise error

    with capture_logs() as logs:
        schedule.start([JobSpec("apply", run, every(timedelta(seconds=1), UTC), 60, 60)])
        until(lambda: record(schedule, "apply").failures == 1)
        assert "it is gone" in record(schedule, "apply").last_error
        until(lambda: record(schedule, "apply").runs >= 2)
    assert record(schedule, "apply").last_error == ""
    told = [entry for entry in logs if entry["event"] == "job_failed"]
    assert [(entry["why"], entry["what_to_do"]) for entry in told] == [("it is gone", "bring it back")]


def test_a_refused_run_is_one_event_of_its_own_name(schedule: Schedule) -> None:
    """An apply over a limit is not a failure of the program: the log has `job_refused` for it, and nothing else."""

    def run() -> None:
        raise RefusedError("the plan", "it is over a limit", "look at it")

    with capture_logs() as logs:
        schedule.start([once("apply", run)])
        until(lambda: record(schedule, "apply").failures == 1)
        until(lambda: bool(logs))
    assert [(entry["event"], entry["why"]) for entry in logs] == [("job_refused", "it is over a limit")]


def test_a_run_that_comes_too_late_is_missed_not_made_up(schedule: Schedule) -> None:
    """Later than its grace a run is left out, counted and logged."""
    ran = Event()
    with capture_logs() as logs:
        schedule.start([once("retention", ran.set, late=100, grace=10)])
        until(lambda: record(schedule, "retention").missed == 1)
    assert not ran.is_set()
    assert [entry["job"] for entry in logs if entry["event"] == "job_missed"] == ["retention"]


def test_a_run_within_its_grace_is_made_up(schedule: Schedule) -> None:
    """APScheduler's default grace of one second would drop it."""
    ran = Event()
    schedule.start([once("retention", ran.set, late=100, grace=1000)])
    assert ran.wait(10)


def test_jobs_run_one_after_another(schedule: Schedule) -> None:
    """Two jobs due together never run at the same time: they share the database and the files."""
    inside: list[str] = []
    overlaps: list[list[str]] = []

    def job(name: str) -> Callable[[], None]:
        def run() -> None:
            inside.append(name)
            overlaps.append(list(inside))
            time.sleep(0.05)
            inside.remove(name)

        return run

    schedule.start([once(name, job(name)) for name in ("a", "b", "c")])
    until(lambda: len(overlaps) == 3)
    assert all(len(seen) == 1 for seen in overlaps)


def test_a_job_over_its_limit_silences_the_scheduler(schedule: Schedule, beats: Heartbeats) -> None:
    """A hung job stops the beats, and with them the watchdog; one within its limit does not."""
    release = Event()
    schedule.start([once("apply", release.wait, limit=0.3)])
    until(lambda: schedule.overdue() == ("apply",))
    beats.take()
    beats.take()
    time.sleep(0.3)
    assert beats.take() == (BEAT_NAME,)
    release.set()
    until(lambda: beats.take() == ())


def test_a_running_job_is_not_started_twice(schedule: Schedule) -> None:
    """A run that is due while the one before goes on is left out, counted and logged."""
    release = Event()
    with capture_logs() as logs:
        schedule.start([JobSpec("apply", release.wait, every(timedelta(seconds=1), UTC), 60, 60)])
        until(lambda: record(schedule, "apply").skipped >= 1)
    release.set()
    assert any(entry["event"] == "job_skipped" and entry["job"] == "apply" for entry in logs)


def test_a_new_configuration_replaces_the_jobs(schedule: Schedule) -> None:
    """After a reload only the new jobs are there; counts of those that stay go on."""
    schedule.start([once("a", lambda: None), once("b", lambda: None)])
    until(lambda: record(schedule, "b").runs == 1)
    schedule.replace([JobSpec("b", lambda: None, every(timedelta(hours=1), UTC), 60, 60)], UTC)
    assert set(schedule.records()) == {"b"}
    assert record(schedule, "b").runs == 1
    assert record(schedule, "b").next_run is not None


def test_realign_reckons_next_times_anew(schedule: Schedule) -> None:
    """After the clock was set back, a job that seems to be due in the far future is due within its interval again."""
    schedule.start([JobSpec("apply", lambda: None, every(timedelta(minutes=5), UTC), 60, 60)])
    assert schedule._scheduler is not None
    schedule._scheduler.get_job("apply").modify(next_run_time=datetime.now(UTC) + timedelta(hours=5))
    schedule.realign()
    upcoming = record(schedule, "apply").next_run
    assert upcoming is not None
    assert upcoming - datetime.now(UTC) <= timedelta(minutes=5)


def test_run_now(schedule: Schedule) -> None:
    """A job can be made due at once, and a name that is not scheduled is not an error."""
    ran = Event()
    schedule.start([JobSpec("apply", ran.set, every(timedelta(hours=1), UTC), 60, 60)])
    schedule.run_now("nothing")
    schedule.run_now("apply")
    assert ran.wait(10)


def test_a_run_asked_for_during_a_run_follows_it(schedule: Schedule) -> None:
    """What was decided while an apply ran may have come too late for it: another runs after it, and none is missed."""
    begun, go_on = Event(), Event()
    runs: list[None] = []

    def run() -> None:
        runs.append(None)
        begun.set()
        assert go_on.wait(30)

    with capture_logs() as logs:
        schedule.start([JobSpec("apply", run, every(timedelta(days=1), UTC), 60, 60, at_start=True)])
        assert begun.wait(30)
        for _ in range(3):
            schedule.run_now("apply")
        go_on.set()
        until(lambda: record(schedule, "apply").runs == 2)
        schedule.run_now("nothing of that name")
    assert len(runs) == 2, "asked three times, run once more"
    assert record(schedule, "apply").skipped == 0
    assert logs == []
