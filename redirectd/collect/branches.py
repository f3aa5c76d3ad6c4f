"""Which branches occur in the last stretch of a log, so that a log full of unpaired 301s is not searched for each."""

from __future__ import annotations

import re
from collections import OrderedDict

from redirectd.sources.log import Log

CHUNK = 256 << 10
MOST_CHUNKS = 40
"""Chunks that are remembered: a look back and a little more."""

MOST_BRANCHES = 16_384
"""Branches of one chunk; where more stand, it is searched."""

PATIENCE = 16
"""Looks back that are done the ordinary way first: most logs need no index."""

_BRANCH = re.compile(rb"z9hG4bK([A-Za-z0-9._~*+!-]*+)")
_PLAIN = re.compile(rb"z9hG4bK([A-Za-z0-9._~*+!-]++)")
_LONGEST = 512
"""Bytes behind a chunk that its last branch can reach into; a longer one is searched for."""


class Branches:
    """The branches in each aligned chunk of a log and the files before it. A log only grows: whole chunks stay."""

    def __init__(self) -> None:
        self._looks = 0
        self._logs: dict[int, Log] = {}  # held, so that their ids stay theirs
        self._chunks: OrderedDict[tuple[int, int], frozenset[bytes] | None] = OrderedDict()

    def forget(self) -> None:
        """To be called where a log can have become another one."""
        self._logs.clear()
        self._chunks.clear()

    def may_hold(self, log: Log, low: int, high: int, needle: bytes) -> bool:
        """Whether the branch `needle` can begin in `log[low:high]`; False is sure."""
        self._looks += 1
        plain = _PLAIN.fullmatch(needle)
        if self._looks <= PATIENCE or plain is None or len(needle) > _LONGEST:
            return True
        self._logs[id(log)] = log
        for number in range(low // CHUNK, -(-high // CHUNK)):
            if (number + 1) * CHUNK + _LONGEST > high:
                start = max(log.start, number * CHUNK)
                if needle in log.read(start, high + len(needle) - start):
                    return True
                continue
            known = self._chunk(log, number)
            if known is None or plain[1] in known:
                return True
        return False

    def _chunk(self, log: Log, number: int) -> frozenset[bytes] | None:
        """The branches that begin in a chunk, without the cookie; None for too many."""
        key = id(log), number
        if key not in self._chunks:
            start, end = max(log.start, number * CHUNK), (number + 1) * CHUNK
            found = _BRANCH.findall(log.read(start, end + _LONGEST - start))
            self._chunks[key] = frozenset(found) if len(found) <= MOST_BRANCHES else None
            while len(self._chunks) > MOST_CHUNKS:
                self._chunks.popitem(last=False)
        return self._chunks[key]
