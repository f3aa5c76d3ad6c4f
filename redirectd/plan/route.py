"""The values a plan is made of: approved remaps going in, routes coming out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from redirectd.sip.uri import SipUri

RouteKind = Literal["user", "gateway"]


@dataclass(frozen=True, slots=True)
class Approved:
    """One approved remap as the plan takes it.

    `incoming` are the URIs this proxy was asked for when `old` was answered 301 (R5); empty where no log shows them.
    `also_asked` are other old URIs that it asked for one of these, and that were answered 301, too.
    `new` is the approved Contact with `method` and headers already dropped (R16).
    `approved_at` orders approvals that contradict each other (R44); None is before all others.
    """

    id: int
    kind: RouteKind
    old: SipUri
    new: SipUri
    incoming: tuple[SipUri, ...] = ()
    incoming_forked: bool = False
    also_asked: tuple[SipUri, ...] = ()
    approved_at: datetime | None = None


class Route(NamedTuple):
    """What routing shall do with one old URI, chains already flattened (R33).

    `ids` are the remaps followed, first hop first; `old` is the first hop's old URI and `new` the last hop's new URI.
    """

    ids: tuple[int, ...]
    kind: RouteKind
    old: SipUri
    new: SipUri
    incoming: tuple[SipUri, ...] = ()
    incoming_forked: bool = False
    also_asked: tuple[SipUri, ...] = ()
    approved_at: datetime | None = None

    @property
    def id(self) -> int:
        """The remap that speaks for the old URI itself."""
        return self.ids[0]


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def approval_order(one: Approved | Route) -> tuple[datetime, int]:
    """Give what sorts approvals that contradict each other by their time (R44), and by their ids where that is one."""
    return one.approved_at or _LONG_AGO, one.id


@dataclass(frozen=True, slots=True)
class Conflict:
    """Approved remaps that can't all be true in one place; those of `ids` are not written there."""

    where: str
    ids: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class DecisionMark:
    """Up to which decision approved remaps were read: the audit's newest `entry` with its `hash`.

    There were `approved` of them, and none ends before `until` (R18).
    """

    entry: int
    hash: str
    approved: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class EffectiveTable:
    """The routes of all approved remaps by ascending id, with what had to be left out and why.

    `cycles` are the remap ids of each cycle in hop order, the one approved last is among the conflicts (R34);
    `too_deep` are those that would make a chain too long (R33), among the conflicts, too. With a `mark`, each remap up
    to there has its route.
    """

    routes: Sequence[Route]
    conflicts: tuple[Conflict, ...] = ()
    cycles: tuple[tuple[int, ...], ...] = ()
    too_deep: tuple[int, ...] = ()
    mark: DecisionMark | None = None
