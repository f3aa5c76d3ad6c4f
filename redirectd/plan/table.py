"""The effective table: what routing does with each old URI once all approved remaps are taken together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from redirectd.plan.route import Approved, Conflict, EffectiveTable, Route, RouteKind
from redirectd.sip.compare import equal
from redirectd.sip.routekey import RouteKey, route_key
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri

MAX_DEPTH = 10
"""Hops of the longest chain that is flattened (R33)."""

_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class _Graph:
    """Remaps by ascending id, one a key; `following[i]` is the index of the next hop, or `_NOWHERE`."""

    remaps: list[Approved]
    keys: list[RouteKey]
    following: list[int]
    conflicts: list[Conflict]


def matching_key(kind: RouteKind, uri: SipUri) -> RouteKey:
    """Give the key by which remaps of `kind` meet: a gateway is host, port and transport alone (R12)."""
    key = route_key(uri)
    return key.without_user if kind == "gateway" else key


def effective(approved: Iterable[Approved], *, max_depth: int = MAX_DEPTH) -> EffectiveTable:
    """Flatten chains by route key (R33), leaving out whatever has no sure end.

    Left out, and shown: remaps with one key and different results (a chain through such a key ends
    before it, at what was approved), every remap of a cycle and every one that leads into it (R34),
    and chains of more than `max_depth` hops. Linear in the number of remaps; routes come by ascending id.
    """
    graph = _graph(approved)
    cycles, lost = _cycles(graph.following)
    routes: list[Route] = []
    too_deep: list[int] = []
    conflicts = graph.conflicts
    in_cycle = {index for cycle in cycles for index in cycle}
    for index, first in enumerate(graph.remaps):
        if lost[index]:
            if index not in in_cycle:
                conflicts.append(Conflict(str(graph.keys[index]), (first.id,), "leads into a cycle of approved remaps"))
            continue
        hops = _hops(graph.following, index, max_depth)
        if len(hops) > max_depth:
            too_deep.append(first.id)
            continue
        routes.append(_route(graph, hops))
    return EffectiveTable(
        routes=tuple(routes),
        conflicts=tuple(conflicts),
        cycles=tuple(tuple(graph.remaps[index].id for index in cycle) for cycle in cycles),
        too_deep=tuple(too_deep),
    )


def _graph(approved: Iterable[Approved]) -> _Graph:
    places: dict[RouteKind, dict[RouteKey, int]] = {"user": {}, "gateway": {}}
    rivals: dict[int, list[Approved]] = {}
    remaps: list[Approved] = []
    keys: list[RouteKey] = []
    for remap in sorted(approved, key=lambda each: each.id):
        key = matching_key(remap.kind, remap.old)
        place = places[remap.kind].setdefault(key, len(remaps))
        if place == len(remaps):
            remaps.append(remap)
            keys.append(key)
        elif not equal(remaps[place].new, remap.new):
            rivals.setdefault(place, [remaps[place]]).append(remap)
    conflicts = [_rivalry(keys[place], remaps_of_key) for place, remaps_of_key in rivals.items()]
    following = [places[remap.kind].get(matching_key(remap.kind, remap.new), _NOWHERE) for remap in remaps]
    return _without(_Graph(remaps, keys, following, conflicts), rivals)


def _without(graph: _Graph, places: Iterable[int]) -> _Graph:
    gone = set(places)
    if not gone:
        return graph
    kept = [index for index in range(len(graph.remaps)) if index not in gone]
    moved = {old: new for new, old in enumerate(kept)}
    return _Graph(
        [graph.remaps[index] for index in kept],
        [graph.keys[index] for index in kept],
        [moved.get(graph.following[index], _NOWHERE) for index in kept],
        graph.conflicts,
    )


def _rivalry(key: RouteKey, remaps: list[Approved]) -> Conflict:
    results = ", ".join(printable(str(remap.new), 200) for remap in remaps[:5])
    return Conflict(str(key), tuple(remap.id for remap in remaps), f"approved with different new URIs: {results}")


def _cycles(following: list[int]) -> tuple[list[list[int]], bytearray]:
    """Find each cycle once, from its lowest index on, and which indexes are in or lead into one."""
    unseen, walking, done = 0, 1, 2
    state = bytearray(len(following))
    lost = bytearray(len(following))
    cycles = []
    for start in range(len(following)):
        walk = []
        at = start
        while at != _NOWHERE and state[at] == unseen:
            state[at] = walking
            walk.append(at)
            at = following[at]
        endless = at != _NOWHERE and (state[at] == walking or bool(lost[at]))
        if at != _NOWHERE and state[at] == walking:
            cycle = walk[walk.index(at) :]
            lowest = cycle.index(min(cycle))
            cycles.append(cycle[lowest:] + cycle[:lowest])
        for index in walk:
            state[index] = done
            lost[index] = endless
    return cycles, lost


def _hops(following: list[int], start: int, max_depth: int) -> list[int]:
    """Walk to the chain's end, or one hop further than allowed."""
    hops = [start]
    at = following[start]
    while at != _NOWHERE and len(hops) <= max_depth:
        hops.append(at)
        at = following[at]
    return hops


def _route(graph: _Graph, hops: list[int]) -> Route:
    first = graph.remaps[hops[0]]
    return Route(
        tuple(graph.remaps[index].id for index in hops) if len(hops) > 1 else (first.id,),
        first.kind,
        graph.keys[hops[0]],
        first.old,
        graph.remaps[hops[-1]].new,
        first.incoming,
        first.incoming_forked,
    )
