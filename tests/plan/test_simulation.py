"""Requests of a log against routing: what moves, what it saves, and what was answered where it went."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from redirectd.plan.effective_table import effective
from redirectd.plan.route import Approved
from redirectd.plan.simulation import MAX_ROWS, Mover, SimulatedMove, SimulatedRequest, Simulation, by_route_key
from redirectd.sip.uri import SipUri, parse_uri

ALICE = "sip:alice@h.test:6003"


def sip(text: str) -> SipUri:
    """A SIP URI."""
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


Moves = Callable[[Sequence[str]], Sequence[SimulatedMove | None]]


def each(move: Callable[[str], SimulatedMove | None]) -> Moves:
    """A target that is asked for one URI at a time."""
    return lambda texts: [move(text) for text in texts]


def table(*moves: tuple[int, str, str]) -> Moves:
    """Exact routing of some moves."""
    return by_route_key(effective(Approved(number, "user", sip(old), sip(new)) for number, old, new in moves))


def simulated(
    requests: list[tuple[str, int | None]], *movers: Mover, before: dict[str, Mover] | None = None
) -> Simulation:
    """A simulation of requests with their final answers."""
    found = Simulation(movers, before)
    for number, (uri, status) in enumerate(requests):
        found.add(SimulatedRequest(uri, False, status, 20 if status == 301 else None, f"c{number}"))
    found.end()
    return found


def test_what_a_move_saves() -> None:
    """R41: a request moves by its whole route key alone; a 301 that it no longer meets is saved, with its wait."""
    requests = [(ALICE, 301), (ALICE, 301), (ALICE, None), ("sip:alice@h.test", 200), ("sips:alice@h.test:6003", 200)]
    found = simulated(requests, Mover("users", "", table((1, ALICE, "sip:a@new.test"))))
    assert (found.requests, found.moved, found.redirects_saved, found.milliseconds_saved) == (5, 3, 2, 40)
    assert found.answered_at_old_place == 0
    [row] = found.rows
    assert (row.uri, row.move) == (ALICE, SimulatedMove("sip:a@new.test", 1))
    assert dict(row.answers) == {"301": 2, "none": 1}


def test_a_wider_lookup_is_shown() -> None:
    """R41: lookup lines by user and host moved other ports, transports and sips: those that were answered say so."""

    def wide(text: str) -> SimulatedMove | None:
        uri = sip(text)
        return SimulatedMove("sip:a@new.test", 1) if (uri.user, uri.host) == ("alice", "h.test") else None

    others = ["sip:alice@h.test", "sip:alice@h.test:5080", "sip:alice@h.test;transport=tls", "sips:alice@h.test"]
    found = simulated([(ALICE, 301), *((uri, 200) for uri in others)], Mover("htable", "", each(wide)))
    assert (found.moved, found.answered_at_old_place) == (5, 4)
    assert {row.uri for row in found.rows[:4]} == set(others)


def test_a_wrong_user_is_shown() -> None:
    """R41: a FILTER that drops a dash looks up bobx for bob-x: his calls were answered, and he never moved."""
    exact = table((1, "sip:bobx@h.test", "sip:b@new.test"))

    def filtered(text: str) -> SimulatedMove | None:
        user = re.sub(r"[^+0-9A-Za-z.~_*]", "", sip(text).user or "")
        return exact([f"sip:{user}@h.test"])[0]

    found = simulated([("sip:bobx@h.test", 301), ("sip:bob-x@h.test", 200)], Mover("dialplan", "", each(filtered)))
    assert found.answered_at_old_place == 1
    assert [(row.uri, row.move and row.move.id) for row in found.rows if row.answered] == [("sip:bob-x@h.test", 1)]


def test_an_approval_that_removes_another_is_shown() -> None:
    """R44: what is installed and would leave routing is listed, though the plan moves it nowhere."""
    now = Mover("users", "", table((1, ALICE, "sip:a@new.test")))
    after = Mover("users", "", table((2, "sip:alice@h.test:6004", "sip:b@new.test")))
    found = simulated([(ALICE, 200), ("sip:alice@h.test:6004", 301)], after, before={"users": now})
    assert (found.moved, found.no_longer_moved) == (1, 1)
    [gone] = [row for row in found.rows if row.move is None]
    assert (gone.uri, gone.now) == (ALICE, SimulatedMove("sip:a@new.test", 1))


def test_each_target_is_asked_by_what_it_looks_up() -> None:
    """R5: `match = "incoming"` looks at what this host received, others at what it sent; a capture is both."""
    move = table((1, ALICE, "sip:a@new.test"))
    both = Mover("in", "", move, incoming=True), Mover("out", "", move)
    for received, expected in ((True, {"in"}), (False, {"out"}), (None, {"in", "out"})):
        found = Simulation(both)
        found.add(SimulatedRequest(ALICE, received))
        found.end()
        assert {row.target for row in found.rows} == expected
        assert (found.requests, found.moved) == (1, 1)


def test_a_storm_is_bounded() -> None:
    """Of a hundred thousand different URIs the first are told apart, and all are counted."""
    every = Mover("all", "", each(lambda text: SimulatedMove(text, 1)))
    found = simulated([(f"sip:{number}@h.test", 200) for number in range(20_000)], every)
    assert (found.moved, len(found.rows), found.more_rows) == (20_000, MAX_ROWS, 20_000 - MAX_ROWS)


@given(st.lists(st.tuples(st.text(max_size=60) | st.just(ALICE), st.integers(0, 999) | st.none()), max_size=20))
def test_hostile_requests_are_counted(requests: list[tuple[str, int | None]]) -> None:
    """Whatever a Request-URI is, it is counted as a request or as unreadable, and what is shown is printable."""
    found = simulated(requests, Mover("all", "", each(lambda _text: SimulatedMove("sip:x@y", 1))))
    assert found.requests + found.unreadable == len(requests)
    assert found.answered_at_old_place + found.redirects_saved <= found.moved == found.requests
    assert all(row.uri.isprintable() for row in found.rows)
