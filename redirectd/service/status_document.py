"""The status document: one JSON for `redirectd status`, the status socket and the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from redirectd.config.model import Config
from redirectd.errors import ConfigError, RedirectdError, StoreError
from redirectd.service.database_stats import Document, read_stored
from redirectd.service.schedule import JobRecord
from redirectd.service.source_threads import ReaderReport
from redirectd.store.database import Database
from redirectd.store.revision import is_newest
from redirectd.times import rfc3339

_NOT_KNOWN: Document = {
    "remaps": None,
    "stale": None,
    "failing": None,
    "ineffective": None,
    "saved": None,
    "quarantine": None,
    "quarantine_newest": [],
    "losses": [],
    "nodes": [],
    "waiting": [],
    "undelivered": [],
    "database_bytes": None,
}


def stored_part(database: Database, config: Config, now: datetime) -> Document:
    """What the database says, with its own health; never raises, since status is asked most when things are broken."""
    try:
        if not is_newest(database):  # what a newer program's tables mean is not known here
            from redirectd.store.migrate import current, refuse_newer  # alembic is slow to load

            refuse_newer(database, current(database))
        known = read_stored(database, now, [one.name for one in config.notify])
        health = {"ok": True, "url": database.shown, "error": None, "what_to_do": None}
    except StoreError as error:
        known = dict(_NOT_KNOWN)
        health = {"ok": False, "url": database.shown, "error": error.why, "what_to_do": error.what_to_do}
    health["bytes"] = known.pop("database_bytes")
    return {"database": health, **known}


def without_daemon(database: Database, config: Config, now: datetime) -> Document:
    """The document for when no daemon answers: what the database knows, unless a newer program has upgraded it."""
    document: Document = shown(
        {
            "daemon": {"running": False, "node": config.node},
            **stored_part(database, config, now),
            "sources": [],
            "jobs": [],
        }
    )
    return document


def fault_part(error: ConfigError | None) -> list[Document]:
    """What is wrong with the configuration file as it is now, whatever the daemon runs with."""
    faults: Iterable[RedirectdError] = () if error is None else error.faults or (error,)
    return [{"where": one.where, "why": one.why, "what_to_do": one.what_to_do} for one in faults]


def source_part(reports: Iterable[ReaderReport]) -> list[Document]:
    """Each source as its reader sees it."""
    return [
        {
            "name": report.name,
            "state": report.state.value,
            "error": report.error or None,
            "what_to_do": report.what_to_do or None,
            "blocked_since": report.blocked_since,
            "family": report.family or None,
            "consoles": dict(report.consoles),
            "other_family": report.conflict or None,
            "lag_bytes": report.lag_bytes,
            "last_read": report.last_read,
            "last_sighting": report.last_sighting,
            "sightings": report.sightings,
            "session_progress": report.session_progress,
            "losses": dict(report.losses),
            "restarts": report.restarts,
            "store_failures": report.store_failures,
            "longest_pump_seconds": round(report.longest_pump_seconds, 3),
        }
        for report in reports
    ]


def job_part(records: Mapping[str, JobRecord]) -> list[Document]:
    """Each job of the schedule."""
    return [
        {
            "name": name,
            "next_run": record.next_run,
            "last_run": record.last_run,
            "last_seconds": round(record.last_seconds, 3),
            "last_error": record.last_error or None,
            "runs": record.runs,
            "failures": record.failures,
            "missed": record.missed,
            "skipped": record.skipped,
        }
        for name, record in records.items()
    ]


def shown(value: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """The document as JSON can hold it: times in RFC 3339, UTC."""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value
