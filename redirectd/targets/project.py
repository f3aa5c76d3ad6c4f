"""Putting routes under the keys a server can match on, and finding where they contradict each other (R24, R5, R34)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from redirectd.plan.route import Conflict, Route, RouteKind
from redirectd.plan.target import CannotCarryError, Refusal
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri

_SHOWN = 6
"""Keys of a circle, and old URIs, that are shown."""


@dataclass(frozen=True, slots=True)
class Projection:
    """What can be written: `entries` in key order, and what can't be, with the reasons.

    `carried` are the remaps that the entries speak for, each once.
    """

    entries: dict[str, str]
    refused: tuple[Refusal, ...]
    conflicts: tuple[Conflict, ...]
    carried: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _View:
    """The routes as one target sees them; `keys_of` gives what the server matches on for a URI."""

    routes: Sequence[Route]
    kind: RouteKind | None
    match: str
    keys_of: Callable[[SipUri], Collection[str]]

    def __iter__(self) -> Iterator[Route]:
        return (route for route in self.routes if self.kind is None or route.kind == self.kind)

    def doubt(self, route: Route) -> str | None:
        """Say why the URI a request came with does not stand for the one that moved, where it is the key (R5)."""
        if self.match != "incoming":
            return None
        if route.incoming_forked:
            return "the request forked, so its incoming URI does not stand for this one branch"
        if route.also_asked:
            others = ", ".join(printable(str(uri), 200) for uri in route.also_asked[:_SHOWN])
            return f"its incoming URI does not stand for {printable(str(route.old), 200)} alone: also for {others}"
        return None

    def keys(self, route: Route) -> tuple[Collection[str], str | None]:
        """Give the keys a route claims, and why one of them can't be written."""
        asked = route.incoming if self.match == "incoming" else (route.old,)
        if not asked:
            return (), 'match = "incoming" needs the URI this proxy was asked for, and no log told it'
        keys: Collection[str] = ()
        reason = None
        for uri in asked:
            try:
                found = self.keys_of(uri)
            except CannotCarryError as error:
                reason = str(error)
            else:
                keys = {*keys, *found} if keys else found
        return keys, reason

    def onward(self, route: Route, keys: Collection[str], entries: Collection[str]) -> str | None:
        """Give the entry, other than the route's own `keys`, that a call to its new URI would meet; None for none."""
        try:
            for key in self.keys_of(route.new):
                if key in entries and key not in keys:
                    return key
        except CannotCarryError:
            pass  # nobody can ask for it by a key
        return None


def project(
    routes: Sequence[Route],
    kind: RouteKind | None,
    match: str,
    keys_of: Callable[[SipUri], Collection[str]],
    value_of: Callable[[SipUri], str],
) -> Projection:
    """Write the routes of one kind (of both for None) under their keys.

    `keys_of` gives what the server matches on for a URI (none where the target doesn't speak for it) and
    `value_of` what it shall give for a new one; both raise CannotCarryError. A key that two routes claim with
    different results is a conflict and is not written, and a route that can't be written claims its keys too:
    or else its calls would follow another route's move. Nor are keys written that lead round in a circle (R34).
    """
    view = _View(routes, kind, match, keys_of)
    claims: dict[str, str | None] = {}  # None: approved, and this target can't write it
    disputed: set[str] = set()
    refused: list[Refusal] = []
    conflicts: list[Conflict] = []
    spoken: list[int] = []
    goes_on = False
    for route in view:
        doubt = view.doubt(route)
        if doubt:
            conflicts.append(_doubted(route, doubt))
            continue
        keys, reason = view.keys(route)
        value = None
        if keys and reason is None:
            try:
                value = value_of(route.new)
                spoken.append(route.id)
            except CannotCarryError as error:
                reason = str(error)
        if reason:
            refused.append(Refusal(route.id, reason))
        for key in keys:
            if claims.setdefault(key, value) != value:
                disputed.add(key)
        # Of a circle's keys the one that comes last leads to one that is there already.
        goes_on = goes_on or view.onward(route, keys, claims) is not None
    entries = {key: value for key in sorted(claims) if (value := claims[key]) is not None and key not in disputed}
    circles = _circles(_steps(view, entries)) if goes_on else []
    held = disputed.union(*circles)
    owners, silent = _owners(view, held)
    for key in held & entries.keys():
        del entries[key]
    conflicts += [_disagreeing(key, owners[key]) for key in sorted(disputed)]
    conflicts += [_circling(circle, owners) for circle in circles]
    carried = tuple(number for number in spoken if number not in silent)
    return Projection(entries, tuple(refused), tuple(conflicts), carried)


def _steps(view: _View, entries: Mapping[str, str]) -> dict[str, str]:
    """Give, by key, the other key whose turn comes next: where a new URI is itself looked up here.

    Remaps that differ in their ports alone are no chain, but they are one for a server that matches without ports.
    A key that gives itself is none of them: the same user at another port or host has moved for good (R17), and to
    look that up once more changes nothing.
    """
    steps: dict[str, str] = {}
    for route in view:
        if not view.doubt(route):
            keys, _ = view.keys(route)
            onward = view.onward(route, keys, entries)
            if onward is not None:
                steps.update((key, onward) for key in keys if key in entries)
    return steps


def _circles(steps: Mapping[str, str]) -> list[list[str]]:
    """Give each circle once, from its lowest key on."""
    circles: list[list[str]] = []
    met: dict[str, str] = {}  # key to the start of the walk that met it first
    for start in sorted(steps):
        at = start
        while at in steps and at not in met:
            met[at] = start
            at = steps[at]
        if met.get(at) == start:
            circle = [at]
            while (at := steps[at]) != circle[0]:
                circle.append(at)
            lowest = circle.index(min(circle))
            circles.append(circle[lowest:] + circle[:lowest])
    return circles


def _owners(view: _View, held: Collection[str]) -> tuple[dict[str, list[int]], set[int]]:
    """Give the remaps that claim each held key, and those that claim no other."""
    owners: dict[str, list[int]] = {key: [] for key in held}
    silent: set[int] = set()
    for route in view if held else ():
        keys = () if view.doubt(route) else view.keys(route)[0]
        for key in keys:
            if key in owners:
                owners[key].append(route.id)
        if all(key in owners for key in keys):
            silent.add(route.id)
    return owners, silent


def _doubted(route: Route, reason: str) -> Conflict:
    where = ", ".join(sorted({str(uri) for uri in route.incoming})) or str(route.old)
    return Conflict(where, (route.id,), reason)


def _disagreeing(key: str, owners: Iterable[int]) -> Conflict:
    ids = tuple(sorted(owners))
    return Conflict(key, ids, "these remaps fall on one key of this target and have different results")


def _circling(circle: Sequence[str], owners: Mapping[str, Iterable[int]]) -> Conflict:
    ids = tuple(sorted({number for key in circle for number in owners[key]}))
    shown = [*circle[:_SHOWN], *(["..."] if len(circle) > _SHOWN else []), circle[0]]
    reason = f"in the keys of this target these remaps are a cycle: {' -> '.join(shown)}"
    return Conflict(circle[0], ids, reason)
