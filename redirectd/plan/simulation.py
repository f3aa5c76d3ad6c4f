"""What routing would have done with the requests of a log: which go elsewhere, and which were answered where they went.

A moved request that was answered at its old place is the sign of a wrong move. Callers and carriers can fake both sides
of a log, so a simulation is shown to people and decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from redirectd.plan.effective_table import matching_key
from redirectd.plan.route import EffectiveTable, Route
from redirectd.sip.text import printable
from redirectd.sip.uri import MAX_URI, SipUri, UriError, parse_uri

MAX_ROWS = 1_000
"""Different moves that are counted separately; of more, only the totals."""

AT_ONCE = 5_000
"""Requests that are held until the targets are asked for their URIs: each question costs a target all its moves."""

MAX_KNOWN = 100_000
"""Request-URIs whose answer is remembered."""

MAX_CALLS = 3
"""Calls that are named of one row."""


class SimulatedMove(NamedTuple):
    """Where a target sends a request: to `new_uri`, by the remap `id` (None where it can't be named)."""

    new_uri: str
    id: int | None


@dataclass(frozen=True, slots=True)
class Mover:
    """One target's routing: `moves` gives what its server does with each of some SIP URIs, None where it leaves it.

    `incoming` says that the server looks up the URI it was asked for, and not the one it sends (R5).
    """

    name: str
    kind: str
    moves: Callable[[Sequence[str]], Sequence[SimulatedMove | None]]
    incoming: bool = False


class SimulatedRequest(NamedTuple):
    """One request as a log shows it: `status` is of its final answer, None where there is none.

    `received` is None where the log does not say whether this host received or sent it.
    """

    uri: str
    received: bool | None
    status: int | None = None
    waited_ms: int | None = None
    call_id: str = ""
    seen_at: datetime | None = None


@dataclass(slots=True)
class SimulatedRow:
    """The requests for one URI that one target moves, or no longer moves (`now`), and how they were answered."""

    target: str
    uri: str
    move: SimulatedMove | None
    now: SimulatedMove | None
    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    milliseconds: int = 0
    calls: list[str] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """How many the old place answered with success."""
        return sum(count for status, count in self.answers.items() if status.startswith("2"))

    @property
    def redirected(self) -> int:
        """How many were answered 301: the redirects that the move saves."""
        return self.answers["301"]


class Simulation:
    """Adds up the requests of a log. `before` are the same targets as they route now, by name, where that is known."""

    def __init__(self, movers: Sequence[Mover], before: Mapping[str, Mover] | None = None) -> None:
        self.requests = 0
        self.moved = 0
        self.unreadable = 0
        self.redirects_saved = 0
        self.milliseconds_saved: int | None = None
        self.answered_at_old_place = 0
        self.no_longer_moved = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.more_rows = 0
        self._movers = movers
        self._before = before
        self._rows: dict[tuple[object, ...], SimulatedRow] = {}
        self._held: list[tuple[SimulatedRequest, Sequence[Mover]]] = []
        self._known: dict[tuple[str, str], tuple[SimulatedMove | None, SimulatedMove | None]] = {}

    def add(self, request: SimulatedRequest) -> None:
        """Takes one request."""
        asked = [mover for mover in self._movers if request.received is None or request.received is mover.incoming]
        if not _is_sip(request.uri):
            self.unreadable += 1
        elif asked:
            self.requests += 1
            if request.seen_at is not None:
                self.first = min(self.first or request.seen_at, request.seen_at)
                self.last = max(self.last or request.seen_at, request.seen_at)
            self._held.append((request, asked))
            if len(self._held) >= AT_ONCE:
                self.end()

    def end(self) -> None:
        """Asks the targets for the requests that are held. Raises what a target raises."""
        held, self._held = self._held, []
        self._ask(held)
        for request, asked in held:
            self._take(request, asked)

    def _ask(self, held: Sequence[tuple[SimulatedRequest, Sequence[Mover]]]) -> None:
        """Learns the answers for URIs that were not asked for yet, each target once."""
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        for mover in self._movers:
            before = self._before.get(mover.name) if self._before is not None else None
            wanted = {request.uri: None for request, asked in held if mover in asked}
            texts = [uri for uri in wanted if (mover.name, uri) not in self._known]
            if texts:
                now = before.moves(texts) if before is not None else [None] * len(texts)
                both = zip(mover.moves(texts), now, strict=True)
                self._known.update(((mover.name, uri), pair) for uri, pair in zip(texts, both, strict=True))

    def _take(self, request: SimulatedRequest, asked: Sequence[Mover]) -> None:
        moved = stopped = False
        for mover in asked:
            move, now = self._known[mover.name, request.uri]
            if move is None and now is None:
                continue
            moved = moved or move is not None
            stopped = stopped or (now is not None and move != now)
            row = self._row(mover.name, printable(request.uri, 500), move, now)
            if row is not None:
                _count(row, request)
        self.no_longer_moved += stopped
        self.moved += moved
        if moved and request.status is not None:
            self.answered_at_old_place += 200 <= request.status < 300
            self.redirects_saved += request.status == 301
            if request.status == 301 and request.waited_ms is not None:
                self.milliseconds_saved = (self.milliseconds_saved or 0) + request.waited_ms

    @property
    def rows(self) -> list[SimulatedRow]:
        """What is moved, or moved otherwise than now: first what was answered at its old place, then the most."""
        return sorted(self._rows.values(), key=lambda row: (-row.answered, -row.requests, row.target, row.uri))

    def _row(self, target: str, uri: str, move: SimulatedMove | None, now: SimulatedMove | None) -> SimulatedRow | None:
        key = (target, uri, move, now)
        if key not in self._rows and len(self._rows) >= MAX_ROWS:
            self.more_rows += 1
            return None
        return self._rows.setdefault(key, SimulatedRow(target, uri, move, now))


def by_route_key(
    table: EffectiveTable, *, incoming: bool = False
) -> Callable[[Sequence[str]], Sequence[SimulatedMove | None]]:
    """What `redirectd lookup` says: a user's remap by the whole route key, else a gateway's where the URI has no user.

    With `incoming`, by the URIs that this host was asked for.
    """
    index: dict[tuple[str, str], Route] = {}
    for route in table.routes:
        for old in _asked_uris(route) if incoming else (route.old,):
            index.setdefault((route.kind, str(matching_key(route.kind, old))), route)

    def move(text: str) -> SimulatedMove | None:
        uri = parse_uri(text)
        assert isinstance(uri, SipUri)
        route = index.get(("user", str(matching_key("user", uri))))
        if route is None and uri.user is None:
            route = index.get(("gateway", str(matching_key("gateway", uri))))
        return None if route is None else SimulatedMove(str(route.new), route.id)

    return lambda texts: [move(text) for text in texts]


def _asked_uris(route: Route) -> tuple[SipUri, ...]:
    """The incoming URIs that belong to the old one alone (R5)."""
    return () if route.incoming_forked or route.also_asked else route.incoming


def _count(row: SimulatedRow, request: SimulatedRequest) -> None:
    row.requests += 1
    row.answers[str(request.status) if request.status is not None else "none"] += 1
    if request.status == 301 and request.waited_ms is not None:
        row.milliseconds += request.waited_ms
    if len(row.calls) < MAX_CALLS:
        row.calls.append(printable(request.call_id, 200))


def _is_sip(text: str) -> bool:
    if len(text) > MAX_URI:
        return False
    try:
        return isinstance(parse_uri(text), SipUri)
    except UriError:
        return False
