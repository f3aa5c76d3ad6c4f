"""Approved remaps that a person should look at again: first those that fail, then those past their review date."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from redirectd.review.followup import failing
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap

FAILING, STALE = "failing", "stale"


def attention(connection: Connection, *, now: datetime) -> list[int]:
    """Their ids: failing ones, then stale ones that do not fail (R36); each part oldest id first."""
    first = list(failing(connection))
    query = select(remap.c.id).where(remap.c.state == State.APPROVED, remap.c.revalidate_after < now)
    stale = connection.scalars(query.order_by(remap.c.id))
    known = set(first)
    return first + [int(number) for number in stale if number not in known]


def with_attention(connection: Connection, remaps: Iterable[Remap], *, now: datetime) -> list[Remap]:
    """The remaps with the flags `failing` and `stale` where they are due, each with its reason."""
    given = list(remaps)
    approved = [one.id for one in given if one.state is State.APPROVED]
    fails = failing(connection, approved) if approved else {}
    return [_flagged(one, fails[one.id].reason if one.id in fails else None, now) for one in given]


def _flagged(one: Remap, reason: str | None, now: datetime) -> Remap:
    flags = dict(one.flags)
    if reason:
        flags[FAILING] = reason
    if one.state is State.APPROVED and one.revalidate_after is not None and one.revalidate_after < now:
        flags[STALE] = f"its review date was {one.revalidate_after:%Y-%m-%d} (R36)"
    return one if flags == one.flags else replace(one, flags=flags)
