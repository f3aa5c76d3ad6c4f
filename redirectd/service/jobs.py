"""What is done on time, from the configuration: apply, the end of lifetimes, review dates, pruning, vacuum, metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from apscheduler.triggers.base import BaseTrigger

from redirectd.collect.reading import Reading
from redirectd.config.model import Config
from redirectd.config.secrets import keys_of
from redirectd.config.values import zone_of
from redirectd.dialects import registry
from redirectd.review.auto import approve_ready
from redirectd.review.decide import expire
from redirectd.review.holds import screen
from redirectd.review.target_health import suspend_failing
from redirectd.service.applying import publish_targets, within_limits
from redirectd.service.ingestion import replay
from redirectd.service.maintenance import Retention, prune, vacuum
from redirectd.service.metrics import write_textfile
from redirectd.service.schedule import CrontabTrigger, JobSpec, every
from redirectd.service.status_document import count_stale
from redirectd.store.database import Database

if TYPE_CHECKING:
    from prometheus_client import Metric

_log = structlog.get_logger("redirectd.jobs")

_MINUTE, _HOUR = 60, 3600

APPLY = "apply"


def make_jobs(
    config: Config,
    zone: tzinfo,
    ready: Callable[[], Database],
    *,
    apply: Callable[[], object],
    verify: Callable[[], object] | None = None,
    families: Callable[[], list[Metric]],
) -> Sequence[JobSpec]:
    """The schedule of a configuration.

    `ready` gives the database at the program's revision or raises StoreError, `apply` applies once and `verify`
    does so asking the servers for every entry, where there is a server to ask; `families` gives
    the metrics.
    """
    jitter = int(config.schedule.jitter.total_seconds())

    def at(line: str, *, spread: int = 0) -> BaseTrigger:
        return CrontabTrigger(line, zone, jitter_seconds=spread)

    jobs = [
        # A grace below the time between two runs would drop a run that waits behind a vacuum; above it, coalesce
        # makes one of several.
        JobSpec(
            "expiry",
            lambda: _expire(ready()),
            every(timedelta(minutes=1), zone),
            10 * _MINUTE,
            10 * _MINUTE,
            at_start=True,
        ),
        JobSpec(
            "screening",
            _screening(config, ready),
            every(timedelta(minutes=1), zone),
            10 * _MINUTE,
            _HOUR,
            at_start=True,
        ),
        JobSpec("revalidation", lambda: _revalidate(ready()), at("0 6 * * *"), 12 * _HOUR, 10 * _MINUTE),
        # At night, apart from each other, and in the morning after a night the host slept through.
        JobSpec("retention", lambda: _prune(config, ready()), at("17 3 * * *", spread=600), 12 * _HOUR, 2 * _HOUR),
        # A newer program may read what an older one could not: at the start, and by night for where the start had no
        # database.
        JobSpec(
            "quarantine",
            lambda: _replay(config, ready()),
            at("37 4 * * *", spread=600),
            12 * _HOUR,
            _HOUR,
            at_start=True,
        ),
        JobSpec("vacuum", lambda: _vacuum(ready()), at("47 3 * * 0", spread=600), 12 * _HOUR, 2 * _HOUR),
    ]
    if config.policy.auto_approve is not None:
        each = every(timedelta(minutes=1), zone)
        jobs.append(JobSpec("auto-approve", lambda: _auto_approve(config, ready()), each, 10 * _MINUTE, 10 * _MINUTE))
    if config.schedule.apply:
        trigger = at(config.schedule.apply, spread=jitter)
        run = _unless_paused(config, zone, _after_suspending(config, ready, apply))
        # Longer than any job before it may take: a nightly apply that waits behind a vacuum is not left out for a day.
        jobs.append(JobSpec(APPLY, run, trigger, 3 * _HOUR, 30 * _MINUTE))
        if verify is not None:
            nightly = at("27 2 * * *", spread=600)
            jobs.append(JobSpec("verify", _unless_paused(config, zone, verify), nightly, 12 * _HOUR, 2 * _HOUR))
    if config.daemon.metrics_file is not None:
        file = config.resolve(config.daemon.metrics_file)
        write = _metrics_writer(file, families)
        jobs.append(JobSpec("metrics", write, every(timedelta(seconds=15), zone), _MINUTE, _MINUTE, at_start=True))
    return jobs


def is_paused(config: Config, zone: tzinfo, now: datetime) -> bool:
    """Whether `now` lies in one of the schedule's pause windows."""
    return any(window.covers(now.astimezone(zone)) for window in config.schedule.pause)


def _unless_paused(config: Config, zone: tzinfo, apply: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        if is_paused(config, zone, datetime.now(UTC)):
            _log.info("apply_paused", windows=[str(window) for window in config.schedule.pause])
            return
        apply()

    return run


def _after_suspending(
    config: Config, ready: Callable[[], Database], apply: Callable[[], object]
) -> Callable[[], object]:
    """Where it is configured, what fails too often leaves the routing with the very apply that follows."""
    if config.policy.suspend_failing_after is None:
        return apply

    def run() -> object:
        suspended = suspend_failing(ready(), config.rules(), now=datetime.now(UTC))
        if suspended:
            _log.warning("remaps_suspended", ids=suspended, what_to_do="see why with 'redirectd show ID'")
        return apply()

    return run


def _metrics_writer(file: Path, families: Callable[[], list[Metric]]) -> Callable[[], None]:
    return lambda: write_textfile(file, families())


def _expire(database: Database) -> None:
    """R18: an approved remap with a deadline ends by itself; the next apply takes it out of the routing."""
    with database.begin() as connection:
        ended = expire(connection, now=datetime.now(UTC))
    if ended:
        _log.info("remaps_expired", ids=ended)


def _screening(config: Config, ready: Callable[[], Database]) -> Callable[[], None]:
    """R27: looks at what waits, so that a page of what is suspicious need not; at first at all of it."""
    anew = True

    def run() -> None:
        nonlocal anew
        screen(ready(), config.rules(), anew=anew)
        anew = False

    return run


def _auto_approve(config: Config, database: Database) -> None:
    """R29: what the policy's whole rule covers; each approval is audited."""
    publish_targets(config, database)
    within = partial(within_limits, config, database)
    result = approve_ready(database, config.rules(), now=datetime.now(UTC), within_limits=within)
    if result.left:
        _log.warning(
            "remaps_over_a_limit",
            count=result.left,
            what_to_do="they are approved once the applies before them are done: see 'redirectd plan'",
        )
    if result.approved:
        _log.info("remaps_auto_approved", ids=[remap.id for remap in result.approved])
    if result.refused:
        _log.info("remaps_not_auto_approved", reasons={str(number): why for number, why in result.refused.items()})


def _revalidate(database: Database) -> None:
    """R36: a remap past its review date keeps routing and is shown; once a day it is said as well."""
    with database.read() as connection:
        stale = count_stale(connection, datetime.now(UTC))
    if stale:
        _log.warning(
            "remaps_stale", count=stale, what_to_do="see 'redirectd list', then revoke what is no longer right"
        )


def _replay(config: Config, database: Database) -> None:
    """Of this node's sources alone: of another node's neither the zone nor the policy is known here."""
    readings = {
        source.name: Reading(
            source=source.name,
            dialects=registry.with_keys(registry.ALL, keys_of(source, config)),
            zone=zone_of(source.timezone),
            policy=config.rules(),
        )
        for source in config.source
    }
    summary, left = replay(
        database,
        readings.__getitem__,
        node=config.node,
        clock=lambda: datetime.now(UTC),
        sources=readings,
    )
    if summary.sightings or summary.refused:
        _log.info("quarantine_read", sightings=summary.sightings, remaps_new=summary.remaps_new, left=left)


def _prune(config: Config, database: Database) -> None:
    pruned = prune(database, retention_of(config), node=config.node, now=datetime.now(UTC))
    if pruned.total:
        _log.info("pruned", **asdict(pruned))


def retention_of(config: Config) -> Retention:
    """What `[retention]` says, as plain values."""
    keep = config.retention
    return Retention(
        evidence=keep.evidence,
        quarantine=keep.quarantine,
        generations=keep.generations,
        reported_events=keep.events,
    )


def _vacuum(database: Database) -> None:
    freed = vacuum(database)
    if freed:
        _log.info("vacuumed", freed_bytes=freed)
