"""What a remap in service does in the field, in words: that it is gone past, or what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from redirectd.store.in_service import Service
from redirectd.times import rfc3339

USUAL_REASONS = (
    "the lookup is missing from the server's own configuration ('redirectd snippet' prints it), the target's `match` "
    "is the wrong one (request-uri or incoming), or the log is of another node than the one that applies"
)
"""What it usually means that an old URI is still asked although its remap is in service."""


def ineffective_reason(services: Sequence[Service]) -> str | None:
    """Why a remap is flagged: how often its old URI was answered 301 since its installation; None for never."""
    told = [
        f"its old URI was answered 301 {_times(one.calls)} on {one.node} since generation {one.generation} was "
        f"installed at {_time(one.since)}, last at {_time(one.last_seen)}"
        for one in services
        if one.calls and one.last_seen is not None
    ]
    return f"{'; '.join(told)}: usually {USUAL_REASONS}" if told else None


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
