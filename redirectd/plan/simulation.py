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
"""Different moves that are told apart; of more, only the totals."""

MAX_CACHED = 100_000
"""Request-URIs whose answer is remembered."""

MAX_CALLS = 3
"""Calls that are named of one row."""


class SimulatedMove(NamedTuple):
    """Where a target sends a request: to `new_uri`, by the remap `id` (None where it can't be named)."""

    new_uri: str
    id: int | None


@dataclass(frozen=True, slots=True)
class Mover:
    """One target's routing: `move` gives what its server does with a Request-URI, None where it leaves it.

    `incoming` says that the server looks up the URI it was asked for, and not the one it sends (R5).
    """

    name: str
    kind: str
    move: Callable[[SipUri, str], SimulatedMove | None]
    incoming: bool = False


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
    timed: int = 0
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
        self._known: dict[tuple[str, str], tuple[SimulatedMove | None, SimulatedMove | None]] = {}

    def add(
        self,
        uri: str,
        *,
        received: bool | None,
        status: int | None = None,
        waited_ms: int | None = None,
        call_id: str = "",
        seen_at: datetime | None = None,
    ) -> None:
        """Takes one request; `received` is None where it stands for what is received and what is sent."""
        parsed = _parsed(uri)
        if parsed is None:
            self.unreadable += 1
            return
        asked = [mover for mover in self._movers if received is None or received is mover.incoming]
        if not asked:
            return
        self.requests += 1
        if seen_at is not None:
            self.first = seen_at if self.first is None else min(self.first, seen_at)
            self.last = seen_at if self.last is None else max(self.last, seen_at)
        moved = stopped = False
        for mover in asked:
            move, now = self._asked(mover, parsed, uri)
            if move is None and now is None:
                continue
            moved = moved or move is not None
            stopped = stopped or (now is not None and move != now)
            row = self._row(mover.name, printable(uri, 500), move, now)
            if row is not None:
                _count(row, status, waited_ms, call_id)
        self.no_longer_moved += stopped
        self.moved += moved
        if moved and status is not None:
            self.answered_at_old_place += 200 <= status < 300
            self.redirects_saved += status == 301
            if status == 301 and waited_ms is not None:
                self.milliseconds_saved = (self.milliseconds_saved or 0) + waited_ms

    @property
    def rows(self) -> list[SimulatedRow]:
        """What is moved, or moved otherwise than now: first what was answered at its old place, then the most."""
        return sorted(self._rows.values(), key=lambda row: (-row.answered, -row.requests, row.target, row.uri))

    def _asked(self, mover: Mover, parsed: SipUri, uri: str) -> tuple[SimulatedMove | None, SimulatedMove | None]:
        key = (mover.name, uri)
        found = self._known.get(key)
        if found is None:
            before = self._before.get(mover.name) if self._before is not None else None
            found = mover.move(parsed, uri), before.move(parsed, uri) if before is not None else None
            if len(self._known) >= MAX_CACHED:
                self._known.clear()
            self._known[key] = found
        return found

    def _row(self, target: str, uri: str, move: SimulatedMove | None, now: SimulatedMove | None) -> SimulatedRow | None:
        key = (target, uri, move, now)
        if key not in self._rows and len(self._rows) >= MAX_ROWS:
            self.more_rows += 1
            return None
        return self._rows.setdefault(key, SimulatedRow(target, uri, move, now))


def by_route_key(table: EffectiveTable, *, incoming: bool = False) -> Callable[[SipUri, str], SimulatedMove | None]:
    """What `redirectd lookup` says: a user's remap by the whole route key, else a gateway's where there is no user.

    With `incoming`, by the URIs that this host was asked for.
    """
    index: dict[tuple[str, str], Route] = {}
    for route in table.routes:
        for old in _asked_uris(route) if incoming else (route.old,):
            index.setdefault((route.kind, str(matching_key(route.kind, old))), route)

    def move(uri: SipUri, _text: str) -> SimulatedMove | None:
        route = index.get(("user", str(matching_key("user", uri))))
        if route is None and uri.user is None:
            route = index.get(("gateway", str(matching_key("gateway", uri))))
        return None if route is None else SimulatedMove(str(route.new), route.id)

    return move


def _asked_uris(route: Route) -> tuple[SipUri, ...]:
    """The incoming URIs that stand for the old one alone (R5)."""
    return () if route.incoming_forked or route.also_asked else route.incoming


def _count(row: SimulatedRow, status: int | None, waited_ms: int | None, call_id: str) -> None:
    row.requests += 1
    row.answers[str(status) if status is not None else "none"] += 1
    if status == 301 and waited_ms is not None:
        row.milliseconds += waited_ms
        row.timed += 1
    if len(row.calls) < MAX_CALLS:
        row.calls.append(printable(call_id, 200))


def _parsed(text: str) -> SipUri | None:
    if len(text) > MAX_URI:
        return None
    try:
        uri = parse_uri(text)
    except UriError:
        return None
    return uri if isinstance(uri, SipUri) else None
