"""Where the branches and Call-IDs of a log's last stretch are, so that a log full of unpaired 301s is not searched
for each."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import islice

from redirectd.dialects.framing import Stretch
from redirectd.dialects.window import REACH
from redirectd.sources.log import Log

CHUNK = 256 << 10
OVERLAP = 9 * REACH // 4
"""Bytes by which searched stretches overlap, so that the entries around a place on their border are walked to."""

MOST_CHUNKS = 80
"""Chunks that are remembered: a look back and a little more, by branch and by Call-ID."""

MOST_NAMES = 16_384
"""Names in one chunk; where more are, it is searched."""

PATIENCE = 16
"""Looks back that are done the ordinary way first: most logs need no index."""

_AT_ONCE = 4
"""Chunks that one look indexes: the others are searched."""

_MOST_WINDOWS = 8
_LONGEST = 512
"""Bytes behind a chunk that its last name can reach into; a longer one is searched for."""

_WHITE = rb"(?:[ \t]|\.?\r?\n(?=[ \t])|#015#012(?=[ \t])|\\r\\n(?=[ \t])){0,16}+"
_CALL = rb"(?:[cC][aA][lL][lL]-[iI][dD]|[\n2n ]i)[ \t]{0,8}+:" + _WHITE


class _Name(Enum):
    """What a needle is: how names of its kind are found in a log, and what is one.

    A `.` at a name's end can be ngrep's for a CR, so it is left out of the index.
    """

    BRANCH = rb"z9hG4bK", rb"([A-Za-z0-9._~*+!-]*+)"
    ARRAY = rb"122,57,104,71,52,98,75,", rb"((?:(?!(?:59|44|13|10|32|34|62),)[0-9]{1,3},)*+)"
    CALL = _CALL, rb"([A-Za-z0-9._~*+!@:-]*+)"

    def __init__(self, lead: bytes, name: bytes) -> None:
        self.lead = b"" if self.name == "CALL" else lead
        self.found = re.compile(lead + name)
        self.exact = re.compile(self.lead + name)


def _named(needle: bytes) -> tuple[_Name, bytes] | None:
    """Which kind of name a needle is, and what of it is in the index; None for what is searched for."""
    if len(needle) > _LONGEST:
        return None
    for kind in _Name:
        match = kind.exact.fullmatch(needle + b"," if kind is _Name.ARRAY else needle)
        if match is not None and match[1]:
            return kind, match[1].rstrip(b".")
    return None


class Branches:
    """The names in each aligned chunk of a log and the files before it. A log only grows: whole chunks stay."""

    def __init__(self) -> None:
        self._looks = 0
        self._logs: dict[int, Log] = {}  # held, so that their ids stay theirs
        self._chunks: OrderedDict[tuple[int, int, _Name], frozenset[bytes] | None] = OrderedDict()
        self._windows: OrderedDict[tuple[int, int], Stretch] = OrderedDict()

    def forget(self) -> None:
        """To be called where a log can have become another one."""
        self._logs.clear()
        self._chunks.clear()
        self._windows.clear()

    def within(self, page: Stretch, needle: bytes, low: int, high: int) -> Sequence[int] | None:
        """Where the needle begins in `page[low:high]`; None where that is to be searched."""
        named = _named(needle)
        if named is None:
            return None
        looks, _, index = page.places.get(named[0], (0, 0, None))
        if index is None:
            index = _index_of(page, named[0]) if looks == PATIENCE else None
            page.places[named[0]] = looks + 1, 0, index
            if index is None:
                return None
        places: Sequence[int] = index.get(named[1], ())
        return places[bisect_left(places, low) : bisect_left(places, high)]

    def chunks(self, log: Log, low: int, high: int, needle: bytes) -> Iterator[tuple[int, int]]:
        """The parts of `log[low:high]`, the last first, in which the needle can begin."""
        self._looks += 1
        named = _named(needle) if self._looks > PATIENCE else None
        self._logs[id(log)] = log
        left = _AT_ONCE
        for number in range(-(-high // CHUNK) - 1, low // CHUNK - 1, -1):
            begin, end = max(low, number * CHUNK), min(high, (number + 1) * CHUNK)
            if begin >= end:
                continue
            if named is not None and (number + 1) * CHUNK + _LONGEST <= high:
                key = id(log), number, named[0]
                if key not in self._chunks and left:
                    left -= 1
                    self._keep(key, log)
                known = self._chunks.get(key)
                if known is not None:
                    if named[1] in known:
                        yield begin, end
                    continue
            if needle in log.read(begin, end - begin + len(needle) - 1):
                yield begin, end

    def around(self, log: Log, begin: int) -> tuple[Stretch, int]:
        """The chunk that holds `begin` with what is around it, and its offset in the log."""
        number = begin // CHUNK
        base = max(log.start, number * CHUNK - OVERLAP)
        window = self._windows.get((id(log), number))
        if window is None:
            size = (number + 1) * CHUNK + OVERLAP - base
            window = Stretch(log.read(base, size))
            if len(window) == size:
                self._logs[id(log)] = log
                self._windows[id(log), number] = window
                while len(self._windows) > _MOST_WINDOWS:
                    self._windows.popitem(last=False)
        else:
            self._windows.move_to_end((id(log), number))
        return window, base

    def _keep(self, key: tuple[int, int, _Name], log: Log) -> None:
        _, number, kind = key
        start, end = max(log.start, number * CHUNK), (number + 1) * CHUNK
        found = list(islice(kind.found.finditer(log.read(start, end + _LONGEST - start)), MOST_NAMES + 1))
        names = frozenset(one[1].rstrip(b".") for one in found)
        self._chunks[key] = names if len(found) <= MOST_NAMES else None
        while len(self._chunks) > MOST_CHUNKS:
            self._chunks.popitem(last=False)


def _index_of(page: Stretch, kind: _Name) -> Mapping[bytes, list[int]] | None:
    index: defaultdict[bytes, list[int]] = defaultdict(list)
    for count, match in enumerate(kind.found.finditer(bytes(page))):
        if count == 2 * MOST_NAMES:
            return None
        index[match[1].rstrip(b".")].append(match.start(1) - len(kind.lead))
    return index
