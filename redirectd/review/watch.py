"""Which URIs are the targets of approved remaps, and the counting of what they answer: 404, 410 and 604."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from time import monotonic

from sqlalchemy import Connection, delete, insert, select, update

from redirectd.collect.verdict import digest
from redirectd.review.followup import FOLLOWED, MOST_CALLS
from redirectd.sip.routekey import route_key
from redirectd.sip.uri import SipUri, UriError, parse_uri
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.schema import audit, followed_call, followup, remap
from redirectd.store.turns import take_turn
from redirectd.store.upsert import chunks

REFRESH_SECONDS = 5.0
"""How often it looks for new decisions at most: the calls that an apply brings to a new target come at once."""

SHARE = 0.02
"""How much of a processor it may take while somebody decides on one remap after another, in a table of any size."""


@dataclass(frozen=True, slots=True)
class Followed:
    """One final answer to an INVITE whose Request-URI may be an approved target.

    `target` is the hash by which remaps of that URI are found, `key` names the call, the target and the status: two
    proxies in a row that ask for one URI, a retransmission and another logger's copy are one call.
    """

    key: str
    target: str
    status: int
    seen_at: datetime


class Watch:
    """The targets of approved user remaps: what a reader must know to take their 404s and pass over all others.

    One serves all sources of a process, in their threads. It keeps eight bytes for each target; that another URI
    shares them by chance does no harm, since counting looks the whole hash up.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._targets: array[int] = array("Q")  # in ascending order
        self._newest: tuple[int, str] | None = None
        self._due_at = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is approved, and nothing need be read."""
        return not self._targets

    def refresh(self, database: Database, *, at_once: bool = False) -> None:
        """Looks for new decisions where that is due, or `at_once`. Raises StoreError.

        That is one small query where nothing was decided since, and one over all approved remaps where something was.
        """
        with self._lock:
            begun = monotonic()
            if begun < self._due_at and not at_once:
                return
            with database.read() as connection:
                self._read(connection)
            took = monotonic() - begun
            self._due_at = begun + max(REFRESH_SECONDS, took / SHARE)

    def _read(self, connection: Connection) -> None:
        query = select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)
        row = connection.execute(query).one_or_none()
        newest = None if row is None else (int(row.id), str(row.hash))
        if newest == self._newest:
            return
        found = connection.scalars(select(remap.c.new_hash).where(*_WATCHED)).yield_per(1000)
        self._targets = array("Q", sorted(array("Q", (_short(name) for name in found))))
        self._newest = newest

    def followed(self, call_id: str, status: int, method: str, request_uri: str, seen_at: datetime) -> Followed | None:
        """What an answer says of an approved target; None for all others, and those are nearly all."""
        if status not in FOLLOWED or method != "INVITE" or not self._targets:
            return None
        try:
            uri = parse_uri(request_uri)
        except UriError:
            return None
        if not isinstance(uri, SipUri):
            return None
        target = digest("user", str(route_key(uri)))
        if not self._has(_short(target)):
            return None
        return Followed(digest("followed", call_id, target, str(status)), target, status, seen_at)

    def _has(self, short: int) -> bool:
        targets = self._targets
        place = bisect_left(targets, short)
        return place < len(targets) and targets[place] == short


_WATCHED = (remap.c.state == State.APPROVED, remap.c.kind == "user", remap.c.new_hash.is_not(None))


def _short(name: str) -> int:
    return int(name[:16], 16)


def record(connection: Connection, answers: Iterable[Followed]) -> None:
    """Counts answers in the caller's transaction, which also holds the position, each call once for all nodes."""
    take_turn(connection, "collect")  # two nodes may report one call at the same time
    fresh = _not_counted(connection, {one.key: one for one in answers})
    targets = _targets(connection, {one.target for one in fresh.values()})
    told: dict[tuple[int, int], list[Followed]] = defaultdict(list)
    since: dict[int, datetime | None] = {}
    for one in fresh.values():
        for number, decided_at in targets[one.target]:
            if decided_at is None or one.seen_at > decided_at:
                told[number, one.status].append(one)
                since[number] = decided_at
    counted: dict[str, Followed] = {}
    for (number, status), ones in sorted(told.items()):
        if _count(connection, number, status, [one.seen_at for one in ones], since[number]):
            counted |= {one.key: one for one in ones}
    if counted:
        rows = [{"key": one.key, "seen_at": one.seen_at} for one in counted.values()]
        connection.execute(insert(followed_call), rows)


def _not_counted(connection: Connection, answers: dict[str, Followed]) -> dict[str, Followed]:
    known: set[str] = set()
    for part in chunks(answers):
        known.update(connection.scalars(select(followed_call.c.key).where(followed_call.c.key.in_(part))))
    return {key: one for key, one in answers.items() if key not in known}


def _targets(connection: Connection, names: Iterable[str]) -> dict[str, list[tuple[int, datetime | None]]]:
    """The approved remaps of each target, and when that was decided."""
    found: dict[str, list[tuple[int, datetime | None]]] = defaultdict(list)
    for part in chunks(names):
        query = select(remap.c.id, remap.c.new_hash, remap.c.decided_at)
        for row in connection.execute(query.where(remap.c.new_hash.in_(part), *_WATCHED)):
            found[row.new_hash].append((row.id, row.decided_at))
    return found


def _count(connection: Connection, number: int, status: int, times: Sequence[datetime], since: datetime | None) -> bool:
    """Adds calls to a figure, which begins anew with each decision; whether there was room for them."""
    place = (followup.c.remap_id == number) & (followup.c.status == status)
    known = connection.execute(select(followup.c.calls, followup.c.first_seen).where(place)).one_or_none()
    if known is None or (since is not None and known.first_seen <= since):
        # What was reported before the decision now in force belongs to an earlier one.
        connection.execute(delete(followup).where(place))
        row = {"remap_id": number, "status": status, "calls": min(MOST_CALLS, len(times))}
        connection.execute(insert(followup).values(**row, first_seen=min(times), last_seen=max(times)))
        return True
    values = {"calls": min(MOST_CALLS, known.calls + len(times)), "last_seen": max(times)}
    connection.execute(update(followup).where(place).values(values))
    return bool(known.calls < MOST_CALLS)
