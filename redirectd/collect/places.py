"""Where the byte strings of interest are in a block, found in one pass over it.

The pass is made by `ahocorasick_rs`, which compares many bytes at once (4 to 7 GB/s here for all strings together).
Where that is not installed, one `rfind` for each takes its place: CPython's quickest search, but ten passes are ten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from redirectd.dialects.window import Window

try:
    import ahocorasick_rs as one_pass
except ImportError:  # there is no wheel for this machine
    one_pass = None  # type: ignore[assignment]  # mypy knows a module's name as nothing else

_Finder = Callable[[Window, int], Iterable[int]]


class Found(NamedTuple):
    """Places in a window: of searched byte strings in order, and of each counted one that is anywhere."""

    places: list[int]
    counted: dict[bytes, list[int]]


class Places:
    """Finds all places of some byte strings, none of which is a part of another, and of some that are only counted."""

    def __init__(self, literals: Iterable[bytes], counted: Iterable[bytes] = ()) -> None:
        self._literals = tuple(literals)
        self._counted = tuple(counted)
        # In one order, whatever a process' hashes are: for some others the search takes a way thirty times slower.
        every = tuple(dict.fromkeys((*self._literals, *self._counted)))
        self.longest = max(map(len, every), default=0)
        shared = _shared(every)
        ends = {one[shared:] for one in every}  # what is searched for: of two, one found in the other would be missed
        apart = len(ends) == len(every) and not any(one in other for one in ends for other in ends - {one})
        able = one_pass is not None and apart and shared < min(map(len, every), default=0)
        self._finder = _one_pass(every, shared) if able else _many_passes(every)

    def find(self, window: Window, begin: int) -> Found:
        """Where any of them is whole in `window[begin:]`."""
        places: list[int] = []
        counted: defaultdict[bytes, list[int]] = defaultdict(list)
        for at in self._finder(window, begin):
            if window.startswith(self._literals, at):
                places.append(at)
            if self._counted and window.startswith(self._counted, at):
                for one in self._counted:
                    if window.startswith(one, at):
                        counted[one].append(at)
        return Found(places, counted)


def _one_pass(literals: Iterable[bytes], shared: int) -> _Finder:
    """Finds where any is. Matches never overlap, so the bytes that one can share with the next are left out."""
    ends = [literal[shared:] for literal in literals]
    automaton = one_pass.BytesAhoCorasick(ends, matchkind=one_pass.MatchKind.LeftmostFirst)

    def find(window: Window, begin: int) -> Iterable[int]:
        with memoryview(window) as whole, whole[begin:] as view:
            matches = automaton.find_matches_as_indexes(view)
        return [begin + start - shared for _, start, _ in matches if start >= shared]

    return find


def _shared(literals: Iterable[bytes]) -> int:
    """How many bytes at most one of them can share with another that begins in it and goes on behind it."""
    ends = {one[at:] for one in literals for at in range(1, len(one))}
    return max((len(end) for end in ends for one in literals if one.startswith(end)), default=0)


def _many_passes(literals: Iterable[bytes]) -> _Finder:
    def find(window: Window, begin: int) -> Iterable[int]:
        found: set[int] = set()
        for literal in literals:
            at = window.rfind(literal, begin)
            while at >= 0:
                found.add(at)
                at = window.rfind(literal, begin, at + len(literal) - 1)
        return sorted(found)

    return find
