"""The approved remaps around one URI, found by index: what a single decision must know of a table of any size."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, or_, select

from redirectd.collect.verdict import digest
from redirectd.plan.route import Approved, RouteKind
from redirectd.plan.table import matching_key
from redirectd.sip.routekey import RouteKey
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.store.remap import State
from redirectd.store.schema import remap

MOST_INWARD = 20
"""Remaps that lead to a URI which are looked up at most: a card shows a handful."""


def onward(connection: Connection, kind: RouteKind, start: SipUri, *, now: datetime) -> list[Approved]:
    """Every approved remap that a call to `start` can come by, however long the chain; each once."""
    waiting = [matching_key(kind, start)]
    seen: set[RouteKey] = set(waiting)
    found: list[Approved] = []
    while waiting:
        for one in _of_key(connection, kind, waiting.pop(), now):
            found.append(one)
            key = matching_key(kind, one.new)
            if key not in seen:
                seen.add(key)
                waiting.append(key)
    return found


def inward(connection: Connection, kind: RouteKind, end: SipUri, *, now: datetime) -> list[Approved]:
    """Approved remaps whose new URI is `end`: a move of `end` makes them longer. The first few by id.

    New URIs have no index of their own: the database sorts out by user and host as they are written.
    """
    goal = matching_key(kind, end)
    query = select(remap).where(
        remap.c.kind == kind, remap.c.new_uri.icontains(goal.host, autoescape=True), *_alive(now)
    )
    if goal.user:
        query = query.where(remap.c.new_uri.contains(goal.user, autoescape=True))
    rows = connection.execute(query.order_by(remap.c.id).limit(50 * MOST_INWARD))
    found = [_approved(row.id, kind, row.old_uri, row.new_uri) for row in rows]
    return [one for one in found if matching_key(kind, one.new) == goal][:MOST_INWARD]


def _of_key(connection: Connection, kind: RouteKind, key: RouteKey, now: datetime) -> list[Approved]:
    query = select(remap).where(remap.c.old_hash == digest(kind, str(key)), *_alive(now)).order_by(remap.c.id)
    return [_approved(row.id, kind, row.old_uri, row.new_uri) for row in connection.execute(query)]


def _alive(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        remap.c.state == State.APPROVED,
        remap.c.new_uri.is_not(None),
        or_(remap.c.expires_at.is_(None), remap.c.expires_at > now),
    )


def _approved(number: int, kind: RouteKind, old: str, new: str) -> Approved:
    return Approved(number, kind, sip(old), sip(new))


def sip(text: str) -> SipUri:
    """A stored URI read again."""
    uri = parse_uri(text)
    assert isinstance(uri, SipUri), "only SIP URIs are stored on either side of a remap"
    return uri
