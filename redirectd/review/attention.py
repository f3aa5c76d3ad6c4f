"""Approved remaps that a person should look at again: first those that fail, then those past their review date.

With it, in words, what a remap in service does in the field: that it is gone past, or what it saves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from redirectd.collect.policy import Policy
from redirectd.review.holds import FAILING, INEFFECTIVE, REDUNDANT, STALE, with_holds
from redirectd.review.target_health import Failing, failing
from redirectd.store import event_log, in_service
from redirectd.store.database import Database
from redirectd.store.event_log import EventKind, NewEvent
from redirectd.store.in_service import Service, services
from redirectd.store.remap import Remap, State
from redirectd.store.remaps import of_ids
from redirectd.store.schema import remap
from redirectd.store.statements import chunks
from redirectd.times import rfc3339

MOST_REPORTED = 1_000
"""Remaps whose old URI is still answered that are reported: a missing lookup concerns all of them."""


def attention(connection: Connection, *, now: datetime) -> list[int]:
    """Their ids: failing ones, then stale ones that do not fail (R36); each part oldest id first."""
    first = list(failing(connection))
    query = select(remap.c.id).where(remap.c.state == State.APPROVED, remap.c.revalidate_after < now)
    stale = connection.scalars(query.order_by(remap.c.id))
    known = set(first)
    return first + [int(number) for number in stale if number not in known]


def due(connection: Connection, policy: Policy, *, now: datetime, limit: int | None = None) -> list[Remap]:
    """The same remaps themselves, in that order, with all their flags; the first `limit` of them."""
    return _flagged_all(connection, policy, attention(connection, now=now)[:limit], now)


def all_due(connection: Connection, policy: Policy, *, now: datetime) -> Iterator[Remap]:
    """All of them as `due` gives them, read in parts: their ids alone are kept in memory."""
    for part in chunks(attention(connection, now=now)):
        yield from _flagged_all(connection, policy, part, now)


def _flagged_all(connection: Connection, policy: Policy, numbers: Sequence[int], now: datetime) -> list[Remap]:
    held = [with_holds(one, policy) for one in of_ids(connection, numbers)]
    by_id = {one.id: one for one in with_attention(connection, held, now=now)}
    return [by_id[number] for number in numbers if number in by_id]


def with_attention(connection: Connection, remaps: Iterable[Remap], *, now: datetime) -> list[Remap]:
    """The remaps with the flags `failing`, `ineffective`, `stale` and `redundant` where due, each with its reason."""
    given = list(remaps)
    approved = [one.id for one in given if one.state is State.APPROVED]
    fails = failing(connection, approved) if approved else {}
    routed = services(connection, approved)
    ineffective = {number: ineffective_reason(where) for number, where in routed.items()}
    coverable = [one for one in given if one.state in {State.PENDING, State.APPROVED}]
    covered: dict[int, int] = {}
    if coverable:
        from redirectd.review.proposals import covered_by_gateways

        covered = covered_by_gateways(connection, coverable)
    return [_flagged(one, fails.get(one.id), ineffective.get(one.id), covered.get(one.id), now) for one in given]


def report_attention(database: Database, *, now: datetime) -> int:
    """Writes an event for each approved remap that has come to fail, to be bypassed or to be due for review.

    Each is reported once for each approval, generation or review date. Gives how many were new. Raises StoreError.
    """
    with database.read() as connection:
        found = event_log.unreported(connection, _due_events(connection, now))
    if found:
        with database.begin() as connection:
            event_log.emit(connection, found)
    return len(found)


def _due_events(connection: Connection, now: datetime) -> list[NewEvent]:
    fails, past = failing(connection), in_service.ineffective(connection, MOST_REPORTED)
    late = select(remap.c.id).where(remap.c.state == State.APPROVED, remap.c.revalidate_after < now)
    numbers = {*fails, *(one.remap_id for one in past), *connection.scalars(late)}
    columns = [remap.c[name] for name in ("id", "state", "old_uri", "new_uri", "decided_at", "revalidate_after")]
    rows: dict[int, Any] = {}
    for part in chunks(sorted(numbers)):
        rows |= {row.id: row for row in connection.execute(select(*columns).where(remap.c.id.in_(part)))}

    def event(kind: EventKind, number: int, since: object, reason: str, node: str = "") -> NewEvent:
        row = rows[number]
        detail = {"old_uri": row.old_uri, "new_uri": row.new_uri, "reason": reason}
        key = f"{kind} {number} {node} {since}"
        return NewEvent(kind=kind, at=now, remap_id=number, node=node, key=key, detail=detail)

    approved = {number: row for number, row in rows.items() if row.state == State.APPROVED}
    return [
        *(
            event(EventKind.FAILING, number, approved[number].decided_at, one.reason)
            for number, one in fails.items()
            if number in approved
        ),
        *(
            event(EventKind.INEFFECTIVE, one.remap_id, one.since, ineffective_reason([one]) or "", one.node)
            for one in past
            if one.remap_id in approved
        ),
        *(
            event(EventKind.STALE, number, row.revalidate_after, f"its review date was {row.revalidate_after:%Y-%m-%d}")
            for number, row in approved.items()
            if row.revalidate_after is not None and row.revalidate_after < now
        ),
    ]


def _flagged(one: Remap, fails: Failing | None, past: str | None, gateway: int | None, now: datetime) -> Remap:
    flags = dict(one.flags)
    if fails is not None:
        flags[FAILING] = fails.reason
    if past is not None:
        flags[INEFFECTIVE] = past
    if one.state is State.APPROVED and one.revalidate_after is not None and one.revalidate_after < now:
        flags[STALE] = f"its review date was {one.revalidate_after:%Y-%m-%d} (R36)"
    if gateway is not None:
        flags[REDUNDANT] = (
            f"gateway remap {gateway} moves the whole host so: a dispatcher needs nothing for this user, "
            "a table of users still does"
        )
    return one if flags == one.flags else replace(one, flags=flags)


USUAL_REASONS = (
    "the lookup is missing from the server's own configuration ('redirectd snippet' prints it), the target's `match` "
    "is the wrong one (request-uri or incoming), or the log is of another node than the one that applies"
)
"""What it usually means that an old URI is still asked although its remap is in service."""


def ineffective_reason(services: Sequence[Service]) -> str | None:
    """Why a remap is flagged: how often its old URI was answered 301 since its installation; None for never."""
    calls = [
        f"its old URI was answered 301 {_times(one.calls)} on {one.node} since generation {one.generation} was "
        f"installed at {_time(one.since)}, last at {_time(one.last_seen)}"
        for one in services
        if one.calls and one.last_seen is not None
    ]
    return f"{'; '.join(calls)}: usually {USUAL_REASONS}" if calls else None


def effect(service: Service, wait_ms: float | None) -> str:
    """What became of the 301s of one remap on one node."""
    since = f"since {_time(service.since)} on {service.node} (generation {service.generation})"
    before = f"{service.calls_a_day:.3g} redirected calls a day before"
    if service.calls:
        return f"{since}: {before}, {service.calls} after"
    if not service.observed:
        return f"installed {since}: {before}; no traffic was read from a log since, so whether it works is not known"
    saved = "" if wait_ms is None else f"; callers no longer wait {wait_ms:.0f} ms for each"
    return f"{since}: {before}, none after{saved}"


def _time(when: datetime) -> str:
    return rfc3339(when, timespec="seconds")


def _times(calls: int) -> str:
    return "once" if calls == 1 else f"{calls} times"
