"""Putting routes under the keys a server can match on, and finding where two of them disagree (R24, R5)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from redirectd.plan.route import Conflict, Route, RouteKind
from redirectd.sip.uri import SipUri
from redirectd.targets.base import CannotCarryError, Refusal


@dataclass(frozen=True, slots=True)
class Projection:
    """What can be written: `entries` in key order, and what can't be, with the reasons.

    `carried` are the remaps that the entries speak for.
    """

    entries: dict[str, str]
    refused: tuple[Refusal, ...]
    conflicts: tuple[Conflict, ...]
    carried: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Claim:
    id: int
    value: str | None  # None: approved, and this target can't write it


def project(
    routes: Sequence[Route],
    kind: RouteKind | None,
    match: str,
    keys_of: Callable[[SipUri], Collection[str]],
    value_of: Callable[[SipUri], str],
) -> Projection:
    """Write the routes of one kind (of both for None) under their keys.

    `keys_of` gives what the server matches on for an old URI (none where the target doesn't speak for it) and
    `value_of` what it shall give for a new one; both raise CannotCarryError. A key that two routes claim with
    different results is a conflict and is not written, and a route that can't be written claims its keys too:
    or else its calls would follow another route's move.
    """
    claims: dict[str, list[_Claim]] = {}
    refused: list[Refusal] = []
    conflicts: list[Conflict] = []
    for route in routes:
        if kind is not None and route.kind != kind:
            continue
        if match == "incoming" and route.incoming_forked:
            conflicts.append(_forked(route))
            continue
        keys, value, reason = _claim(route, match, keys_of, value_of)
        if reason:
            refused.append(Refusal(route.id, reason))
        for key in keys:
            claims.setdefault(key, []).append(_Claim(route.id, value))
    entries: dict[str, str] = {}
    carried: set[int] = set()
    for key in sorted(claims):
        values = {claim.value for claim in claims[key]}
        if len(values) > 1:
            conflicts.append(_disagreeing(key, claims[key]))
        elif (only := values.pop()) is not None:
            entries[key] = only
            carried.update(claim.id for claim in claims[key])
    return Projection(entries, tuple(refused), tuple(conflicts), frozenset(carried))


def _claim(
    route: Route,
    match: str,
    keys_of: Callable[[SipUri], Collection[str]],
    value_of: Callable[[SipUri], str],
) -> tuple[Collection[str], str | None, str | None]:
    """Give the keys a route claims, its value, and why it can't be written."""
    asked = route.incoming if match == "incoming" else (route.old,)
    if not asked:
        return (), None, 'match = "incoming" needs the URI this proxy was asked for, and no log told it'
    keys: set[str] = set()
    value: str | None = None
    reason: str | None = None
    for uri in asked:
        try:
            keys.update(keys_of(uri))
        except CannotCarryError as error:
            reason = str(error)
    if keys and reason is None:
        try:
            value = value_of(route.new)
        except CannotCarryError as error:
            reason = str(error)
    return sorted(keys), value, reason


def _forked(route: Route) -> Conflict:
    where = ", ".join(sorted({str(uri) for uri in route.incoming})) or str(route.old)
    return Conflict(where, (route.id,), "the request forked, so its incoming URI does not stand for this one branch")


def _disagreeing(key: str, claims: Sequence[_Claim]) -> Conflict:
    ids = tuple(sorted({claim.id for claim in claims}))
    return Conflict(key, ids, "these remaps fall on one key of this target and have different results")
