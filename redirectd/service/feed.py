"""A configured source with its waker, as a reader runs it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import structlog
from tzlocal import get_localzone

from redirectd.collect.batch import SessionProgress
from redirectd.collect.collector import FileCollector, Step
from redirectd.collect.reader import Reading
from redirectd.config.model import Config
from redirectd.config.sources import SourceSection
from redirectd.dialects import registry
from redirectd.errors import ConfigError, RedirectdError
from redirectd.service.reader import Feed
from redirectd.sources.wake import Wake
from redirectd.store.database import Database

HEAD = 1 << 20
"""Bytes at a log's start from which its dialect is told."""

GATHER_SECONDS = 0.02
"""How long more is waited for after the first byte: a busy log is written thousands of times a second."""


class FileFeed:
    """A followed log. Raises StoreError when opened without a database."""

    def __init__(self, source: SourceSection, config: Config, database: Database) -> None:
        assert source.path is not None, "the configuration's check"
        path = config.resolve(source.path)
        dialect = source.dialect
        head = b""
        with suppress(OSError), path.open("rb") as file:  # a log that is not there yet: all dialects are tried
            head = file.read(HEAD)
        reading = Reading(
            source=source.name,
            dialects=registry.detect(head) if dialect == "auto" else (registry.by_name(dialect),),
            zone=zone_of(source.timezone),
            policy=config.rules(),
            session_progress=source.session_progress,
        )
        log_each = SessionProgressLog(source.name) if source.session_progress == "each" else _count_only
        self._collector = FileCollector(
            path, reading, database, node=config.node, clock=lambda: datetime.now(UTC), on_progress=log_each
        )
        self._wake = Wake([path])

    def pump(self) -> Step:
        """Reads a bounded part and commits it."""
        return self._collector.pump()

    def wait(self, seconds: float) -> None:
        """Sleeps until the log may have changed."""
        if self._wake.wait(seconds):
            time.sleep(GATHER_SECONDS)

    def interrupt(self) -> None:
        """Ends `wait`."""
        self._wake.wake()

    def trouble(self) -> RedirectdError | None:
        """Why the log can't be read now."""
        return self._collector.trouble()

    def lag_bytes(self) -> int:
        """Bytes not read yet."""
        return self._collector.lag_bytes()

    def losses(self) -> Mapping[str, int]:
        """What was lost, by kind."""
        return self._collector.losses()

    def close(self) -> None:
        """Lets go of the files."""
        self._collector.close()
        self._wake.close()


def open_feed(source: SourceSection, config: Config, database: Database) -> Feed:
    """The feed for a source of any kind. Raises StoreError, and ConfigError for a kind the service can't follow."""
    if source.kind == "file":
        return FileFeed(source, config, database)
    raise ConfigError(
        f"source {source.name}",
        f"the service can't follow a source of the kind {source.kind} yet",
        "have it written to a file and follow that",
    )


def zone_of(name: str) -> tzinfo:
    """A time zone by its name; the system's for an empty one."""
    return ZoneInfo(name) if name else get_localzone()


class SessionProgressLog:
    """R3: one record at level info for each 183."""

    def __init__(self, source: str) -> None:
        self._log = structlog.get_logger("redirectd.session_progress").bind(source=source)

    def __call__(self, progress: SessionProgress) -> None:
        """Logs one."""
        fields = asdict(progress)
        fields["seen_at"] = progress.seen_at.isoformat() if progress.seen_at else None
        self._log.info("session_progress", **fields)


def _count_only(_progress: SessionProgress) -> None:
    """The reader's counter is enough."""
