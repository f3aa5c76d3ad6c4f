"""Whether an approval would close a cycle (R34)."""

from __future__ import annotations

from collections.abc import Iterable

from redirectd.plan.effective_table import matching_key
from redirectd.plan.route import Approved
from redirectd.sip.routekey import RouteKey


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
