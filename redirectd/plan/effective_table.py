"""The effective table: what routing does with each old URI once all approved remaps are taken together (R33).

With it, whether an approval would close a cycle (R34).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import overload

from redirectd.plan.route import Approved, Conflict, EffectiveTable, Route, RouteKind, approval_order
from redirectd.plan.target import TargetAnswer
from redirectd.sip.compare import RouteKey, equal, route_key
from redirectd.sip.text import normalize_escapes, printable
from redirectd.sip.uri import Params, SipUri

MAX_DEPTH = 10
"""Hops of the longest chain that is flattened (R33)."""

_NOWHERE = -1
_SHOWN = 10
"""Remaps of a cycle that are named."""

_Place = tuple[str | None, RouteKey]
"""A `matching_key` in two parts, user and all else: a million users share a handful of the latter."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """Remaps by ascending id, one a key; `following[i]` is the index of the next hop, or `_NOWHERE`."""

    remaps: Sequence[Approved]
    following: array[int]
    conflicts: list[Conflict]


class _Routes(Sequence[Route]):
    """The routes from `heads`, each made when it is asked for: a million of them would take 250 MB."""

    def __init__(self, graph: _Graph, heads: array[int]) -> None:
        self._remaps = graph.remaps
        self._following = graph.following
        self._heads = heads

    def __len__(self) -> int:
        return len(self._heads)

    @overload
    def __getitem__(self, at: int) -> Route: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Route]: ...

    def __getitem__(self, at: int | slice) -> Route | Sequence[Route]:
        if isinstance(at, slice):
            return [self._route(head) for head in self._heads[at]]
        return self._route(self._heads[at])

    def __iter__(self) -> Iterator[Route]:
        return map(self._route, self._heads)

    def _route(self, head: int) -> Route:
        first = self._remaps[head]
        at = self._following[head]
        asked = first.incoming, first.incoming_forked, first.also_asked, first.approved_at
        if at == _NOWHERE:
            return Route((first.id,), first.kind, first.old, first.new, *asked)
        hops = [first]
        while at != _NOWHERE:
            hops.append(self._remaps[at])
            at = self._following[at]
        ids = tuple(hop.id for hop in hops)
        return Route(ids, first.kind, first.old, hops[-1].new, *asked)


def matching_key(kind: RouteKind, uri: SipUri) -> RouteKey:
    """Give the key by which remaps of `kind` meet: a gateway is host, port and transport alone (R12)."""
    key = route_key(uri)
    return key.without_user if kind == "gateway" else key


def effective(approved: Iterable[Approved], *, max_depth: int = MAX_DEPTH) -> EffectiveTable:
    """Flatten chains by route key (R33), leaving out whatever has no sure end.

    Left out, and shown: of remaps with one key and different results all but the one approved first (R44),
    of each cycle the remap approved last (R34), and what would make a chain of more than `max_depth` hops of those
    approved before. Linear in the number of remaps; routes come by ascending id.
    """
    graph = _graph(approved)
    remaps, following = graph.remaps, graph.following
    cycles = _cycles(following)
    conflicts = graph.conflicts
    closing = {max(cycle, key=lambda index: approval_order(remaps[index])): cycle for cycle in cycles}
    conflicts += [_closing(last, cycle, remaps) for last, cycle in closing.items()]
    out = set(closing)
    _end_before(out, following)
    too_deep: list[int] = []
    if any(onward != _NOWHERE and _is_deep(following, index, max_depth) for index, onward in enumerate(following)):
        too_deep = _lengthening(graph, out, max_depth)
        conflicts += [_lengthened(remaps[index], max_depth) for index in too_deep]
        out.update(too_deep)
        _end_before(out, following)
    return EffectiveTable(
        routes=_Routes(graph, array("l", (index for index in range(len(following)) if index not in out))),
        conflicts=tuple(conflicts),
        cycles=tuple(tuple(remaps[index].id for index in cycle) for cycle in cycles),
        too_deep=tuple(remaps[index].id for index in too_deep),
    )


def _end_before(out: Collection[int], following: array[int]) -> None:
    """Have no chain go on by a remap that is left out."""
    if out:
        for index, onward in enumerate(following):
            if onward in out:
                following[index] = _NOWHERE


def _lengthening(graph: _Graph, out: Collection[int], max_depth: int) -> list[int]:
    """Give the remaps, by ascending id, each of which makes a chain too long of what was approved before it (R44).

    `before` is the longest chain of accepted remaps that ends at a remap's old URI, in hops.
    """
    following = graph.following
    before = [0] * len(following)
    is_in = bytearray(len(following))
    found = []
    for index in sorted(range(len(following)), key=lambda index: approval_order(graph.remaps[index])):
        if index in out:
            continue
        after, at = 0, following[index]
        while at != _NOWHERE and is_in[at] and after < max_depth:
            after, at = after + 1, following[at]
        if before[index] + 1 + after > max_depth:
            found.append(index)
            continue
        is_in[index] = True
        at, length = index, before[index]
        while (onward := following[at]) != _NOWHERE and before[onward] <= length:
            before[onward] = length = length + 1
            if not is_in[onward]:
                break
            at = onward
    return sorted(found)


def _lengthened(remap: Approved, max_depth: int) -> Conflict:
    """Name a remap that would make a chain too long."""
    reason = (
        f"with remap {remap.id}, approved last, a chain would have more than {max_depth} hops: those approved earlier "
        "stay in routing"
    )
    return Conflict(str(matching_key(remap.kind, remap.old)), (remap.id,), reason)


def _closing(last: int, cycle: Sequence[int], remaps: Sequence[Approved]) -> Conflict:
    """Name the remap of a cycle that was approved last."""
    remap = remaps[last]
    ids = [remaps[index].id for index in cycle]
    shown = ", ".join(map(str, ids[:_SHOWN])) + (", ..." if len(ids) > _SHOWN else "")
    rest = "it leads to its own old URI" if len(ids) == 1 else "the others, approved earlier, stay in routing"
    reason = f"the approved remaps {shown} are a cycle, which remap {remap.id}, approved last, closes: {rest}"
    return Conflict(str(matching_key(remap.kind, remap.old)), (remap.id,), reason)


def _graph(approved: Iterable[Approved]) -> _Graph:
    remaps = sorted(approved, key=attrgetter("id"))
    places, kept = _placed(remaps)
    rivalries = _rivalries(remaps, places, kept)
    if rivalries:
        out = {number for conflict in rivalries for number in conflict.ids}
        places, kept = _placed([remap for remap in remaps if remap.id not in out])
    following = array("l", (places[each.kind].get(_place(each.kind, each.new), _NOWHERE) for each in kept))
    return _Graph(kept, following, rivalries)


_Places = dict[RouteKind, dict[_Place, int]]


def _placed(remaps: Iterable[Approved]) -> tuple[_Places, list[Approved]]:
    """Give the first remap of each key, and its index by the key."""
    places: _Places = {"user": {}, "gateway": {}}
    kept: list[Approved] = []
    for remap in remaps:
        if places[remap.kind].setdefault(_place(remap.kind, remap.old), len(kept)) == len(kept):
            kept.append(remap)
    return places, kept


def _rivalries(remaps: Sequence[Approved], places: _Places, kept: Sequence[Approved]) -> list[Conflict]:
    """Name the remaps whose key has another result by an earlier approval."""
    if len(remaps) == len(kept):
        return []
    sharing: dict[int, list[Approved]] = {}
    for remap in remaps:
        place = places[remap.kind][_place(remap.kind, remap.old)]
        if kept[place] is not remap:
            sharing.setdefault(place, [kept[place]]).append(remap)
    found = []
    for group in sharing.values():
        first = min(group, key=approval_order)
        out = [each for each in group if not equal(first.new, each.new)]
        if out:
            found.append(_rivalry(first, out))
    return found


def _place(kind: RouteKind, uri: SipUri) -> _Place:
    user = uri.user
    if user is None or kind == "gateway":
        return None, _address(uri.scheme, uri.host, uri.port, uri.params)
    return normalize_escapes(user), _address(uri.scheme, uri.host, uri.port, uri.params)


@lru_cache(maxsize=4096)  # gateways and domains are few, and each is met often
def _address(scheme: str, host: str, port: int | None, params: Params) -> RouteKey:
    return route_key(SipUri(scheme, None, None, host, port, params))


def _rivalry(first: Approved, out: Sequence[Approved]) -> Conflict:
    results = ", ".join(printable(str(remap.new), 200) for remap in out[:5])
    reason = (
        f"remap {first.id}, approved first, keeps this key with {printable(str(first.new), 200)}; "
        f"approved later with other new URIs, and not written: {results}"
    )
    return Conflict(str(matching_key(first.kind, first.old)), tuple(remap.id for remap in out), reason)


def _cycles(following: Sequence[int]) -> list[list[int]]:
    """Find each cycle once, from its lowest index on."""
    unseen, walking, done = 0, 1, 2
    state = bytearray(len(following))
    cycles = []
    for start, onward in enumerate(following):
        if onward == _NOWHERE or state[start] == done:
            continue
        walk = []
        at = start
        while at != _NOWHERE and state[at] == unseen:
            state[at] = walking
            walk.append(at)
            at = following[at]
        if at != _NOWHERE and state[at] == walking:
            cycle = walk[walk.index(at) :]
            lowest = cycle.index(min(cycle))
            cycles.append(cycle[lowest:] + cycle[:lowest])
        for index in walk:
            state[index] = done
    return cycles


def _is_deep(following: Sequence[int], start: int, max_depth: int) -> bool:
    """Say if a chain has more than `max_depth` hops, walking no further than that."""
    at = start
    for _ in range(max_depth):
        at = following[at]
        if at == _NOWHERE:
            return False
    return True


def would_close_cycle(approved: Iterable[Approved], candidate: Approved) -> tuple[int, ...] | None:
    """Give the ids of the cycle that approving `candidate` would close, `candidate` first, or None.

    Approved remaps of the candidate's own old key don't count: the approval replaces them (R30).
    Linear in the number of remaps.
    """
    goal = matching_key(candidate.kind, candidate.old)
    by_key: dict[RouteKey, list[Approved]] = {}
    for remap in approved:
        if remap.kind == candidate.kind and remap.id != candidate.id:
            key = matching_key(remap.kind, remap.old)
            if key != goal:
                by_key.setdefault(key, []).append(remap)
    start = matching_key(candidate.kind, candidate.new)
    came_by: dict[RouteKey, tuple[RouteKey, int] | None] = {start: None}
    waiting = [start]
    while waiting:
        at = waiting.pop()
        if at == goal:
            return (candidate.id, *_way_to(at, came_by))
        for remap in by_key.get(at, ()):
            onward = matching_key(remap.kind, remap.new)
            if onward not in came_by:
                came_by[onward] = (at, remap.id)
                waiting.append(onward)
    return None


def _way_to(key: RouteKey, came_by: dict[RouteKey, tuple[RouteKey, int] | None]) -> list[int]:
    ids = []
    step = came_by[key]
    while step is not None:
        before, remap_id = step
        ids.append(remap_id)
        step = came_by[before]
    return ids[::-1]


_KINDS: tuple[RouteKind, ...] = ("user", "gateway")


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer for `uri`: `result` is None where nothing applies, and `reason` says why if remaps exist."""

    uri: SipUri
    result: SipUri | None
    hops: tuple[Approved, ...] = ()
    reason: str | None = None
    targets: tuple[tuple[str, str, TargetAnswer], ...] = ()
    """Name and width of each configured target, and what its server does with the URI."""


def lookup(approved: Iterable[Approved], uri: SipUri) -> Lookup:
    """Say what the routing built from `approved` does with `uri`.

    A user's remap is looked for before a gateway's; a gateway's only where the URI has no user.
    Where a conflict, a cycle or the depth keeps a URI out of the routing, its hops are given all the same.
    """
    remaps = sorted(approved, key=lambda each: each.id)
    table = effective(remaps)
    by_id = {remap.id: remap for remap in remaps}
    for kind in _KINDS:
        if kind == "gateway" and uri.user is not None:
            continue
        key = matching_key(kind, uri)
        for route in table.routes:
            if route.kind == kind and matching_key(kind, route.old) == key:
                return Lookup(uri, route.new, tuple(by_id[hop] for hop in route.ids))
        found = [each for each in remaps if each.kind == kind and matching_key(kind, each.old) == key]
        if found:
            return Lookup(uri, None, tuple(found), _why_not(table, found))
    return Lookup(uri, None)


def _why_not(table: EffectiveTable, found: list[Approved]) -> str | None:
    ids = {remap.id for remap in found}
    return next((conflict.reason for conflict in table.conflicts if ids & set(conflict.ids)), None)


def lookup_json(answer: Lookup) -> dict[str, object]:
    """Give the document of ``redirectd lookup --json``."""
    return {
        "uri": printable(str(answer.uri)),
        "result": None if answer.result is None else str(answer.result),
        "hops": [
            {"id": hop.id, "old_uri": str(hop.old), "new_uri": str(hop.new), "state": "approved"} for hop in answer.hops
        ],
        "reason": answer.reason,
        "targets": [
            {
                "name": name,
                "width": width or None,
                "result": each.result,
                "id": each.id,
                "why": None if each.why is None else printable(each.why),
            }
            for name, width, each in answer.targets
        ],
    }
