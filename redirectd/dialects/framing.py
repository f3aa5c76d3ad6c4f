"""One forward walk over the entries of a log: what lies in an entry is that entry's alone (R38, R40).

A grammar declares how the entries of one writer begin and end. The walk goes from one entry's end to the next head,
beginning well before the place that is asked for, and never looks for an entry inside another. Where a length given by
text reaches over a head of the same writer, both readings are kept, without recursion: the entry ends at that head, and
whatever begins before the end that the length gives is in doubt.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable
from weakref import ref

from redirectd.dialects.frame import Authenticity
from redirectd.dialects.window import REACH, Window

_WAY_BACK = REACH + 8192
"""Bytes before a place in which the entry that holds it begins: no server takes a larger message."""
_RESYNC = 2 * _WAY_BACK
"""Bytes before a place from which a new walk begins: should that be within a message, whatever its text makes of the
walk has come to an end before the place."""
_GLANCE = 8192
"""Bytes behind a place in which the next head is looked for."""
_LONGEST_MARK = 32
_WALKS_HELD = 4
_WORTH_SKIPPING = 2048
"""Bytes that hold more than an entry or two."""
_AHEAD = REACH // 2


class Stretch(bytearray):
    """A window that remembers what was found in it, for as long as its bytes stay the same.

    `gappy`: empty lines may be missing in it, so that what a program counted reaches too far.
    """

    __slots__ = ("__weakref__", "gappy", "places", "walks")

    def __init__(self, content: bytes | bytearray | memoryview | int = b"", *, gappy: bool = False) -> None:
        super().__init__(content)
        self.gappy = gappy
        self.walks: dict[tuple[Any, bool], list[Any]] = {}
        self.places: dict[Any, tuple[int, int, Any]] = {}

    def forget(self) -> None:
        """To be called where its bytes have become others."""
        self.walks.clear()
        self.places.clear()


class Ending(NamedTuple):
    """Where an entry ends.

    `message` is the end of its SIP message, `behind` that of all its text: the next entry begins there at the
    earliest. `claimed` is where a length that can't be relied on says it ends, if that is behind `behind`; `lands`: the
    next head is right there, so that what lies between adds no doubt of its own. `cut`: the message is not whole.
    `waits`: more bytes behind the window can belong to it. `parts` are the ends of its messages if it has several.
    """

    message: int
    behind: int
    claimed: int = 0
    cut: bool = False
    waits: bool = False
    parts: tuple[int, ...] = ()
    lands: bool = False


class Headed(Protocol):
    """An entry's head as a grammar reads it."""

    @property
    def start(self) -> int:
        """Where the entry begins."""
        ...

    @property
    def begin(self) -> int:
        """Where its message begins."""
        ...


H = TypeVar("H", bound=Headed)


class Grammar(Protocol[H]):
    """How the entries of one writer begin and end. Stateless."""

    def next_head(self, window: Window, at: int, stop: int, low: int = 0) -> H | None:
        """The first head that has its mark from `at` on and before `stop`; nothing before `low` is of its entry."""
        ...

    def ending(self, window: Window, head: H, *, final: bool) -> Ending:
        """Where the entry of `head` ends. `final`: nothing follows the window."""
        ...

    def skip(self, window: Window, low: int, at: int) -> list[int]:
        """The ends of the plain entries that follow each other from `low` on and end before `at`; none by default.

        Plain are entries whose end is sure and that hold no more than one message: they are passed over at less cost.
        """
        return []


@runtime_checkable
class Walking(Protocol):
    """A dialect whose entries are found by a walk; `reads_lines`: and entries of one line, too."""

    grammar: ClassVar[Grammar[Any]]
    reads_lines: ClassVar[bool]


@dataclass(frozen=True, slots=True)
class Walked(Generic[H]):
    """An entry that a walk has come over. `doubtful`: it begins within what a doubtful length covers (R40)."""

    head: H
    ending: Ending
    doubtful: bool

    @property
    def authenticity(self) -> Authenticity:
        """Of a message in it."""
        return Authenticity.UNPROVEN if self.doubtful else Authenticity.FRAMED


class Walk(Generic[H]):
    """The entries of one grammar in a window from `low` on, as far as anybody asked."""

    def __init__(self, window: Window, grammar: Grammar[H], low: int, *, final: bool) -> None:
        self.low = self.position = low
        # A stretch keeps its walks: if they kept it too, megabytes would wait for the garbage collector.
        self._window_of: Callable[[], Window | None] = ref(window) if isinstance(window, Stretch) else lambda: window
        self._grammar, self._final = grammar, final
        self._entries: list[Walked[H]] = []
        self._starts: list[int] = []
        # To where each doubtful stretch and all before go, the start of the cause, and whether it lands there.
        self._doubts: list[tuple[int, int, bool]] = []
        self._doubt_begins: list[int] = []
        self._passed: list[list[int]] = []  # stretches of plain entries: where one begins, and each of its ends
        self._skip_from = low  # before there, an entry that is not plain is near
        self._next: H | None = None
        self._searched = low

    @property
    def _window(self) -> Window:
        window = self._window_of()
        assert window is not None, "whoever asks a walk has its window"
        return window

    def around(self, at: int) -> Walked[H] | None:
        """The entry that holds `at`, or None where no entry of this writer does."""
        self._go(at)
        for ends in reversed(self._passed):
            if ends[0] <= at < ends[-1]:
                return self._within(ends, at)
        index = bisect_right(self._starts, at) - 1
        if index < 0:
            return None
        entry = self._entries[index]
        return entry if at < entry.ending.behind or (entry.ending.waits and not self._final) else None

    def doubt(self, at: int) -> int:
        """Start of the entry whose doubtful length reaches over `at`; -1 where none does."""
        doubt = self._doubt(at)
        return doubt[1] if doubt is not None else -1

    def _doubt(self, at: int) -> tuple[int, int, bool] | None:
        index = bisect_right(self._doubt_begins, at) - 1
        return self._doubts[index] if index >= 0 and at < self._doubts[index][0] else None

    def quiet_until(self, at: int) -> int:
        """Up to where no entry of this writer begins, as far as is known."""
        if self._next is not None:
            return self._next.start
        return self._searched if self.position <= at else at

    def _go(self, at: int) -> None:
        stop = min(len(self._window), at + _GLANCE)
        while True:
            if at - self.position > _WORTH_SKIPPING and self.position >= self._skip_from:
                self._skip(at)
            if self._next is None:
                begin = max(self.position, self._searched)
                self._next = self._grammar.next_head(self._window, begin, stop, self.position) if begin < stop else None
                if self._next is None:
                    self._searched = max(self._searched, stop - _LONGEST_MARK)
                    return
            if self._next.start > at:
                return
            self._take(self._next)

    def _skip(self, at: int) -> None:
        """Passes over plain entries, of which only the ends are kept."""
        self._skip_from = self.position + _WORTH_SKIPPING
        if self.doubt(self.position) >= 0:
            return
        ends = self._grammar.skip(self._window, self.position, at)
        if ends:
            self._passed.append([self.position, *ends])
            self.position = ends[-1]
            if self._next is not None and self._next.start < self.position:
                self._next = None

    def _within(self, ends: list[int], at: int) -> Walked[H] | None:
        """The plain entry that holds `at`, of a stretch that was passed over."""
        index = bisect_right(ends, at)
        head = self._grammar.next_head(self._window, ends[index - 1], ends[index], ends[index - 1])
        if head is None or head.start > at:
            return None
        return Walked(head, self._grammar.ending(self._window, head, final=self._final), doubtful=False)

    def _take(self, head: H) -> None:
        ending = self._grammar.ending(self._window, head, final=self._final)
        doubt = self._doubt(head.start)
        self._entries.append(Walked(head, ending, doubtful=doubt is not None))
        self._starts.append(head.start)
        within_two_readings = doubt is not None and doubt[2]
        if ending.claimed > ending.behind and not within_two_readings:
            until = min(ending.claimed, head.start + _WAY_BACK)
            known = self._doubts[-1] if self._doubts else (0, 0, False)
            self._doubts.append((until, head.start, ending.lands) if until > known[0] else known)
            self._doubt_begins.append(ending.behind)
        self.position = max(ending.behind, head.begin, head.start + 1)
        self._next = None


def walk_to(window: Window, grammar: Grammar[H], at: int, *, final: bool) -> Walk[H]:
    """The walk that has come, or can come, to `at`: one that a page remembers, or a new one from well before."""
    if final:  # what doesn't wait for more is the same, whatever comes
        walk = walk_to(window, grammar, at, final=False)
        entry = walk.around(at)
        if entry is None or not entry.ending.waits:
            return walk
    if not isinstance(window, Stretch):
        return Walk(window, grammar, max(0, at - _RESYNC), final=final)
    held: list[Walk[H]] = window.walks.setdefault((grammar, final), [])
    for walk in reversed(held):
        if walk.low <= at and (at - walk.position <= _RESYNC or walk.quiet_until(at) > at):
            return walk
    walk = Walk(window, grammar, max(0, at - _RESYNC), final=final)
    held.append(walk)
    del held[:-_WALKS_HELD]
    return walk


def entry_around(window: Window, grammar: Grammar[H], at: int, *, final: bool) -> Walked[H] | None:
    """The entry of a grammar's writer that holds `at`."""
    return walk_to(window, grammar, at, final=final).around(at)


def doubt_at(window: Window, at: int, but: Grammar[Any] | None = None) -> int:
    """Start of the entry whose doubtful length reaches over `at` for any writer that was walked (R40); -1 for none.

    `but` is the grammar of whoever reads the place in a text of its own, and knows its own doubts.
    """
    if isinstance(window, Stretch):
        for (grammar, _), held in window.walks.items():
            for walk in held if grammar is not but else ():
                cause: int = walk.doubt(at) if walk.low <= at else -1
                if cause >= 0:
                    return cause
    return -1


def ahead(window: Window, pattern: re.Pattern[bytes], at: int, stop: int) -> re.Match[bytes] | None:
    """The first match of `pattern` from `at` on that ends by `stop`; many heads in a row ask for the same one."""
    if not isinstance(window, Stretch):
        return pattern.search(window, at, stop)
    known = window.places.get(pattern)
    if known is not None:
        low, high, match = known
        if low <= at and (at <= match.start() if match is not None else stop <= high):
            return match if match is not None and match.end() <= stop else None
    high = min(len(window), stop + _AHEAD)  # so that the next places' are known, too
    match = pattern.search(window, at, high)
    window.places[pattern] = (at, high, match)
    return match if match is not None and match.end() <= stop else None


def find_ahead(window: Window, literal: bytes, at: int, stop: int) -> int:
    """Where `literal` next appears from `at` on and whole before `stop`, or -1; see `ahead`."""
    if not isinstance(window, Stretch):
        return window.find(literal, at, stop)
    known = window.places.get(literal)
    if known is not None:
        low, high, found = known
        if low <= at and (at <= found if found >= 0 else stop <= high):
            return found if 0 <= found <= stop - len(literal) else -1
    high = min(len(window), stop + _AHEAD)  # so that the next places' are known, too
    found = window.find(literal, at, high)
    window.places[literal] = (at, high, found)
    return found if 0 <= found <= stop - len(literal) else -1
