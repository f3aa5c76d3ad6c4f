"""The approved remaps around one URI, found by index: what a single decision must know of a table of any size."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, or_, select

from redirectd.collect.verdict import digest
from redirectd.plan.effective_table import MAX_DEPTH, matching_key
from redirectd.plan.route import Approved, RouteKind
from redirectd.sip.compare import RouteKey
from redirectd.sip.uri import SipUri
from redirectd.store.remap import State, stored_uri
from redirectd.store.schema import remap
from redirectd.store.statements import chunks

MOST_AROUND = 20
"""Remaps around a URI that are looked up at most: a card shows a handful."""


class Chains:
    """The approved remaps that calls can come by, read level by level for many starts at once."""

    def __init__(self, connection: Connection, *, now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._links: dict[tuple[RouteKind, RouteKey], list[Approved]] = {}
        self._back: dict[str, dict[int, str]] = {}  # by a new URI's hash, who leads there, and their old URIs' hashes

    def reach(self, kind: RouteKind, starts: Iterable[SipUri]) -> None:
        """Reads every approved remap that a call to one of `starts` can come by, however long the chains."""
        waiting = {matching_key(kind, start) for start in starts}
        while waiting := {key for key in waiting if (kind, key) not in self._links}:
            for key in waiting:
                self._links[kind, key] = []
            found = self._of_keys(kind, waiting)
            for one in found:
                self._links.setdefault((kind, matching_key(kind, one.old)), []).append(one)
            waiting = {matching_key(kind, one.new) for one in found}

    def reach_back(self, kind: RouteKind, ends: Iterable[SipUri]) -> None:
        """Reads what leads to `ends`, by as many hops as routing follows."""
        waiting = {_hash(kind, end) for end in ends}
        for _ in range(MAX_DEPTH):
            waiting -= self._back.keys()
            self._back |= {key: {} for key in waiting}
            found: set[str] = set()
            for part in chunks(waiting):
                query = select(remap.c.id, remap.c.old_hash, remap.c.new_hash)
                for row in self._connection.execute(query.where(remap.c.new_hash.in_(part), *_alive(self._now))):
                    self._back[row.new_hash][row.id] = row.old_hash
                    found.add(row.old_hash)
            waiting = found

    def through(self, one: Approved, without: Collection[int]) -> list[int]:
        """The longest chain of remaps that `one` would be in, by id and first hop first; not by those in `without`.

        Its old URI was reached back from, and its new URI was reached. No longer than is enough to be too long.
        """
        chain = [*self._led_by(_hash(one.kind, one.old), without), one.id]
        at = matching_key(one.kind, one.new)
        while len(chain) <= MAX_DEPTH:
            links = self._links.get((one.kind, at), ())
            hop = next((link for link in links if link.id not in {*chain, *without}), None)
            if hop is None:
                break
            chain.append(hop.id)
            at = matching_key(hop.kind, hop.new)
        return chain

    def _led_by(self, end: str, without: Collection[int]) -> list[int]:
        """The longest way to what has this hash, first hop first."""
        if not self._back.get(end):
            return []
        levels: list[dict[str, tuple[int, str]]] = [{end: (0, "")}]
        while len(levels) <= MAX_DEPTH and levels[-1]:
            levels.append(
                {
                    old: (number, key)
                    for key in levels[-1]
                    for number, old in self._back.get(key, {}).items()
                    if number not in without
                }
            )
        at = next(iter(levels[-1] or levels[-2]))
        way = []
        while at != end and levels:
            if (hop := levels.pop().get(at)) is not None:
                way.append(hop[0])
                at = hop[1]
        return way

    def onward(self, kind: RouteKind, start: SipUri) -> list[Approved]:
        """What a call to `start`, which was reached before, can come by; each once."""
        waiting = [matching_key(kind, start)]
        seen = set(waiting)
        found: list[Approved] = []
        while waiting:
            for one in self._links.get((kind, waiting.pop()), ()):
                found.append(one)
                key = matching_key(kind, one.new)
                if key not in seen:
                    seen.add(key)
                    waiting.append(key)
        return found

    def put(self, one: Approved) -> None:
        """Takes an approval in, in place of what was approved for its old URI (R30)."""
        self._links[one.kind, matching_key(one.kind, one.old)] = [one]
        self._back.setdefault(_hash(one.kind, one.new), {})[one.id] = _hash(one.kind, one.old)

    def drop(self, one: Approved) -> None:
        """Takes out what is approved no more."""
        key = one.kind, matching_key(one.kind, one.old)
        self._links[key] = [other for other in self._links.get(key, ()) if other.id != one.id]
        self._back.get(_hash(one.kind, one.new), {}).pop(one.id, None)

    def _of_keys(self, kind: RouteKind, keys: Iterable[RouteKey]) -> list[Approved]:
        found = []
        for part in chunks(digest(kind, str(key)) for key in keys):
            query = select(remap).where(remap.c.old_hash.in_(part), *_alive(self._now)).order_by(remap.c.id)
            found += [_approved(row.id, kind, row.old_uri, row.new_uri) for row in self._connection.execute(query)]
        return found


def onward(connection: Connection, kind: RouteKind, start: SipUri, *, now: datetime) -> list[Approved]:
    """Every approved remap that a call to `start` can come by, however long the chain; each once."""
    chains = Chains(connection, now=now)
    chains.reach(kind, [start])
    return chains.onward(kind, start)


def inward(connection: Connection, kind: RouteKind, end: SipUri, *, now: datetime) -> list[Approved]:
    """Approved remaps whose new URI is `end`: a move of `end` makes them longer. The first few by id."""
    wanted = digest(kind, str(matching_key(kind, end)))
    query = select(remap).where(remap.c.new_hash == wanted, *_alive(now)).order_by(remap.c.id).limit(MOST_AROUND)
    return [_approved(row.id, kind, row.old_uri, row.new_uri) for row in connection.execute(query)]


def alongside(connection: Connection, kind: RouteKind, old: SipUri, *, now: datetime) -> list[Approved]:
    """Approved remaps of the same old user and host with another port, transport or scheme. The first few by id.

    A target that matches on user and host alone can't distinguish them.
    """
    goal = matching_key(kind, old)
    query = select(remap).where(
        remap.c.kind == kind, remap.c.old_key.contains(goal.host, autoescape=True), *_alive(now)
    )
    if goal.user:
        query = query.where(remap.c.old_key.contains(goal.user, autoescape=True))
    rows = connection.execute(query.order_by(remap.c.id).limit(50 * MOST_AROUND))
    found = [_approved(row.id, kind, row.old_uri, row.new_uri) for row in rows]
    keys = [(one, matching_key(kind, one.old)) for one in found]
    same = [one for one, key in keys if (key.user, key.host) == (goal.user, goal.host) and key != goal]
    return same[:MOST_AROUND]


def _alive(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        remap.c.state == State.APPROVED,
        remap.c.new_uri.is_not(None),
        or_(remap.c.expires_at.is_(None), remap.c.expires_at > now),
    )


def _approved(number: int, kind: RouteKind, old: str, new: str) -> Approved:
    return Approved(number, kind, stored_uri(old), stored_uri(new))


def _hash(kind: RouteKind, uri: SipUri) -> str:
    return digest(kind, str(matching_key(kind, uri)))
