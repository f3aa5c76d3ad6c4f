"""Putting routes under the keys a server can match on, and finding where they contradict each other (R24, R5, R34)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from redirectd.plan.route import Conflict, Route, RouteKind
from redirectd.plan.target import CannotCarryError, Refusal, Rendered
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri

_SHOWN = 6
"""Keys of a circle, old URIs and remaps that are shown."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Projection:
    """What can be written: `entries` in key order, and what can't be, with the reasons.

    `carried` are the remaps that the entries speak for, each once. The `ids` of a conflict are those that are kept out.
    """

    entries: dict[str, str]
    refused: tuple[Refusal, ...]
    conflicts: tuple[Conflict, ...]
    carried: tuple[int, ...] = ()

    def rendered(self, content: bytes, token: str) -> Rendered:
        """Give the file with all entries, `content`, which has the token of these entries."""
        return Rendered(content, self.entries, self.refused, self.conflicts, token, self.carried)


class _Claim(NamedTuple):
    """A route's claim on a key, in the order of approval; `value` is None where it can't be written."""

    approved_at: datetime
    id: int
    value: str | None


@dataclass(frozen=True, slots=True)
class _View:
    """The routes as one target sees them; `keys_of` gives what the server matches on for a URI."""

    routes: Sequence[Route]
    kind: RouteKind | None
    match: str
    keys_of: Callable[[SipUri], Collection[str]]
    value_of: Callable[[SipUri], str]

    def __iter__(self) -> Iterator[Route]:
        return (route for route in self.routes if self.kind is None or route.kind == self.kind)

    def doubt(self, route: Route) -> str | None:
        """Say why the URI a request came with does not represent the one that moved, where it is the key (R5)."""
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
        asked = asked_uris(route, self.match)
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

    def claim(self, route: Route) -> _Claim:
        """Give what the route claims its keys with."""
        reason = self.keys(route)[1]
        try:
            value = None if reason else self.value_of(route.new)
        except CannotCarryError:
            value = None
        return _Claim(route.approved_at or _LONG_AGO, route.id, value)

    def onward(self, route: Route, keys: Collection[str], entries: Collection[str]) -> str | None:
        """Give the entry, other than the route's own `keys`, that a call to its new URI would meet; None for none."""
        try:
            for key in self.keys_of(route.new):
                if key in entries and key not in keys:
                    return key
        except CannotCarryError:
            pass  # nobody can ask for it by a key
        return None


def asked_uris(route: Route, match: str) -> Sequence[SipUri]:
    """Give the URIs that the server has in hand when it looks the route up (R5)."""
    return route.incoming if match == "incoming" else (route.old,)


def project(
    routes: Sequence[Route],
    kind: RouteKind | None,
    match: str,
    keys_of: Callable[[SipUri], Collection[str]],
    value_of: Callable[[SipUri], str],
) -> Projection:
    """Write the routes of one kind (of both for None) under their keys.

    `keys_of` gives what the server matches on for a URI (none where the target doesn't speak for it) and
    `value_of` what it shall give for a new one; both raise CannotCarryError. Of two routes that claim
    a key with different results, the one that was approved first keeps it (R44): what is live stays live. A route that
    can't be written claims its keys too: or else its calls would follow another route's move. Where keys lead round in
    a circle (R34), the one that was approved last is left out.
    """
    view = _View(routes, kind, match, keys_of, value_of)
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
    rivals = _claims(view, disputed)
    claims.update((key, found[0].value) for key, found in rivals.items())
    entries = {key: value for key in sorted(claims) if (value := claims[key]) is not None}
    circles = _circles(_steps(view, entries)) if goes_on else []
    turns = _claims(view, {key for circle in circles for key in circle})
    lost = [(key, _disagreeing(key, rivals[key])) for key in sorted(rivals)]
    lost += [_circling(circle, entries, turns) for circle in circles]
    for key, _ in lost[len(rivals) :]:
        del entries[key]
    conflicts += [conflict for _, conflict in lost]
    silent = _silent(view, {number for _, conflict in lost for number in conflict.ids}, entries)
    carried = tuple(number for number in spoken if number not in silent)
    return Projection(entries, tuple(refused), tuple(conflicts), carried)


def still_meant(
    installed: Mapping[str, str],
    routes: Sequence[Route],
    match: str,
    keys_of: Callable[[SipUri], Collection[str]],
    value_of: Callable[[SipUri], str],
) -> dict[str, str]:
    """Give those of the installed entries that a user's route still claims with that very value; never one more."""
    view = _View(routes, "user", match, keys_of, value_of)
    kept: dict[str, str] = {}
    for route in view:
        if view.doubt(route):
            continue
        for key in view.keys(route)[0]:
            try:
                if key in installed and value_of(route.new) == installed[key]:
                    kept[key] = installed[key]
            except CannotCarryError:
                break
    return kept


def _steps(view: _View, entries: Mapping[str, str]) -> dict[str, str]:
    """Give, by key, the other key whose turn comes next: where a new URI is itself looked up here.

    Remaps that differ in their ports alone are not a chain, but they are one for a server that matches without ports.
    A key that gives itself is none of them: the same user at another port or host has moved for good (R17), and to
    look that up once more changes nothing.
    """
    steps: dict[str, str] = {}
    for route in view:
        if not view.doubt(route):
            keys, _ = view.keys(route)
            onward = view.onward(route, keys, entries)
            if onward is not None:
                value = view.claim(route).value
                steps.update((key, onward) for key in keys if key in entries and entries[key] == value)
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


def _claims(view: _View, wanted: Collection[str]) -> dict[str, list[_Claim]]:
    """Give the claims on each of the wanted keys, the one that was approved first first (R44)."""
    found: dict[str, list[_Claim]] = {key: [] for key in wanted}
    for route in view if wanted else ():
        keys = () if view.doubt(route) else view.keys(route)[0]
        for key in keys:
            if key in found:
                found[key].append(view.claim(route))
    for claims in found.values():
        claims.sort(key=lambda one: one[:2])
    return found


def _silent(view: _View, out: Collection[int], entries: Mapping[str, str]) -> set[int]:
    """Give those of the remaps `out`, which lost a key, for which no other entry speaks."""
    silent: set[int] = set()
    for route in view if out else ():
        if route.id in out:
            value = view.claim(route).value
            if not any(key in entries and entries[key] == value for key in view.keys(route)[0]):
                silent.add(route.id)
    return silent


def _doubted(route: Route, reason: str) -> Conflict:
    where = ", ".join(sorted({str(uri) for uri in route.incoming})) or str(route.old)
    return Conflict(where, (route.id,), reason)


def _disagreeing(key: str, claims: Sequence[_Claim]) -> Conflict:
    """Say who keeps a key, and who is kept out (R44)."""
    first = claims[0]
    out = [one for one in claims if first.value is None or one.value != first.value]
    if first.value is None:
        kept = f"remap {first.id}, approved first, can't be written, so that its calls must not follow another's"
    else:
        kept = f"remap {first.id}, approved first, keeps it, and {_named(out)} not written"
    return Conflict(key, _ids(out), f"these remaps fall on one key of this target and have different results: {kept}")


def _circling(
    circle: Sequence[str], entries: Mapping[str, str], claims: Mapping[str, Sequence[_Claim]]
) -> tuple[str, Conflict]:
    """Give the key of a circle whose remap was approved last, and who is kept out with it (R34, R44)."""
    owners = {key: [one for one in claims[key] if one.value == entries[key]] for key in circle}
    last = max(circle, key=lambda key: owners[key][0][:2])
    others = sorted({owners[key][0].id for key in circle if key != last})
    shown = [*circle[:_SHOWN], *(["..."] if len(circle) > _SHOWN else []), circle[0]]
    reason = (
        f"in the keys of this target these remaps are a cycle: {' -> '.join(shown)}: "
        f"{_named(owners[last])} not written, approved after remap {_listed(others)}"
    )
    return last, Conflict(last, _ids(owners[last]), reason)


def _ids(claims: Iterable[_Claim]) -> tuple[int, ...]:
    return tuple(sorted(one.id for one in claims))


def _named(claims: Sequence[_Claim]) -> str:
    return f"remap {_listed(_ids(claims))} {'is' if len(claims) == 1 else 'are'}"


def _listed(ids: Sequence[int]) -> str:
    return ", ".join([*map(str, ids[:_SHOWN]), *(["..."] if len(ids) > _SHOWN else [])])
