"""Adding sightings to remaps that are there: a few statements for a whole batch, however many remaps it tells of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, literal_column, update

from redirectd.collect.answer import WHOLE
from redirectd.collect.verdict import Learnt
from redirectd.store import audit, remaps
from redirectd.store.bulk import run_many
from redirectd.store.known import Known
from redirectd.store.remap import State
from redirectd.store.schema import remap
from redirectd.store.states import move_all, reopening
from redirectd.store.turns import take_turn

ACTOR = "redirectd"
"""Who the audit names for what no person decided."""

_PUT_BACK = (State.SUPERSEDED, State.EXPIRED)

_FIRST, _LAST = bindparam("first", type_=remap.c.first_seen.type), bindparam("last", type_=remap.c.last_seen.type)
_SEEN = (
    update(remap)
    .where(remap.c.id == bindparam("of"))
    .values(
        calls=remap.c.calls + bindparam("more"),
        first_seen=case((remap.c.first_seen > _FIRST, _FIRST), else_=remap.c.first_seen),
        last_seen=case((remap.c.last_seen < _LAST, _LAST), else_=remap.c.last_seen),
    )
)
_RENEWED = (
    update(remap)
    .where(
        remap.c.id == bindparam("of"),
        remap.c.state == literal_column(f"'{State.PENDING}'"),
        remap.c.last_seen <= bindparam("at", type_=remap.c.last_seen.type),
    )
    .values(flags=bindparam("holds"), expires_at=bindparam("until", type_=remap.c.expires_at.type))
)
_RENEWED_WITH_FACTS = _RENEWED.values(facts=bindparam("shown"))


@dataclass(frozen=True, slots=True)
class Tellings:
    """What a batch tells of a remap that is there: its answers, and the first and last time of them."""

    known: Known
    ones: Sequence[Learnt]
    first: datetime
    last: datetime

    @property
    def newest_whole(self) -> Learnt | None:
        """The newest answer that was told completely."""
        whole = [one for one in self.ones if one.answer.rank == WHOLE]
        if len(whole) == 1:
            return whole[0]
        return max(whole, key=lambda one: one.answer.seen_at or self.last) if whole else None


def see_again(connection: Connection, told: Sequence[Tellings], now: datetime) -> None:
    """Adds to remaps that were known before: calls, state, holds, lifetime, and the times they were seen at."""
    _put_back(connection, {one.known.number: one.last for one in told if one.known.state in _PUT_BACK}, now)
    _renew(connection, told, now)
    rows = [{"of": one.known.number, "more": len(one.ones), "first": one.first, "last": one.last} for one in told]
    run_many(connection, _SEEN, rows)


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
            "of": one.known.number,
            "at": newest.answer.seen_at or now,
            "holds": as_json(newest.flags),
            "until": newest.deadline(now),
        }
        is_new = (row["holds"], row["until"]) != (one.known.flags, one.known.expires_at)
        if newest.facts and (is_new or as_json(newest.facts) != one.known.facts):
            with_facts.append(row | {"shown": as_json(newest.facts)})
        elif is_new:
            without.append(row)
    run_many(connection, _RENEWED, without)
    run_many(connection, _RENEWED_WITH_FACTS, with_facts)


def as_json(texts: Mapping[str, str]) -> str:
    """Flags or facts as they are stored."""
    return json.dumps(dict(texts)) if texts else "{}"


def _put_back(connection: Connection, last_seen: dict[int, datetime], now: datetime) -> None:
    """Remaps that were superseded or have expired wait for review again when they are told anew (R18, R30)."""
    if not last_seen:
        return
    take_turn(connection, audit.TURN)
    found = remaps.of_ids(connection, sorted(last_seen))
    moves = [
        reopening(one, "it was seen again")
        for one in found
        if one.state in _PUT_BACK and one.decided_at is not None and one.decided_at < last_seen[one.id]
    ]
    if moves:
        move_all(connection, moves, at=now, actor=ACTOR)
