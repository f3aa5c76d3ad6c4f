"""Which remaps are suspicious (R27), remembered: a filter needs it of all that wait, and a number takes 20 µs to read.

What is remembered counts only for the very policy, programs and URIs that it was worked out with. Anything else is
worked out when it is asked for, so that no change can leave a suspicious remap out.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import version

from sqlalchemy import delete, select

import redirectd
from redirectd.collect.policy import Policy
from redirectd.collect.verdict import digest
from redirectd.review.holds import is_suspicious
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.remaps import RemapFilter, Uris, uris_of
from redirectd.store.schema import remap, screening
from redirectd.store.turns import take_turn

PART = 500
"""Remaps that are looked at in one transaction."""


def rules(policy: Policy) -> str:
    """Names the policy and the programs that detect a suspicious remap: whether an address is private, and what a
    number costs, are known by Python and by `phonenumberslite`."""
    # Sets have another order in each process. No hold depends on the rule of automatic approval.
    told = [getattr(policy, field.name) for field in fields(policy) if field.name != "auto_approve"]
    words = [repr(sorted(value)) if isinstance(value, frozenset) else repr(value) for value in told]
    return digest(redirectd.__version__, platform.python_version(), _library(), *words)


@lru_cache(maxsize=1)
def _library() -> str:
    return version("phonenumberslite")


def suspects(remaps: Iterable[Uris], policy: Policy) -> set[int]:
    """The ids of those that `redirectd.review.holds.with_holds` would hold as suspicious."""
    names = rules(policy)
    return {one.id for one in remaps if _is_suspect(one, names, policy)}


def _is_suspect(one: Uris, names: str, policy: Policy) -> bool:
    if one.suspicious is not None and one.basis == _basis(one, names):
        return one.suspicious
    return is_suspicious(one.old_uri, one.places, policy)


def _basis(one: Uris, names: str) -> str:
    return digest(names, one.old_uri, *one.places)


def screen(database: Database, policy: Policy, *, anew: bool = False) -> int:
    """Looks at the waiting remaps that nobody has looked at, or `anew` at all; gives how many. Raises StoreError.

    A service calls it anew at its start, when its policy or its program may be another one.
    """
    names = rules(policy)
    unseen = () if anew else (remap.c.id.not_in(select(screening.c.remap_id)),)
    after = count = 0
    while True:
        wanted = RemapFilter(states=[State.PENDING], also=unseen, after_id=after, limit=PART)
        with database.read() as connection:
            found = uris_of(connection, wanted)
        if not found:
            return count
        seen = {
            one.id: {
                "remap_id": one.id,
                "basis": _basis(one, names),
                "suspicious": is_suspicious(one.old_uri, one.places, policy),
            }
            for one in found
        }
        with database.begin() as connection:
            take_turn(connection, "collect")  # a collector may remove a remap that has lost its only sighting
            there = connection.scalars(select(remap.c.id).where(remap.c.id.in_(seen))).all()
            connection.execute(delete(screening).where(screening.c.remap_id.in_(seen)))
            if there:
                connection.execute(screening.insert(), [seen[number] for number in there])
        after, count = found[-1].id, count + len(found)
