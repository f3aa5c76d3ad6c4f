"""What is wrong by the status document, how bad it is and what to do: for people, scripts and monitoring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple

from redirectd.cli.output import exact_time
from redirectd.sip.text import printable
from redirectd.store.budget import OVER_BUDGET

Document = Mapping[str, Any]

_SHOWN_FOR = timedelta(days=1)


class Health(IntEnum):
    """The exit codes of monitoring plugins; what is OK can still be worth a look."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Problem(NamedTuple):
    """One thing that is not as it should be."""

    health: Health
    text: str
    what_to_do: str = ""


def problems(document: Document) -> list[Problem]:
    """All there are, the worst first."""
    found = [
        *_of_service(document),
        *_of_sources(document),
        *_of_formats(document),
        *_of_database(document),
        *_of_routing(document),
        *_of_notifications(document),
    ]
    return sorted([*found, *_of_remaps(document)], key=lambda one: -one.health)


def verdict(document: Document) -> tuple[Health, str]:
    """The health of the whole and a line that says why, for monitoring; no service is critical."""
    found = [one for one in problems(document) if one.health]
    if not document["daemon"]["running"]:
        found.insert(0, Problem(Health.CRITICAL, "the service is not running on this host"))
    if found:
        more = f" (and {len(found) - 1} more: redirectd status)" if len(found) > 1 else ""
        return found[0].health, f"{found[0].text}{more}"
    pending = (document["remaps"] or {}).get("pending", 0)
    return Health.OK, f"service running, {len(document['sources'])} sources, {pending:,} pending"


def _of_service(document: Document) -> Iterator[Problem]:
    daemon = document["daemon"]
    for one in document["configuration_faults"]:
        yield Problem(
            Health.WARNING, f"configuration file: {_safe(one['where'])}: {_safe(one['why'])}", _safe(one["what_to_do"])
        )
    if daemon.get("configuration_error"):
        yield Problem(
            Health.WARNING,
            f"a newer configuration was refused: {_safe(daemon['configuration_error'])}",
            "fix it, then 'systemctl reload redirectd'",
        )
    for name in daemon.get("silent", ()):
        yield Problem(Health.CRITICAL, f"no progress: {_safe(name)}", "see the service's log")
    if daemon.get("listening") is False:
        yield Problem(Health.WARNING, "decisions made on other nodes are not heard now; the schedule applies them")
    for job in document["jobs"]:
        if job["last_error"]:
            yield Problem(Health.WARNING, f"job {job['name']} failed: {_safe(job['last_error'])}")


def _of_sources(document: Document) -> Iterator[Problem]:
    for one in document["sources"]:
        if one["error"]:
            level = Health.WARNING if one["state"] in {"starting", "reading"} else Health.CRITICAL
            yield Problem(
                level, f"source {_safe(one['name'])} is {one['state']}: {_safe(one['error'])}", one["what_to_do"] or ""
            )


def _of_formats(document: Document) -> Iterator[Problem]:
    """R38: a source that is read as one family while another's entries come."""
    for one in document["sources"]:
        if other := one.get("other_family"):
            yield Problem(
                Health.WARNING,
                f"source {_safe(one['name'])} is read as {_safe(one['family'] or 'configured')}, and its log now holds "
                f"entries of {_safe(other)}, which are not read",
                f'if that program writes it now: dialect = "{_safe(other)}" in its [[source]]',
            )


def _of_database(document: Document) -> Iterator[Problem]:
    database = document["database"]
    if not database["ok"]:
        what_to_do = _safe(database["what_to_do"])
        yield Problem(Health.CRITICAL, f"database {_safe(database['url'])}: {_safe(database['error'])}", what_to_do)


def _of_routing(document: Document) -> Iterator[Problem]:
    for one in document.get("waiting", ()):
        again = f", next try {exact_time(one['next_try'])}" if one["next_try"] else ""
        yield Problem(
            Health.WARNING,
            f"installed, not reloaded: {_safe(one['target'])} on {_safe(one['node'])}, generation {one['generation']}, "
            f"{one['attempts']} tries{again}: {_safe(one['error'] or 'an apply was killed or is at work')}",
            "see that its server runs; 'redirectd apply' tries now",
        )
    for node in document["nodes"]:
        if "apply_hold" in node["settings"]:
            yield Problem(
                Health.WARNING,
                f"applies are held on {_safe(node['node'])} by a rollback",
                "revoke what was wrong, then 'redirectd apply --resume' there",
            )
        if node["outcome"] == "rolled-back":
            text = f"generation {node['generation']} on {_safe(node['node'])} was rolled back"
            yield Problem(Health.WARNING, text, f"redirectd history {node['generation']}")


def _of_notifications(document: Document) -> Iterator[Problem]:
    for one in document.get("undelivered", ()):
        again = f", next try {exact_time(one['next_try'])}" if one["next_try"] else ""
        yield Problem(
            Health.WARNING,
            f"notify {one['name']}: not delivered, {one['attempts']} tries{again}: {_safe(one['error'])}",
            f"see that its receiver works: redirectd notify test {one['name']}",
        )


def _of_remaps(document: Document) -> Iterator[Problem]:
    failing, ineffective = document.get("failing"), document.get("ineffective")
    if failing and failing["remaps"]:
        text = f"approved, and the target fails: {failing['remaps']} remaps ({_worst(failing)})"
        yield Problem(Health.WARNING, text, "'redirectd show ID' says why; decide on them with 'redirectd review'")
    if ineffective and ineffective["remaps"]:
        from redirectd.review.attention import USUAL_REASONS

        text = (
            f"installed, old URI still answered 301 ({ineffective['calls']:,} since): {ineffective['remaps']} remaps "
            f"({_worst(ineffective)}); usually {USUAL_REASONS}"
        )
        yield Problem(Health.WARNING, text)
    if document["stale"]:
        text = f"past their review date: {document['stale']}"
        yield Problem(Health.OK, text, "decide on them with 'redirectd review'")
    if document["quarantine"]:
        text = f"{document['quarantine']:,} unreadable 301s in quarantine"
        yield Problem(Health.OK, text, "retry after an upgrade: redirectd ingest --quarantine")
    yield from _of_budgets(document)
    lost = sum(one["count"] for one in document["losses"] if one.get("kind") != OVER_BUDGET)
    if lost:
        yield Problem(Health.OK, f"{lost:,} losses in the logs", "redirectd status --losses")


def _of_budgets(document: Document) -> Iterator[Problem]:
    """R46: what a day has brought over the budgets of new remaps."""
    since = datetime.now(UTC) - _SHOWN_FOR
    for one in document["losses"]:
        if one.get("kind") == OVER_BUDGET and datetime.fromisoformat(one["last_at"]) >= since:
            yield Problem(
                Health.WARNING,
                f"source {_safe(one['source'])} on {_safe(one['node'])}: {one['count']:,} 301s over an hour's budget "
                f"of new remaps, counted only (R46), last {exact_time(one['last_at'])}",
                "see who sends them ('redirectd pending'); if they are right, raise policy.new_remaps_per_peer or "
                "policy.new_remaps_per_incoming_uri",
            )


def _worst(found: Document) -> str:
    numbers: list[int] = found["worst"]
    return ", ".join(map(str, numbers)) + (", ..." if found["remaps"] > len(numbers) else "")


def _safe(text: object) -> str:
    return printable(str(text), 500)
