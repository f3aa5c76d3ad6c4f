"""After an approval: targets that answer 404, 410 or 604, or have moved on (301), are shown as failing.

Only answers newer than the decision count, so that confirming a remap, or approving it again, begins anew.
A further 301 needs no counting of its own: the remap that it made says all of it. `redirectd.review.follower` looks
for the answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, exists, func, or_, select

from redirectd.collect.policy import Policy
from redirectd.dialects.frame import Authenticity
from redirectd.store import audit
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import followup, remap
from redirectd.store.statements import chunks
from redirectd.store.turns import take_turn
from redirectd.times import rfc3339

FOLLOWED = {404: "not found", 410: "gone", 604: "does not exist anywhere"}
"""Final answers that say that a URI is not an address (21.4.5, 21.4.11, 21.6.3); busy or unavailable says nothing."""

MOST_CALLS = 1_000
"""Calls that are counted of one target and answer. A number that is gone may be dialled for ever, and nobody decides
otherwise for it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How often, in distinct calls, and when a target gave one answer since the decision."""

    status: int
    calls: int
    first_seen: datetime
    last_seen: datetime

    def __str__(self) -> str:
        calls = "one call" if self.calls == 1 else f"{self.calls} calls"
        if self.status in FOLLOWED and self.calls >= MOST_CALLS:
            calls += " or more"
        return f"{self.status} in {calls}, last {rfc3339(self.last_seen, timespec='seconds')}"


@dataclass(frozen=True, slots=True)
class Failing:
    """A failing remap: its figures by status, and the remap that its target's own 301 made."""

    figures: tuple[Figure, ...]
    moved_on: int | None = None

    @property
    def reason(self) -> str:
        """The figures in words."""
        answers = f"its target has answered {'; '.join(map(str, self.figures))}"
        return answers + (f" (see remap {self.moved_on})" if self.moved_on else "")

    @property
    def dead_calls(self) -> int:
        """Calls that a suspension counts: those of 404, 410 and 604."""
        return sum(one.calls for one in self.figures if one.status in FOLLOWED)


def failing(connection: Connection, numbers: Iterable[int] | None = None) -> dict[int, Failing]:
    """The approved remaps that fail, by id; of `numbers` where given."""
    parts: Iterable[list[int] | None] = [None] if numbers is None else chunks(numbers)
    found: dict[int, Failing] = {}
    for part in parts:
        figures, moved = _dead(connection, part), _moved_on(connection, part)
        for number in figures.keys() | moved.keys():
            onward, figure = moved.get(number, (None, None))
            found[number] = Failing((*figures.get(number, ()), *([figure] if figure else ())), onward)
    return dict(sorted(found.items()))


def _dead(connection: Connection, numbers: Sequence[int] | None) -> dict[int, list[Figure]]:
    """The figures of 404, 410 and 604 since the decision in force."""
    query = select(followup).join(remap, remap.c.id == followup.c.remap_id)
    query = query.where(
        func.coalesce(remap.c.state, "") == State.APPROVED,  # from the few answers to their remaps, see `_asked_on`
        or_(remap.c.decided_at.is_(None), followup.c.first_seen > remap.c.decided_at),
        *(() if numbers is None else (remap.c.id.in_(numbers),)),
    )
    figures: dict[int, list[Figure]] = defaultdict(list)
    for row in connection.execute(query.order_by(followup.c.remap_id, followup.c.status)):
        figures[row.remap_id].append(Figure(row.status, row.calls, row.first_seen, row.last_seen))
    return figures


def _moved_on(connection: Connection, numbers: Sequence[int] | None) -> dict[int, tuple[int, Figure]]:
    """Approved remaps whose target has answered 301 since, and nobody has approved that move."""
    onward, settled = remap.alias("onward"), remap.alias("settled")
    columns = (remap.c.id, onward.c.id.label("by"), onward.c.calls, onward.c.first_seen, onward.c.last_seen)
    query = select(*columns).join(onward, onward.c.old_hash == remap.c.new_hash)
    query = query.where(
        remap.c.state == State.APPROVED,
        remap.c.kind.in_(["user", "gateway"]),
        onward.c.state.in_([State.PENDING, State.REJECTED]),
        onward.c.authenticity >= Authenticity.FRAMED.value,  # R39
        or_(remap.c.decided_at.is_(None), onward.c.last_seen > remap.c.decided_at),
        ~exists().where(settled.c.old_hash == onward.c.old_hash, settled.c.state == State.APPROVED),
        onward.c.old_hash.in_(_asked_on()) if numbers is None else remap.c.id.in_(numbers),
    )
    rows = connection.execute(query.order_by(onward.c.id))
    return {row.id: (row.by, Figure(301, row.calls, row.first_seen, row.last_seen)) for row in rows}


def _asked_on() -> Select[tuple[str]]:
    """The hashes of undecided old URIs that are an approved one's target: by two indexes alone, without the rows.

    Hidden in a function, the state leads no database to the index by state, which has no hash in it.
    """
    undecided, leading = remap.alias("undecided"), remap.alias("leading")
    return select(undecided.c.old_hash).where(
        func.coalesce(undecided.c.state, "").in_([State.PENDING, State.REJECTED]),
        exists().where(leading.c.new_hash == undecided.c.old_hash, leading.c.state == State.APPROVED),
    )


def may_fail() -> ColumnElement[bool]:
    """What the database can say of it quickly: every failing remap passes, and few others do."""
    onward = remap.alias("onward")
    asked = select(onward.c.old_hash).where(onward.c.state.in_([State.PENDING, State.REJECTED]))
    return or_(remap.c.id.in_(select(followup.c.remap_id)), remap.c.new_hash.in_(asked))


def to_suspend(connection: Connection, policy: Policy, numbers: Iterable[int] | None = None) -> dict[int, Failing]:
    """The remaps, of `numbers` where given, that failed in as many calls as `suspend_failing_after` says, if it is set.

    A 301 alone never suspends: the old target may still answer.
    """
    after = policy.suspend_failing_after
    if after is None:
        return {}
    return {number: one for number, one in failing(connection, numbers).items() if one.dead_calls >= after}


def suspend_failing(database: Database, policy: Policy, *, now: datetime) -> list[int]:
    """Revokes, audited, what `to_suspend` gives; call it before an apply. Gives their ids."""
    with database.read() as connection:
        found = to_suspend(connection, policy)
    if not found:
        return []
    from redirectd.review.auto import ACTOR
    from redirectd.review.decide import revoke
    from redirectd.review.decision import Decision

    done = []
    for number in found:
        with database.begin() as connection:
            take_turn(connection, audit.TURN)
            # Once more: another node, or a person who keeps it, may have been quicker.
            one = to_suspend(connection, policy, [number]).get(number)
            if one is not None:
                reason = f"policy.suspend_failing_after = {policy.suspend_failing_after}: {one.reason}"
                revoke(connection, number, Decision(actor=ACTOR, at=now, reason=reason))
                done.append(number)
    return done
