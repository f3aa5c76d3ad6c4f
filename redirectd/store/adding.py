"""Adding sightings to remaps that are there: a few statements for a whole batch, however many remaps it tells of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, select, update

from redirectd.collect.answer import WHOLE
from redirectd.collect.verdict import Learnt
from redirectd.store import audit
from redirectd.store.remap import State
from redirectd.store.remaps import leading_to
from redirectd.store.schema import remap
from redirectd.store.upsert import chunks

ACTOR = "redirectd"
"""Who the audit names for what no person decided."""


@dataclass(frozen=True, slots=True)
class Tellings:
    """What a batch tells of the remap `number`: its answers, and the first and last time of them."""

    number: int
    ones: Sequence[Learnt]
    first: datetime
    last: datetime

    @property
    def newest_whole(self) -> Learnt | None:
        """The newest answer that was told completely."""
        whole = [one for one in self.ones if one.answer.rank == WHOLE]
        return max(whole, key=lambda one: one.answer.seen_at or self.last) if whole else None


def count_calls(connection: Connection, told: Iterable[Tellings]) -> None:
    """Adds the calls to the remaps' counters."""
    more = update(remap).where(remap.c.id == bindparam("of")).values(calls=remap.c.calls + bindparam("more"))
    _each(connection, more, [{"of": one.number, "more": len(one.ones)} for one in told])


def see_again(connection: Connection, told: Sequence[Tellings], now: datetime) -> None:
    """Renews the remaps that were known before: state, holds, lifetime, and the times they were seen at."""
    _put_back(connection, {one.number: one.last for one in told}, now)
    _renew(connection, told, now)
    columns = remap.c
    first = bindparam("first", type_=columns.first_seen.type)
    last = bindparam("last", type_=columns.last_seen.type)
    seen = (
        update(remap)
        .where(columns.id == bindparam("of"))
        .values(
            first_seen=case((columns.first_seen > first, first), else_=columns.first_seen),
            last_seen=case((columns.last_seen < last, last), else_=columns.last_seen),
        )
    )
    _each(connection, seen, [{"of": one.number, "first": one.first, "last": one.last} for one in told])


def _renew(connection: Connection, told: Iterable[Tellings], now: datetime) -> None:
    """Takes the newest whole answer's holds and lifetime over, as long as nobody has decided.

    What is approved keeps what it was approved with: no answer shortens or lengthens it.
    """
    with_facts: list[dict[str, Any]] = []
    without: list[dict[str, Any]] = []
    for one in told:
        newest = one.newest_whole
        if newest is None:
            continue
        row = {
            "of": one.number,
            "at": newest.answer.seen_at or now,
            "holds": json.dumps(dict(newest.flags)),
            "until": newest.deadline(now),
        }
        if newest.facts:
            with_facts.append(row | {"shown": json.dumps(dict(newest.facts))})
        else:
            without.append(row)
    columns = remap.c
    pending = update(remap).where(
        columns.id == bindparam("of"),
        columns.state == State.PENDING,
        columns.last_seen <= bindparam("at", type_=columns.last_seen.type),
    )
    until = bindparam("until", type_=columns.expires_at.type)
    renewed = pending.values(flags=bindparam("holds"), expires_at=until)
    _each(connection, renewed, without)
    _each(connection, renewed.values(facts=bindparam("shown")), with_facts)


def _put_back(connection: Connection, last_seen: dict[int, datetime], now: datetime) -> None:
    """Remaps that were superseded or have expired wait for review again when they are told anew (R18, R30)."""
    again = [State.SUPERSEDED, State.EXPIRED]
    for part in chunks(last_seen):
        query = select(remap).where(remap.c.id.in_(part), remap.c.state.in_(again)).order_by(remap.c.id)
        for row in connection.execute(query).all():
            if row.decided_at is not None and row.decided_at < last_seen[row.id]:
                _reopen(connection, row, now)


def _reopen(connection: Connection, row: Any, now: datetime) -> None:  # noqa: ANN401 - a row of `remap`
    choice = None if "ambiguous" in json.loads(row.flags) else row.new_uri
    values = {"state": State.PENDING, "replaces": None, "decided_at": now, "decided_by": ACTOR}
    values |= leading_to(row.kind, choice)
    connection.execute(update(remap).where(remap.c.id == row.id).values(**values))
    entry = audit.Entry(
        at=now,
        actor=ACTOR,
        action="reopen",
        remap_id=row.id,
        old_state=row.state,
        new_state=State.PENDING,
        reason="it was seen again",
        detail={"old_uri": row.old_uri, "new_uri": row.new_uri},
    )
    audit.append(connection, entry)


def _each(connection: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:  # noqa: ANN401 - an UPDATE
    if rows:
        connection.execute(statement, rows)
