"""A configured source with its waker, as a reader runs it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from redirectd.collect.batch import SessionProgress
from redirectd.collect.reading import Reading
from redirectd.config.model import Config
from redirectd.config.secrets import keys_of
from redirectd.config.sections import SourceSection
from redirectd.config.values import zone_of
from redirectd.dialects import registry
from redirectd.errors import RedirectdError
from redirectd.review.follower import Follower, Watch
from redirectd.service.collector import Collector, CollectStep, Pinned
from redirectd.service.log_records import info_lines
from redirectd.service.source_threads import Feed
from redirectd.sip.text import printable
from redirectd.sources.follow import FollowedFile
from redirectd.sources.hep_listener import HepListener
from redirectd.sources.journald import Journald, JournalPosition
from redirectd.sources.log import Source
from redirectd.sources.place import Position
from redirectd.sources.wake import Wake
from redirectd.store.database import Database

_FIXED = {"hep": "hep", "journal": "journal"}
"""The family of what is not a file."""

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""Who may send HEP where the configuration names nobody."""

GATHER_SECONDS = 0.02
"""How long more is waited for after the first byte: a busy log is written thousands of times a second."""

LOOK_SECONDS = 1.0
"""How often a source is looked at that has nothing to wait for: a journalctl that is to be started again."""


class SourceFeed:
    """A source of any kind."""

    def __init__(self, source: SourceSection, config: Config, database: Database, watch: Watch) -> None:
        """Raises StoreError without a database, SourceError for an address that can't be listened on."""
        path = config.resolve(source.path) if source.path is not None else None
        is_auto = source.kind == "file" and source.dialect == "auto"
        reading = _reading(source, config, _FIXED.get(source.kind, "") if source.dialect == "auto" else source.dialect)
        self._collector = Collector(
            lambda stored: _open_source(source, path, stored),
            reading,
            database,
            node=config.node,
            clock=_now,
            on_progress=SessionProgressLog(source.name) if source.session_progress == "each" else _count_only,
            companion=Follower(database, watch, clock=_now),
            decided=partial(_reading, source, config) if is_auto else None,
        )
        self._wake = Wake([path] if path is not None else [])

    def pump(self) -> CollectStep:
        """Reads a bounded part and commits it."""
        return self._collector.pump()

    def wait(self, seconds: float) -> None:
        """Sleeps until there may be something to read."""
        origin = self._collector.source
        if not isinstance(origin, Journald | HepListener):
            happened = self._wake.wait(seconds)
        elif (descriptor := origin.fileno()) < 0:
            happened = self._wake.wait(min(seconds, LOOK_SECONDS))
        else:
            self._wake.join(descriptor)  # another one after each start of journalctl
            happened = self._wake.wait(seconds)
            self._wake.leave(descriptor)
        if happened:
            time.sleep(GATHER_SECONDS)

    def interrupt(self) -> None:
        """Ends `wait`."""
        self._wake.wake()

    def trouble(self) -> RedirectdError | None:
        """Why the source can't be read now."""
        return self._collector.trouble()

    def lag_bytes(self) -> int:
        """Bytes not read yet."""
        return self._collector.lag_bytes()

    def losses(self) -> Mapping[str, int]:
        """What was lost, by kind."""
        return self._collector.losses()

    def pinned(self) -> Pinned:
        """Which family of writers it is read as."""
        return self._collector.pinned()

    def close(self) -> None:
        """Commits the position where that is owed and lets go of everything. Raises StoreError."""
        try:
            self._collector.close()
        finally:
            self._wake.close()


def _now() -> datetime:
    return datetime.now(UTC)


def open_feed(source: SourceSection, config: Config, database: Database, watch: Watch) -> Feed:
    """The feed for a source. Raises StoreError and SourceError."""
    return SourceFeed(source, config, database, watch)


def _open_source(source: SourceSection, path: Path | None, stored: Mapping[str, Any] | None) -> Source[Any]:
    if path is not None:
        return FollowedFile(path, Position.from_dict(dict(stored)) if stored is not None else None)
    if source.kind == "journal":
        matches = [*(f"_SYSTEMD_UNIT={unit}" for unit in source.units), *source.matches]
        position = JournalPosition.from_dict(dict(stored)) if stored is not None else None
        return Journald(source.name, position, matches=matches)
    assert source.listen is not None, "the configuration's check: a source of the kind hep has it"
    address, _, port = source.listen.rpartition(":")
    # It has no stored position: what was received and not committed is gone with the process.
    return HepListener(source.name, address.strip("[]"), int(port), allowed=tuple(source.allowed_senders) or LOOPBACK)


def _reading(source: SourceSection, config: Config, chosen: str, head: bytes = b"") -> Reading:
    """How a source is read whose family or dialect is `chosen`; "": nothing is decided, all dialects are tried."""
    dialects = registry.chosen(chosen, head) if chosen else registry.of_family("")
    return Reading(
        source=source.name,
        dialects=registry.with_keys(dialects, keys_of(source, config)),
        zone=zone_of(source.timezone),
        policy=config.rules(),
        session_progress=source.session_progress,
        family=chosen if chosen in registry.ENVELOPES else "",
    )


class SessionProgressLog:
    """R3: one record at level info for each 183."""

    def __init__(self, source: str) -> None:
        self._log = info_lines("session_progress", source=source)

    def __call__(self, progress: SessionProgress) -> None:
        """Logs one."""
        self._log(
            {
                "request_uri": progress.request_uri,
                "call_id": progress.call_id,
                "peer": printable(progress.peer),
                "sdp": progress.sdp,
                "media": progress.media,
                "reliable": progress.reliable,
                "seen_at": progress.seen_at.isoformat() if progress.seen_at else None,
            }
        )


def _count_only(_progress: SessionProgress) -> None:
    """The reader's counter is enough."""
