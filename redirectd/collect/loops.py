"""Redirects that lead to each other: loops (A to B to A) and chains (A to B to C) in what a log taught (R33, R34)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_HOPS = 10
"""R33: chains are followed no further."""

MAX_SHOWN = 20
"""Loops and chains that are named; more are counted."""


@dataclass(frozen=True, slots=True)
class SeenMove:
    """Calls that got the answer that `old` has moved to `new`; the keys say which URIs are the same place."""

    old_key: str
    old: str
    new_key: str
    new: str
    calls: int


@dataclass(frozen=True, slots=True)
class Way:
    """URIs in their order, and how many calls took each step; in a loop the last step leads to the first URI."""

    uris: tuple[str, ...]
    calls: tuple[int, ...]


def ways(moves: Iterable[SeenMove]) -> tuple[list[Way], list[Way]]:
    """Loops and chains, by each URI's most frequent target. Linear in the number of moves."""
    step: dict[str, SeenMove] = {}
    for move in moves:
        known = step.get(move.old_key)
        if known is None or move.calls > known.calls:
            step[move.old_key] = move
    loops, looping = _loops(step)
    reached = {move.new_key for move in step.values()}
    chains = []
    for key in step:
        if key not in reached and key not in looping:
            chain = _chain(key, step, looping)
            if len(chain) > 1:
                chains.append(_way(chain, closed=False))
    return loops, chains


def _loops(step: dict[str, SeenMove]) -> tuple[list[Way], set[str]]:
    loops: list[Way] = []
    looping: set[str] = set()
    done: set[str] = set()
    for start in step:
        path: list[str] = []
        on_path: set[str] = set()
        key = start
        while key in step and key not in done and key not in on_path:
            path.append(key)
            on_path.add(key)
            key = step[key].new_key
        if key in on_path:
            cycle = path[path.index(key) :]
            looping.update(cycle)
            loops.append(_way([step[one] for one in cycle], closed=True))
        done.update(path)
    return loops, looping


def _chain(key: str, step: dict[str, SeenMove], looping: set[str]) -> list[SeenMove]:
    chain: list[SeenMove] = []
    while key in step and key not in looping and len(chain) < MAX_HOPS:
        chain.append(step[key])
        key = step[key].new_key
    return chain


def _way(moves: list[SeenMove], *, closed: bool) -> Way:
    uris = [move.old for move in moves]
    if not closed:
        uris.append(moves[-1].new)
    return Way(tuple(uris), tuple(move.calls for move in moves))
