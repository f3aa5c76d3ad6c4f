"""What one configuration file asks of the service: its database, sources and schedule."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from threading import Lock

import structlog
from prometheus_client import Metric

from redirectd.apply.applier import Applier, ApplyRequest
from redirectd.apply.result import ApplyResult
from redirectd.config.load import load
from redirectd.config.model import Config
from redirectd.config.secrets import database_url, make_folder
from redirectd.config.sections import NotifySection, SourceSection
from redirectd.config.values import zone_of
from redirectd.errors import ChangedMeanwhileError, RefusedError
from redirectd.plan.target_spec import NO_RELOAD
from redirectd.review.follower import Watch
from redirectd.service.announcer import Announcer
from redirectd.service.applying import applier_of, approved_table, publish_targets
from redirectd.service.feed import open_feed
from redirectd.service.jobs import is_paused, make_jobs
from redirectd.service.notifications import Notice, NotifyQueue
from redirectd.service.remote_applies import RemoteApplies
from redirectd.service.schedule import JobSpec, every
from redirectd.service.source_threads import Feed, ReaderReport, ReaderSpec
from redirectd.service.status_document import Document, stored_part
from redirectd.store.apply_requests import PUBLISHED_EVERY
from redirectd.store.database import Database
from redirectd.store.migrate import ensure

_log = structlog.get_logger("redirectd.apply")

_RETRY = timedelta(seconds=30)
"""How often it is looked whether a try is due; each target's tries back off by themselves."""


def _send(section: NotifySection, config: Config, message: Notice) -> None:
    """The URL is read each time: a secret may have been renewed."""
    from redirectd.service.delivery import delivery_of  # needed only where somebody is notified

    delivery_of(section, config).send(message)


class Store:
    """The database behind its URL, made ready by whichever thread needs it first, and what all sources watch for."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet. Raises ConfigError for a URL that can't be used."""
        self.url = url
        self.database = Database(url)
        self.watch = Watch()
        self._lock = Lock()
        self._ready_at: int | None = None

    def ready(self) -> Database:
        """The database at the program's revision. Raises StoreError as long as it is away or of another revision."""
        with self._lock:
            if self._ready_at != self.database.epoch:
                make_folder(self.database.file)
                ensure(self.database)
                self._ready_at = self.database.epoch
        return self.database


class Site:
    """A loaded configuration with everything built from it that costs nothing until it is used."""

    def __init__(self, config: Config, previous: Site | None = None) -> None:
        """Takes over the database of `previous` where its URL stays. Raises ConfigError."""
        self.config = config
        self.zone: tzinfo = zone_of(config.schedule.timezone)
        url = database_url(config)
        self.store: Store = previous.store if previous is not None and previous.store.url == url else Store(url)
        self._applier: Applier = applier_of(config, self.store.database)
        self._waiting: Mapping[str, str] = {}

    @classmethod
    def load(cls, file: Path | None, previous: Site | None = None) -> Site:
        """From the file. Raises ConfigError with all its faults."""
        return cls(load(file), previous)

    def readers(self) -> Sequence[ReaderSpec]:
        """The sources; one is begun anew if anything changed that its reading depends on."""
        shared = (self.config.policy, self.config.node, self.store.url)
        return [
            ReaderSpec(
                source.name, (source, self.config.resolve(source.path or Path()), *shared), partial(self._open, source)
            )
            for source in self.config.source
        ]

    def jobs(self, families: Callable[[], list[Metric]]) -> Sequence[JobSpec]:
        """The schedule."""
        servers = any(target.reload != NO_RELOAD or target.nodes for target in self.config.target)
        verify = partial(self._apply, verify=True) if servers else None
        jobs = list(
            make_jobs(self.config, self.zone, self.store.ready, apply=self._apply, verify=verify, families=families)
        )
        if self.config.schedule.apply_requests:
            remote = RemoteApplies(self.config, self._apply_on_request, self.paused)
            answer, publish = (lambda: remote.run(self.store.ready())), (lambda: remote.publish(self.store.ready()))
            each, plans = timedelta(seconds=5), timedelta(seconds=PUBLISHED_EVERY)
            jobs.append(JobSpec("apply-requests", answer, every(each, self.zone), 60, 30 * 60, at_start=True))
            jobs.append(JobSpec("publish-plan", publish, every(plans, self.zone), 60, 10 * 60, at_start=True))
        if servers:
            jobs.append(JobSpec("retry", self._retry, every(_RETRY, self.zone), 10 * 60, 30 * 60))
        return jobs

    def announcer(self, reports: Callable[[], Sequence[ReaderReport]]) -> Announcer:
        """What logs events and notifies of them."""
        holder = f"{self.config.node} {os.getpid()} {secrets.token_hex(4)}"
        queues = [NotifyQueue(one, self.config, _send, holder) for one in self.config.notify]
        return Announcer(self.store.ready, self.config.node, reports, queues)

    def wake_url(self) -> str | None:
        """The database to listen on for decisions made on other nodes; None where none are waited for."""
        wanted = self.config.schedule.on_approval and self.config.schedule.apply
        return self.store.url if wanted and self.store.url.startswith("postgresql+psycopg:") else None

    def stored(self) -> Document:
        """The database's part of the status document."""
        return stored_part(self.store.database, self.config, datetime.now(UTC))

    def paused(self) -> bool:
        """Whether a pause window holds applies back now."""
        return is_paused(self.config, self.zone, datetime.now(UTC))

    def close(self) -> None:
        """Lets go of the database."""
        self.store.database.close()

    def _open(self, source: SourceSection) -> Feed:
        database = self.store.ready()
        return open_feed(source, self.config, database, self.store.watch)

    def _retry(self) -> None:
        """What waits for its server or was killed is finished also where no apply is scheduled, is held or paused."""
        self.store.ready()
        try:
            waiting = self._applier.finish(ApplyRequest(actor="redirectd", cause="schedule", wait=0))
        except RefusedError:
            return  # another apply is at work, which does the same
        if waiting != self._waiting:
            _log.warning("targets_wait_for_their_servers" if waiting else "targets_wait_no_more", targets=waiting)
            self._waiting = waiting

    def _apply(self, *, verify: bool = False) -> None:
        request = ApplyRequest(actor="redirectd", cause="schedule", verify=verify)
        result = self._apply_on_request(request)
        faults = [unit.error for unit in result.units if unit.error is not None]
        others = [error for error in faults if not isinstance(error, ChangedMeanwhileError)]
        if len(others) < len(faults):
            # Another redirectd that shares the table: a second plan finds its rows there. A person's edit is refused.
            result = self._apply_on_request(request)
            if others:
                raise others[0]  # the second apply no longer says why: it leaves alone what has failed lately
        if result.error is not None:
            raise result.error

    def _apply_on_request(self, request: ApplyRequest) -> ApplyResult:
        """Applies once, and logs what came of it."""
        database = self.store.ready()
        publish_targets(self.config, database)
        result = self._applier.apply(lambda: approved_table(database, self.config.rules()), request)
        for unit in result.units:
            changed = {name: each.outcome for name, each in unit.outcomes.items() if each.outcome != "unchanged"}
            # One that is refused has changed nothing: the schedule says so, as `job_refused`.
            if (changed or unit.waiting) and not isinstance(unit.error, RefusedError | ChangedMeanwhileError):
                _log.info(
                    "applied",
                    unit=unit.plan.name,
                    generation=unit.generation,
                    targets=changed,
                    waiting=list(unit.waiting),
                    lost=dict(unit.lost),
                )
        return result
