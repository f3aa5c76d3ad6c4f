"""R6: the request behind a response, looked for backwards in the log by its branch, never by order alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import cast

from redirectd.collect.branches import OVERLAP, Branches
from redirectd.collect.scan import Block
from redirectd.dialects.frame import Dialect, Direction, Frame, GlimpsingCalls
from redirectd.dialects.framing import Stretch
from redirectd.dialects.plain import NO_REQUEST
from redirectd.dialects.window import REACH, Window
from redirectd.sip.message import MessageError, Request, Response, parse_message
from redirectd.sip.text import to_bytes
from redirectd.sources.log import Log

LOOK_BACK = 8 << 20
"""Bytes before a response in which its request is looked for, on into the rotated file before."""

MOST_WINDOWS = 8
"""Stretches further back with the same branch or Call-ID that are looked at."""

_NEAR = 32 << 10
"""Bytes before an answer in which nearly every request is."""

MAX_TRIES = 256
"""Messages with the same branch or Call-ID that are looked at; a transaction has a handful, a hostile one more."""

MAX_OLDER = 16
"""Rotated files that are searched."""

_SURE_BRANCH = 12
"""A branch at least this long is looked for, else the Call-ID: `z9hG4bK` and a few characters."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it was found: its frame, the window that this lies in, and its offset in the log.

    `position` is None where the request is in a rotated file before the answer's.
    """

    request: Request
    frame: Frame
    window: Window
    position: int | None

    @property
    def stamp(self) -> str:
        """Its time as written, '' where the log has none."""
        return self.frame.stamp

    @property
    def record(self) -> bytes:
        """The request as it is in the log."""
        return bytes(self.window[self.frame.start : self.frame.end])


def find_request(
    log: Log, block: Block, frame: Frame, response: Response, dialect: Dialect, branches: Branches | None = None
) -> Asked | None:
    """The request that `response` answers, or None where the bounded stretch does not hold it (R7).

    `branches` remembers what is in that stretch, for logs in which many requests are not to be found. One that is in
    doubt is taken only where nothing else is found (R40).
    """
    via, cseq, call_id = response.top_via, response.cseq, response.call_id
    if cseq is None or call_id is None:
        return None
    branch = to_bytes(via.branch or "") if via else b""
    needle = needle_of(branch, to_bytes(call_id), dialect)
    spot = frame.start, frame.end
    glimpsing = glimpsing_calls(dialect)
    found: list[Asked] = []
    doubtful: list[Asked] = []
    for window, base, at in islice(places(log, block, spot, needle, branches or Branches()), MAX_TRIES):
        if found and window is not found[0].window:
            break
        if glimpsing is not None and glimpsing.glimpse_request(window, at) is NO_REQUEST:
            continue
        asked = _request_at(window, base, at, dialect)
        if asked is not None and answers(response, asked.request):
            if not asked.frame.authenticity.is_authentic:
                doubtful.append(asked)
            elif branch:
                return asked
            else:
                found.append(asked)
    return _of_one_fork(found or doubtful[:1], frame)


def _of_one_fork(found: Sequence[Asked], answer: Frame) -> Asked | None:
    """R9: the forks of a call share Call-ID and CSeq; without a branch, only their destinations distinguish them."""
    if len({one.request.uri_text for one in found}) > 1:
        found = [one for one in found if _place(one.frame) == _place(answer)]
        if len({one.request.uri_text for one in found}) > 1:
            return None
    return found[0] if found else None


def _place(frame: Frame) -> tuple[str, int | None] | None:
    """Address and port of the other side; where the direction is unknown, `peer` is who sent it."""
    is_request = frame.direction is Direction.UNKNOWN and not frame.payload.lstrip().startswith(b"SIP/")
    peer = frame.local if is_request else frame.peer
    return (peer.address, peer.port) if peer else None


def glimpsing_calls(dialect: Dialect) -> GlimpsingCalls | None:
    """The dialect, if it can recognize a request at a glance."""
    return cast("GlimpsingCalls", dialect) if _glimpses_calls(type(dialect)) else None


@cache  # the question costs more than a glance
def _glimpses_calls(kind: type) -> bool:
    return issubclass(kind, GlimpsingCalls)


def needle_of(branch: bytes, call_id: bytes, dialect: Dialect) -> bytes:
    """What a request is looked for by, as it is written in the log."""
    return dialect.spell(branch if len(branch) >= _SURE_BRANCH else call_id)


def answers(response: Response, request: Request) -> bool:
    """Whether the two are of one transaction (17.1.3): top branch, CSeq, Call-ID; never an ACK or CANCEL."""
    asked, told = request.cseq, response.cseq
    if asked is None or asked != told or request.method != asked.method or request.call_id != response.call_id:
        return False
    ours, theirs = request.top_via, response.top_via
    return ours is None or theirs is None or ours.branch == theirs.branch


def _request_at(window: Window, base: int | None, at: int, dialect: Dialect) -> Asked | None:
    """The request there; a page remembers it, since a stranger can send one branch any number of times."""
    if not isinstance(window, Stretch):
        return _read_request(window, base, at, dialect)
    key = Asked, dialect.name, at
    known = window.places.get(key)
    if known is None:
        known = window.places[key] = at, at, _read_request(window, base, at, dialect)
    asked: Asked | None = known[2]
    return asked


def _read_request(window: Window, base: int | None, at: int, dialect: Dialect) -> Asked | None:
    framed = dialect.frame(window, at, final=True)
    if not isinstance(framed, Frame) or framed.direction is Direction.RECEIVED:
        return None  # what was received with this branch is another element's transaction
    try:
        message = parse_message(framed.payload)
    except MessageError:
        return None
    if not isinstance(message, Request):
        return None
    return Asked(message, framed, window, None if base is None else base + framed.start)


_Place = tuple[Window, int | None, int]
"""A window, its offset in the log of the answer (None: it is of an older file), and a position in it."""


def places(log: Log, block: Block, spot: tuple[int, int], needle: bytes, branches: Branches) -> Iterator[_Place]:
    """Where the needle occurs: backwards from the response at `spot`, nearest first, then ahead of it in the block.

    Writers of several threads can log a request after its answer, hence the look ahead.
    """
    window = block.window
    start, end = spot
    # What begins before the window can't be read in it: such a border is left to the next stretch.
    low = min(OVERLAP, start) if block.base > log.start else 0
    near = max(low, start - _NEAR)
    for at in _found_back(window, needle, near, start):
        yield window, block.base, at
    indexed = branches.within(window, needle, low, near) if near > low else ()
    for at in _found_back(window, needle, low, near + len(needle) - 1) if indexed is None else reversed(indexed):
        yield window, block.base, at
    lowest = block.base + start - LOOK_BACK
    yield from _further_back(log, block.base + low, lowest, needle, branches)
    for older, _base, at in _in_older(log, -lowest, needle, branches):
        yield older, None, at
    indexed = branches.within(window, needle, end, end + REACH)
    for at in _found_ahead(window, needle, end) if indexed is None else indexed:
        yield window, block.base, at


def _found_ahead(window: Window, needle: bytes, end: int) -> Iterator[int]:
    at = window.find(needle, end, end + REACH)
    while at >= 0:
        yield at
        at = window.find(needle, at + 1, end + REACH)


def _found_back(window: Window, needle: bytes, low: int, high: int) -> Iterator[int]:
    at = window.rfind(needle, low, high)
    while at >= 0:
        yield at
        at = window.rfind(needle, low, at)


def _in_older(log: Log, left: int, needle: bytes, branches: Branches) -> Iterator[tuple[Window, int, int]]:
    """In the last `left` bytes before `log`, through short rotated files that lie between a request and its answer."""
    for _ in range(MAX_OLDER):
        older = log.previous() if left > 0 else None
        if older is None:
            return
        end = older.end()
        yield from _further_back(older, end, end - left, needle, branches)
        left -= end
        log = older


def _further_back(
    log: Log, high: int, lowest: int, needle: bytes, branches: Branches
) -> Iterator[tuple[Window, int, int]]:
    for begin, end in islice(branches.chunks(log, max(lowest, log.start), high, needle), MOST_WINDOWS):
        window, base = branches.around(log, begin)
        for at in _found_back(window, needle, begin - base, end - base + len(needle) - 1):
            yield window, base, at
