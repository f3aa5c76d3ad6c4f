"""Applies that somebody asked a node for from afar, and the plans that nodes publish for that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select, update

from redirectd.store.schema import apply_request, setting
from redirectd.store.settings import put_setting

_PLAN = "published plan"
PUBLISHED_EVERY = 30
"""Seconds between two publications of a node's plan."""


class RequestState(StrEnum):
    """How far a request has come."""

    WAITING = "waiting"
    """The node has not looked at it yet."""
    RUNNING = "running"
    """The node is at it."""
    DONE = "done"
    """The node has applied; a target may still wait for its server."""
    REFUSED = "refused"
    """The node does nothing for it: who asked, the plan, a limit, a hold or a pause forbids it."""
    FAILED = "failed"
    """The apply failed, or was rolled back."""
    EXPIRED = "expired"
    """The node did not look at it in time."""


@dataclass(frozen=True, slots=True)
class RequestedApply:
    """A request to a node: to apply the plan or the unit with this checksum, as `account`, until `expires_at`.

    `answer` is what the node says of it: `why`, `what_to_do`, `generation`, `targets`, as far as it has them.
    """

    id: int
    node: str
    checksum: str
    account: str
    via: Mapping[str, str]
    state: RequestState
    requested_at: datetime
    expires_at: datetime
    answered_at: datetime | None
    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PublishedPlan:
    """What a node's next apply would change, as it worked out at `at`; `why` it could not, where `plan` is None.

    `appliers` are the accounts whose requests the node takes; `*` for all.
    """

    node: str
    at: datetime
    plan: Mapping[str, Any] | None
    why: str
    appliers: tuple[str, ...]


def add_request(
    connection: Connection,
    node: str,
    checksum: str,
    account: str,
    via: Mapping[str, str],
    *,
    now: datetime,
    expires_at: datetime,
) -> int:
    """Asks a node; gives the request's id."""
    made = connection.execute(
        apply_request.insert().values(
            node=node,
            checksum=checksum,
            account=account,
            via=json.dumps(dict(via)),
            state=RequestState.WAITING.value,
            requested_at=now,
            expires_at=expires_at,
            answer="{}",
        )
    ).inserted_primary_key
    assert made is not None, "a table with a key"
    return int(made[0])


def requests(connection: Connection, *, node: str | None = None, limit: int = 50) -> list[RequestedApply]:
    """The latest requests, of one node or all; newest first."""
    query = select(apply_request).order_by(apply_request.c.id.desc()).limit(limit)
    if node is not None:
        query = query.where(apply_request.c.node == node)
    return [_requested(row) for row in connection.execute(query)]


def request_of(connection: Connection, number: int) -> RequestedApply | None:
    """A request by id."""
    row = connection.execute(select(apply_request).where(apply_request.c.id == number)).one_or_none()
    return None if row is None else _requested(row)


def unanswered(connection: Connection, node: str) -> list[RequestedApply]:
    """A node's requests that wait, or that it was at when it ended; oldest first."""
    states = (RequestState.WAITING.value, RequestState.RUNNING.value)
    of_node = (apply_request.c.node == node) & apply_request.c.state.in_(states)
    found = connection.execute(select(apply_request).where(of_node).order_by(apply_request.c.id))
    # MariaDB compares without case: another spelling is another node.
    return [_requested(row) for row in found if row.node == node]


def answer_request(
    connection: Connection, number: int, state: RequestState, answer: Mapping[str, object], *, now: datetime
) -> bool:
    """Writes how far a request has come; gives False where that was written already."""
    before = RequestState.WAITING if state is RequestState.RUNNING else None
    open_states = [RequestState.WAITING.value, *([] if before else [RequestState.RUNNING.value])]
    is_open = (apply_request.c.id == number) & apply_request.c.state.in_(open_states)
    values = {"state": state.value, "answered_at": now, "answer": json.dumps(dict(answer))}
    return connection.execute(update(apply_request).where(is_open).values(**values)).rowcount > 0


def publish_plan(connection: Connection, published: PublishedPlan) -> None:
    """Stores a node's plan in place of the one before."""
    kept = {
        "at": published.at.isoformat(),
        "plan": published.plan,
        "why": published.why,
        "appliers": list(published.appliers),
    }
    put_setting(connection, published.node, _PLAN, json.dumps(kept))


def published_plans(connection: Connection) -> list[PublishedPlan]:
    """The plans of all nodes that publish theirs, by node."""
    rows = connection.execute(select(setting.c.node, setting.c.value).where(setting.c.name == _PLAN))
    return sorted((_published(row.node, json.loads(row.value)) for row in rows), key=lambda one: one.node)


def _published(node: str, kept: Mapping[str, Any]) -> PublishedPlan:
    at = datetime.fromisoformat(kept["at"])
    return PublishedPlan(node, at, kept["plan"], kept["why"], tuple(kept["appliers"]))


def _requested(row: Any) -> RequestedApply:  # noqa: ANN401 - a row
    return RequestedApply(
        row.id,
        row.node,
        row.checksum,
        row.account,
        json.loads(row.via),
        RequestState(row.state),
        row.requested_at,
        row.expires_at,
        row.answered_at,
        json.loads(row.answer),
    )
