"""The status document: one JSON for `redirectd status`, the status socket and the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select, text

from redirectd.config.model import Config
from redirectd.errors import ConfigError, RedirectdError, StoreError
from redirectd.review.target_health import failing
from redirectd.service.notifications import undelivered
from redirectd.service.schedule import JobRecord
from redirectd.service.source_threads import ReaderReport
from redirectd.sip.text import printable, to_text
from redirectd.store import in_service
from redirectd.store.database import Database, is_newest
from redirectd.store.generations import GenerationOutcome
from redirectd.store.remap import State
from redirectd.store.schema import (
    generation,
    generation_file,
    loss,
    position,
    quarantine,
    remap,
    setting,
    target_state,
)
from redirectd.store.target_states import target_states
from redirectd.times import rfc3339

Document = dict[str, Any]

_SHOWN, _SHOWN_BYTES = 5, 300
_WORST = 10


def read_stored(database: Database, now: datetime, notified: Sequence[str] = ()) -> Document:
    """The parts of the status document that come from the database; `notified` are names of `[[notify]]`.

    Raises StoreError.
    """
    with database.read() as connection:
        return {
            "remaps": _remaps(connection),
            "stale": count_stale(connection, now),
            "failing": _failing(connection),
            "ineffective": _ineffective(connection),
            "saved": _saved(connection),
            "quarantine": _count(connection),
            "quarantine_newest": _newest(connection),
            "losses": _losses(connection),
            "nodes": _nodes(connection),
            "waiting": _waiting(connection),
            "undelivered": undelivered(connection, notified),
            "database_bytes": _size(database, connection),
        }


def _remaps(connection: Connection) -> Document:
    counted = connection.execute(select(remap.c.state, func.count()).group_by(remap.c.state))
    return {state.value: 0 for state in State} | {str(state): int(count) for state, count in counted}


def count_stale(connection: Connection, now: datetime) -> int:
    """Approved remaps past their review date (R36)."""
    query = select(func.count()).where(remap.c.state == State.APPROVED.value, remap.c.revalidate_after < now)
    return int(connection.execute(query).scalar_one())


def _failing(connection: Connection) -> Document:
    """Approved remaps whose target fails, and those with the most calls by id."""
    found = failing(connection)
    worst = sorted(found, key=lambda number: (-found[number].dead_calls, number))[:_WORST]
    return {"remaps": len(found), "calls": sum(one.dead_calls for one in found.values()), "worst": worst}


def _ineffective(connection: Connection) -> Document:
    """Remaps in service whose old URI is still answered 301: how many, how often, and the worst by id."""
    remaps, calls = in_service.count_ineffective(connection)
    worst = list(dict.fromkeys(one.remap_id for one in in_service.ineffective(connection, 10))) if remaps else []
    return {"remaps": remaps, "calls": calls, "worst": worst}


def _saved(connection: Connection) -> Document:
    """What the remaps that work save."""
    found = in_service.saved(connection)
    each = found.milliseconds_a_call
    return {
        "remaps": found.remaps,
        "calls_a_day": round(found.calls_a_day, 3),
        "milliseconds_a_call": None if each is None else round(each, 3),
        "unobserved": found.unobserved,
    }


def _count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(quarantine)).scalar_one())


def _newest(connection: Connection) -> list[Document]:
    """The newest of what could not be read, with the beginning of its text."""
    columns = quarantine.c
    query = select(columns.source, columns.position, columns.dialect, columns.seen_at, columns.why, columns.content)
    return [
        {
            "source": row.source,
            "position": row.position,
            "dialect": row.dialect,
            "seen_at": row.seen_at,
            "why": row.why,
            "text": printable(to_text(row.content[:_SHOWN_BYTES]), _SHOWN_BYTES),
        }
        for row in connection.execute(query.order_by(columns.id.desc()).limit(_SHOWN))
    ]


def _losses(connection: Connection) -> list[Document]:
    rows = connection.execute(select(loss).order_by(loss.c.node, loss.c.source, loss.c.kind))
    return [
        {"node": row.node, "source": row.source, "kind": row.kind, "count": row.count, "last_at": row.last_at}
        for row in rows
    ]


def _nodes(connection: Connection) -> list[Document]:
    """For each node its newest generation and the time at which it last stored something.

    The outcome is `rolled-back` where any target's newest file was, be it by an earlier generation.
    """
    newest = select(func.max(generation.c.number)).group_by(generation.c.node)
    found: dict[str, Document] = {}
    for row in connection.execute(
        select(
            generation.c.node, generation.c.number, generation.c.created_at, generation.c.checksum, generation.c.outcome
        ).where(generation.c.number.in_(newest))
    ):
        found[row.node] = {
            "node": row.node,
            "generation": row.number,
            "created_at": row.created_at,
            "checksum": row.checksum,
            "outcome": row.outcome,
        }
    for one in connection.execute(_taken_back()):
        found[one.node]["outcome"] = GenerationOutcome.ROLLED_BACK.value
    nothing = {"generation": None, "created_at": None, "checksum": None, "outcome": None}
    for node, at in connection.execute(
        select(position.c.node, func.max(position.c.updated_at)).group_by(position.c.node)
    ):
        found.setdefault(node, {"node": node, **nothing})["last_stored"] = at
    for node, name, value in connection.execute(select(setting.c.node, setting.c.name, setting.c.value)):
        if node in found:
            found[node].setdefault("settings", {})[name] = value
    return [{"last_stored": None, "settings": {}} | found[node] for node in sorted(found)]


def _taken_back() -> Select[tuple[str]]:
    """The nodes with a target whose newest file was taken back: a later generation of another unit does not hide it."""
    newest = (
        select(generation.c.node, generation_file.c.target, func.max(generation.c.number).label("number"))
        .join(generation_file, generation_file.c.number == generation.c.number)
        .group_by(generation.c.node, generation_file.c.target)
        .subquery()
    )
    same = (generation_file.c.number == newest.c.number) & (generation_file.c.target == newest.c.target)
    outcome = generation_file.c.outcome == GenerationOutcome.ROLLED_BACK.value
    return select(newest.c.node).join(generation_file, same).where(outcome).distinct()


def _waiting(connection: Connection) -> list[Document]:
    """The targets on any node that are installed, not reloaded: why, how often tried, the last and the next try."""
    nodes = connection.scalars(select(target_state.c.node).where(target_state.c.pending_reload).distinct())
    return [
        {
            "node": node,
            "target": state.target,
            "generation": state.number,
            "phase": state.phase.value,
            "last_try": state.updated_at,
            "attempts": state.attempts,
            "next_try": state.next_try,
            "error": state.error or None,
        }
        for node in sorted(nodes)
        for state in target_states(connection, node).values()
        if state.phase is not None
    ]


def _size(database: Database, connection: Connection) -> int | None:
    """Bytes on disk; None where the server does not say."""
    if database.backend == "sqlite":
        return database.file_bytes()
    if database.backend == "postgresql":
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    found = connection.execute(
        text("SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()")
    ).scalar()
    return None if found is None else int(found)


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
