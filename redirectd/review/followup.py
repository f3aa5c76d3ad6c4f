"""After an approval: targets that answer 404, 410 or 604, or have moved on (301), are shown as failing.

Only answers newer than the decision count, so that confirming a remap, or approving it again, begins anew.
A further 301 needs no counting of its own: the remap that it made says all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from redirectd.collect.verdict import digest
from redirectd.config.policy import Policy
from redirectd.plan.table import matching_key
from redirectd.review.chain import sip
from redirectd.sip.routekey import route_key
from redirectd.sip.uri import SipUri, UriError, parse_uri
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import audit, followup, remap
from redirectd.store.upsert import chunks

FOLLOWED = {404: "not found", 410: "gone", 604: "does not exist anywhere"}
"""Final answers that say that a URI is no address (21.4.5, 21.4.11, 21.6.3); busy or unavailable says nothing."""

MOST_MOVED_ON = 500
"""Remaps whose target has moved on that are told of at once: databases bound the number of parameters."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How often, in distinct calls, and when a target gave one answer since the decision."""

    status: int
    calls: int
    first_seen: datetime
    last_seen: datetime

    def __str__(self) -> str:
        calls = "one call" if self.calls == 1 else f"{self.calls} calls"
        return f"{self.status} in {calls}, last {self.last_seen:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Failing:
    """A failing remap: its figures by status, and the remap that its target's own 301 made."""

    figures: tuple[Figure, ...]
    moved_on: int | None = None

    @property
    def reason(self) -> str:
        """The figures in words."""
        told = f"its target has answered {'; '.join(map(str, self.figures))}"
        return told + (f" (see remap {self.moved_on})" if self.moved_on else "")

    @property
    def dead_calls(self) -> int:
        """Calls that a suspension counts: those of 404, 410 and 604."""
        return sum(one.calls for one in self.figures if one.status in FOLLOWED)


@dataclass(frozen=True, slots=True)
class Followed:
    """One final answer to an INVITE whose Request-URI has the route key `target`."""

    target: str
    status: int
    seen_at: datetime


@dataclass(slots=True)
class Watch:
    """The targets of approved user remaps, by route key: what a reader must know to take 404s and pass over all others.

    `refresh` costs one small query where nothing was decided since, and all approved rows where something was.
    """

    targets: Mapping[str, Sequence[tuple[int, datetime | None]]] = field(default_factory=dict)
    _known: tuple[int, str] | None = None
    _keys: dict[str, str] = field(default_factory=dict)

    def refresh(self, connection: Connection) -> None:
        """Reads anew what is approved, where there are new decisions."""
        newest = connection.execute(select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)).one_or_none()
        known = None if newest is None else (int(newest.id), str(newest.hash))
        if known == self._known:
            return
        query = select(remap.c.id, remap.c.new_uri, remap.c.decided_at).where(
            remap.c.state == State.APPROVED, remap.c.kind == "user", remap.c.new_uri.is_not(None)
        )
        keys: dict[str, str] = {}
        targets: dict[str, list[tuple[int, datetime | None]]] = defaultdict(list)
        for row in connection.execute(query):
            key = self._keys.get(row.new_uri) or str(route_key(sip(row.new_uri)))
            keys[row.new_uri] = key
            targets[key].append((row.id, row.decided_at))
        self.targets, self._keys, self._known = dict(targets), keys, known

    def followed(self, status: int, method: str, request_uri: str, seen_at: datetime) -> Followed | None:
        """What an answer says of an approved target; None for all others, and those are nearly all."""
        if status not in FOLLOWED or method != "INVITE" or not self.targets:
            return None
        try:
            uri = parse_uri(request_uri)
        except UriError:
            return None
        if not isinstance(uri, SipUri) or (key := str(route_key(uri))) not in self.targets:
            return None
        return Followed(key, status, seen_at)

    def record(self, connection: Connection, answers: Iterable[Followed]) -> None:
        """Counts answers in the caller's transaction, which also holds the position: none is counted twice."""
        counted: dict[tuple[int, int], list[datetime]] = defaultdict(list)
        since: dict[int, datetime] = {}
        for one in answers:
            for number, decided_at in self.targets.get(one.target, ()):
                if decided_at is None or one.seen_at > decided_at:
                    counted[number, one.status].append(one.seen_at)
                    since[number] = decided_at or one.seen_at
        for (number, status), times in sorted(counted.items()):
            _count(connection, number, status, times, since[number])


def _count(connection: Connection, number: int, status: int, times: Sequence[datetime], since: datetime) -> None:
    place = (followup.c.remap_id == number) & (followup.c.status == status)
    # What was told before the decision that stands now belongs to an earlier one.
    connection.execute(delete(followup).where(place, followup.c.first_seen < since))
    changed = connection.execute(
        update(followup)
        .where(place)
        .values(
            calls=followup.c.calls + len(times),
            last_seen=max(times),
        )
    )
    if changed.rowcount == 0:
        row = {"remap_id": number, "status": status, "calls": len(times)}
        connection.execute(insert(followup).values(**row, first_seen=min(times), last_seen=max(times)))


def failing(connection: Connection, numbers: Sequence[int] | None = None) -> dict[int, Failing]:
    """The approved remaps that fail, by id; of `numbers` where given."""
    figures: dict[int, list[Figure]] = defaultdict(list)
    query = (
        select(followup, remap.c.decided_at)
        .join(remap, remap.c.id == followup.c.remap_id)
        .where(remap.c.state == State.APPROVED)
        .order_by(followup.c.remap_id, followup.c.status)
    )
    for row in connection.execute(query):
        if (numbers is None or row.remap_id in numbers) and (row.decided_at is None or row.first_seen > row.decided_at):
            figures[row.remap_id].append(Figure(row.status, row.calls, row.first_seen, row.last_seen))
    moved = _moved_on(connection, numbers)
    return {
        number: Failing(
            tuple(figures.get(number, [])) + ((moved[number][1],) if number in moved else ()),
            moved[number][0] if number in moved else None,
        )
        for number in sorted(figures.keys() | moved.keys())
    }


def _moved_on(connection: Connection, numbers: Sequence[int] | None) -> dict[int, tuple[int, Figure]]:
    """Approved remaps whose target has answered 301 since, and nobody has approved that move."""
    if numbers is None:
        numbers = _met_again(connection)
    query = select(remap.c.id, remap.c.kind, remap.c.new_uri, remap.c.decided_at).where(
        remap.c.state == State.APPROVED, remap.c.new_uri.is_not(None), remap.c.kind.in_(["user", "gateway"])
    )
    query = query.where(remap.c.id.in_(numbers))
    approved: dict[str, list[tuple[int, datetime | None]]] = defaultdict(list)
    for row in connection.execute(query):
        key = str(matching_key(row.kind, sip(row.new_uri)))
        approved[digest(row.kind, key)].append((row.id, row.decided_at))
    found: dict[int, tuple[int, Figure]] = {}
    for part in chunks(approved):
        rows = connection.execute(select(remap).where(remap.c.old_hash.in_(part)).order_by(remap.c.id))
        onward = list(rows)
        settled = {row.old_hash for row in onward if row.state == State.APPROVED}
        for row in onward:
            if row.old_hash in settled or row.state not in {State.PENDING, State.REJECTED}:
                continue
            for number, decided_at in approved[row.old_hash]:
                if decided_at is None or row.last_seen > decided_at:
                    found[number] = (row.id, Figure(301, row.calls, row.first_seen, row.last_seen))
    return found


def _met_again(connection: Connection) -> list[int]:
    """Approved remaps whose new URI is an old URI too, as text: calls that we routed ask for it as it is written."""
    onward = remap.alias("onward")
    waiting = onward.c.state.in_([State.PENDING, State.REJECTED])
    found: set[int] = set()
    for column in (onward.c.old_uri, onward.c.old_key):
        # A subquery of its own: databases make a hash of it, which they don't do for a join on long texts.
        asked = select(column).where(waiting)
        query = select(remap.c.id).where(remap.c.state == State.APPROVED, remap.c.new_uri.in_(asked))
        found.update(connection.scalars(query))
    return sorted(found)[:MOST_MOVED_ON]


def suspend_failing(database: Database, policy: Policy, *, now: datetime) -> list[int]:
    """Revokes, audited, the remaps whose target failed in as many calls as the policy says; call it before an apply.

    Gives their ids; nothing where `suspend_failing_after` is not configured. A 301 alone never suspends: the old
    target may still answer.
    """
    after = policy.suspend_failing_after
    if after is None:
        return []
    with database.read() as connection:
        found = {number: one for number, one in failing(connection).items() if one.dead_calls >= after}
    if not found:
        return []
    from redirectd.review.auto import ACTOR
    from redirectd.review.decide import Decision, revoke

    for number, one in found.items():
        by = Decision(actor=ACTOR, at=now, reason=f"policy.suspend_failing_after = {after}: {one.reason}")
        with database.begin() as connection:
            revoke(connection, number, by)
    return list(found)
