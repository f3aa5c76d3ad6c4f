"""Asking nodes for an apply: what they would change, as they publish it, and what became of what was asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection
from typing_extensions import TypedDict

from redirectd.console.access import DeniedError, Visitor
from redirectd.console.desk import Desk
from redirectd.errors import RefusedError, UsageError
from redirectd.sip.text import printable
from redirectd.store import audit
from redirectd.store.apply_requests import (
    PublishedPlan,
    RequestedApply,
    RequestState,
    add_request,
    published_plans,
    request_of,
    requests,
    unanswered,
)
from redirectd.store.audit import AuditEntry
from redirectd.store.turns import take_turn
from redirectd.times import rfc3339

VALID_FOR = timedelta(minutes=10)
"""How long a node may take to look at a request."""

STALE_AFTER = timedelta(minutes=10)
"""A plan that is older is no longer one to ask for: its node's service does not run, or can't reach the database."""


class PlanJson(TypedDict):
    """A node's plan as `plan --json`, null where it could not be worked out; as of `at`."""

    node: str
    at: str
    age_seconds: int
    is_stale: bool
    takes_requests: bool
    why: str
    plan: dict[str, Any] | None


class RequestJson(TypedDict):
    """A request to a node, and its answer: `why` and `what_to_do` where it was refused, `generation`, `targets`."""

    id: int
    node: str
    checksum: str
    account: str
    state: str
    requested_at: str
    expires_at: str
    answered_at: str | None
    answer: dict[str, Any]


def plans_of(desk: Desk, visitor: Visitor) -> list[PlanJson]:
    """What each node's next apply would change; `takes_requests`: of this visitor."""
    with desk.database.read() as connection:
        return [_plan_json(desk, visitor, one) for one in published_plans(connection)]


def requested_applies(desk: Desk, limit: int = 50) -> list[RequestJson]:
    """The latest requests, newest first."""
    with desk.database.read() as connection:
        return [request_json(one) for one in requests(connection, limit=limit)]


def requested_apply(desk: Desk, number: int) -> RequestJson:
    """A request. Raises DeniedError (404) where there is none of this id."""
    with desk.database.read() as connection:
        found = request_of(connection, number) if 0 < number < 2**63 else None
    if found is None:
        raise DeniedError(404, f"there is no request {number}", "list them: GET /api/v1/apply-requests")
    return request_json(found)


def ask_for_apply(desk: Desk, visitor: Visitor, node: str, checksum: str) -> RequestJson:
    """Asks a node to apply the plan or unit with this checksum, audited; a request that waits already is given again.

    Raises RefusedError where the node's plan is another one, too old, or it takes no request of the visitor.
    """

    def work(connection: Connection) -> RequestedApply:
        take_turn(connection, audit.TURN)
        published = next((one for one in published_plans(connection) if one.node == node), None)
        _check(desk, visitor, node, checksum, published)
        now = desk.clock()
        for one in unanswered(connection, node):
            is_same = (one.checksum, one.account, one.state) == (checksum, visitor.account, RequestState.WAITING)
            if is_same and one.expires_at > now:
                return one
        number = add_request(
            connection, node, checksum, visitor.account, visitor.via, now=now, expires_at=now + VALID_FOR
        )
        detail = {"request": number, "node": node, "checksum": checksum, "via": visitor.via}
        audit.append(connection, AuditEntry(at=now, actor=visitor.account, action="request-apply", detail=detail))
        made = request_of(connection, number)
        assert made is not None, "made in this transaction"
        return made

    return request_json(desk.database.run(work))


def _check(desk: Desk, visitor: Visitor, node: str, checksum: str, published: PublishedPlan | None) -> None:
    where = f"node {printable(node, 64)}"
    if published is None:
        what_to_do = "set [schedule] apply_requests there, and look whether its service runs"
        raise UsageError(where, "it publishes no plan", what_to_do)
    if not _takes(published, visitor):
        why = f"it takes no requests of {printable(visitor.account, 100)}"
        raise RefusedError(
            where, why, "ask somebody whose it takes, or add the account to [schedule] apply_requests there"
        )
    if desk.clock() - published.at > STALE_AFTER:
        raise RefusedError(where, f"its plan is of {rfc3339(published.at)}", "look whether its service runs: status")
    if checksum not in _checksums(published):
        raise RefusedError(where, "the plan has changed", "look at it again, then ask for that")


def _takes(published: PublishedPlan, visitor: Visitor) -> bool:
    return "*" in published.appliers or visitor.account in published.appliers


def _checksums(published: PublishedPlan) -> set[str]:
    plan = published.plan or {}
    return {str(plan.get("checksum", "")), *(str(unit["checksum"]) for unit in plan.get("units", ()))} - {""}


def _plan_json(desk: Desk, visitor: Visitor, one: PublishedPlan) -> PlanJson:
    age = desk.clock() - one.at
    return {
        "node": one.node,
        "at": rfc3339(one.at),
        "age_seconds": max(0, int(age.total_seconds())),
        "is_stale": age > STALE_AFTER,
        "takes_requests": _takes(one, visitor),
        "why": one.why,
        "plan": None if one.plan is None else dict(one.plan),
    }


def request_json(one: RequestedApply) -> RequestJson:
    """A request as the API gives it."""
    return {
        "id": one.id,
        "node": printable(one.node),
        "checksum": printable(one.checksum),
        "account": printable(one.account),
        "state": one.state.value,
        "requested_at": rfc3339(one.requested_at),
        "expires_at": rfc3339(one.expires_at),
        "answered_at": rfc3339(one.answered_at) if one.answered_at else None,
        "answer": dict(one.answer),
    }
