"""The effective table against a slow and obvious reading of R33 and R34."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.plan.effective_table import MAX_DEPTH, effective, lookup, lookup_json, matching_key, would_close_cycle
from redirectd.plan.route import Approved
from tests.plan.make import remap, sip

NOW = datetime(2026, 5, 1, tzinfo=UTC)

_NAMES = st.sampled_from([f"u{number}" for number in range(14)])
_PAIRS = st.lists(st.tuples(_NAMES, _NAMES), max_size=24)
_ONE_EACH = st.dictionaries(_NAMES, _NAMES, max_size=14)


def _number(pairs: list[tuple[str, str]]) -> list[Approved]:
    return [remap(number, old, new) for number, (old, new) in enumerate(pairs, 1)]


def _walk(moves: dict[str, str], start: str) -> tuple[list[str], bool]:
    """Follow moves by hand: the places passed, and whether the way never ends."""
    passed = [start]
    while passed[-1] in moves:
        onward = moves[passed[-1]]
        if onward in passed:
            return passed, True
        passed.append(onward)
    return passed, False


def test_r33_a_chain_is_flattened_and_keeps_its_hops() -> None:
    """R33: A->B, B->C routes A to C, with both hops in order, and B to C."""
    table = effective([remap(2, "b", "c"), remap(1, "a", "b")])
    assert [(route.ids, str(route.new)) for route in table.routes] == [
        ((1, 2), "sip:c@lab.test"),
        ((2,), "sip:c@lab.test"),
    ]


def test_r33_keys_are_compared_not_texts() -> None:
    """R24, R33: the chain is found although host case, escapes and unknown parameters differ."""
    table = effective([remap(1, "sip:a@lab.test", "sip:%62@LAB.test;user=phone"), remap(2, "b", "c")])
    assert table.routes[0].ids == (1, 2)


def test_r33_other_port_or_transport_is_no_hop() -> None:
    """R24, R33: a remap of another port or transport is of another key and is not followed."""
    table = effective([remap(1, "a", "sip:b@lab.test:5080"), remap(2, "sip:b@lab.test;transport=tcp", "c")])
    assert [route.ids for route in table.routes] == [(1,), (2,)]


def test_r33_users_and_gateways_do_not_meet() -> None:
    """R12, R33: a user's remap is not followed by a gateway's, and a gateway's key has no user."""
    table = effective(
        [
            remap(1, "sip:a@one.test", "sip:two.test"),
            remap(2, "sip:two.test", "sip:three.test", "gateway"),
            remap(3, "sip:ping@one.test", "sip:two.test", "gateway"),
        ]
    )
    found = [(route.ids, matching_key(route.kind, route.old).user) for route in table.routes]
    assert found == [((1,), "a"), ((2,), None), ((3, 2), None)]


@pytest.mark.parametrize("last", [1, 4, 11])
def test_r33_r44_depth_is_bounded_by_the_last_approval(last: int) -> None:
    """R33, R44: of a chain of eleven hops the one approved last is out and named; the others stay, up to it."""
    chain = [
        replace(remap(number, f"u{number}", f"u{number + 1}"), approved_at=NOW + timedelta(seconds=number == last))
        for number in range(1, 12)
    ]
    table = effective(chain)
    assert table.too_deep == (last,)
    [conflict] = table.conflicts
    assert (conflict.ids, "more than 10 hops" in conflict.reason) == ((last,), True)
    routed = {route.id: str(route.new) for route in table.routes}
    assert routed == {
        number: f"sip:u{last if number < last else 12}@lab.test" for number in range(1, 12) if number != last
    }


@given(_ONE_EACH, st.permutations(range(1, 15)), st.integers(1, 4))
def test_r44_each_approval_that_makes_no_chain_too_long_stays(
    moves: dict[str, str], order: list[int], depth: int
) -> None:
    """R44, R33: those are out that are one too many of all approved before them, and no others."""
    remaps = [replace(one, approved_at=NOW + timedelta(seconds=order[one.id - 1])) for one in _number([*moves.items()])]
    table = effective(remaps, max_depth=depth)
    cut = {number for conflict in table.conflicts for number in conflict.ids} - set(table.too_deep)
    accepted: dict[str, str] = {}
    out = []
    for one in sorted(remaps, key=lambda one: order[one.id - 1]):
        if one.id in cut:
            continue
        tried = {**accepted, str(one.old): str(one.new)}
        if max(len(_walk(tried, start)[0]) - 1 for start in tried) > depth:
            out.append(one.id)
        else:
            accepted = tried
    assert sorted(out) == list(table.too_deep)
    assert {str(route.old): str(route.new) for route in table.routes} == {
        old: _walk(accepted, old)[0][-1] for old in accepted
    }


@pytest.mark.parametrize(("last", "ends"), [(7, "b"), (5, "c"), (9, "d")])
def test_r34_r44_of_a_cycle_the_last_approval_is_not_routed(last: int, ends: str) -> None:
    """R34, R44: the cycle is given in hop order, its last approval is out and named, and all else goes up to there."""
    around = [remap(7, "b", "c"), remap(5, "c", "d"), remap(9, "d", "b"), remap(1, "a", "b"), remap(2, "x", "y")]
    late = [replace(one, approved_at=NOW + timedelta(seconds=one.id == last)) for one in around]
    table = effective(late)
    assert table.cycles == ((5, 9, 7),)
    routed = {route.id: str(route.new) for route in table.routes}
    assert routed == dict.fromkeys({1, 5, 7, 9} - {last}, f"sip:{ends}@lab.test") | {2: "sip:y@lab.test"}
    [conflict] = table.conflicts
    assert conflict.ids == (last,)
    assert f"remap {last}, approved last" in conflict.reason


def test_r34_a_remap_onto_its_own_key_is_a_cycle() -> None:
    """R34: old and new URI with one key would be asked for without end."""
    table = effective([remap(4, "a", "sip:a@lab.test;maddr=192.0.2.1")])
    assert table.cycles == ((4,),)
    assert list(table.routes) == []


@pytest.mark.parametrize(("first", "later"), [(2, 3), (3, 2)])
def test_r44_of_one_key_with_two_results_the_one_approved_first_stays(first: int, later: int) -> None:
    """R44: whatever their ids, the earlier approval routes, chains go on by it, and the later one is named."""
    places = {2: "c", 3: "d"}
    rivals = [
        replace(remap(first, "b", places[first]), approved_at=NOW),
        replace(remap(later, "b", places[later]), approved_at=NOW + timedelta(seconds=1)),
    ]
    table = effective([remap(1, "a", "b"), *rivals])
    end = f"sip:{places[first]}@lab.test"
    assert [(route.ids, str(route.new)) for route in table.routes] == [((1, first), end), ((first,), end)]
    [conflict] = table.conflicts
    assert conflict.ids == (later,)
    assert f"remap {first}, approved first, keeps this key" in conflict.reason


def test_r44_a_later_approval_that_agrees_with_the_first_is_not_named() -> None:
    """R44, R24: of three remaps of one key only the one with another result is kept out."""
    table = effective([remap(1, "a", "b"), remap(2, "a", "c"), remap(3, "a", "sip:b@LAB.test")])
    assert [route.ids for route in table.routes] == [(1,)]
    assert [conflict.ids for conflict in table.conflicts] == [(2,)]


def test_r24_one_key_with_equal_results_is_one_route() -> None:
    """R24: two remaps that agree by 19.1.4 are no conflict; the older one speaks."""
    table = effective([remap(8, "a", "sip:b@LAB.test"), remap(3, "a", "sip:b@lab.test")])
    assert [route.id for route in table.routes] == [3]
    assert table.conflicts == ()


@given(_ONE_EACH, st.randoms(use_true_random=False))
def test_r33_r34_table_is_what_walking_by_hand_gives(moves: dict[str, str], random: object) -> None:
    """R33, R34: each route's end, each cycle and each chain too deep are those found by walking, in any order."""
    remaps = _number(list(moves.items()))
    ids = {old: number for number, old in enumerate(moves, 1)}
    random.shuffle(remaps)  # type: ignore[attr-defined]
    table = effective(remaps)
    routed = {route.id: route for route in table.routes}
    last = {max(cycle) for cycle in table.cycles}  # all were approved at one time, so that the ids decide
    kept = {old: new for old, new in moves.items() if ids[old] not in last}
    for old, number in ids.items():
        passed, _ = _walk({name: new for name, new in kept.items() if ids[name] not in table.too_deep}, old)
        if number in last or number in table.too_deep:
            assert number not in routed
        else:
            assert str(routed[number].new) == f"sip:{passed[-1]}@lab.test"
            assert routed[number].ids == tuple(ids[name] for name in passed[:-1])
    in_cycles = {number for cycle in table.cycles for number in cycle}
    assert in_cycles == {ids[old] for old in moves if _comes_back(moves, old)}


def _comes_back(moves: dict[str, str], start: str) -> bool:
    at = moves.get(start)
    for _ in moves:
        if at == start:
            return True
        at = moves.get(at) if at is not None else None
    return False


@given(_PAIRS)
def test_r34_no_route_is_ever_followed_further(pairs: list[tuple[str, str]]) -> None:
    """R34: whatever is approved, no route's end is the start of another route, so no request can go round."""
    table = effective(_number(pairs))
    starts = {matching_key(route.kind, route.old) for route in table.routes}
    ends = {str(route.new) for route in table.routes}
    assert not ends & {str(key) for key in starts}


@given(_ONE_EACH, _NAMES, _NAMES)
def test_r34_approval_is_refused_exactly_if_it_closes_a_cycle(moves: dict[str, str], old: str, new: str) -> None:
    """R34: the cycle given for a candidate is one, and it is given whenever walking comes back to its old URI."""
    remaps = _number(list(moves.items()))
    candidate = remap(99, old, new)
    cycle = would_close_cycle(remaps, candidate)
    after = {**moves, old: new}
    assert (cycle is not None) == _comes_back(after, old)
    if cycle is not None:
        by_id = {each.id: each for each in (*remaps, candidate)}
        hops = [by_id[number] for number in cycle]
        assert hops[0] is candidate
        for hop, onward in zip(hops, [*hops[1:], hops[0]], strict=True):
            assert str(hop.new) == str(onward.old)


def test_r34_large_tables_have_no_quadratic_corner() -> None:
    """R34: one chain or one cycle through 50,000 remaps is worked out without deep recursion."""
    count = 50_000
    ring = [remap(number, f"u{number}", f"u{(number + 1) % count}") for number in range(count)]
    assert [len(cycle) for cycle in effective(ring).cycles] == [count]
    chain = effective(ring[:-1])
    assert chain.too_deep == tuple(range(MAX_DEPTH, count - 1, MAX_DEPTH + 1))
    assert len(chain.routes) == count - 1 - len(chain.too_deep)
    cycle = would_close_cycle(ring[:-1], ring[-1])
    assert cycle is not None
    assert len(cycle) == count


def test_r33_lookup_tells_each_hop() -> None:
    """R33: lookup gives the end and every hop as the contract writes them."""
    answer = lookup_json(lookup([remap(1, "a", "b"), remap(2, "b", "c")], sip("sip:a@LAB.test")))
    assert answer["result"] == "sip:c@lab.test"
    assert answer["hops"] == [
        {"id": 1, "old_uri": "sip:a@lab.test", "new_uri": "sip:b@lab.test", "state": "approved"},
        {"id": 2, "old_uri": "sip:b@lab.test", "new_uri": "sip:c@lab.test", "state": "approved"},
    ]


def test_lookup_says_null_where_nothing_applies_and_why_where_something_would() -> None:
    """R34: no remap gives null and no hops; the last approval of a cycle gives null, the remap, and the reason."""
    ring = [remap(1, "a", "b"), remap(2, "b", "a")]
    nothing = lookup(ring, sip("sip:z@lab.test"))
    assert (nothing.result, nothing.hops, nothing.reason) == (None, (), None)
    assert str(lookup(ring, sip("sip:a@lab.test")).result) == "sip:b@lab.test"
    looped = lookup(ring, sip("sip:b@lab.test"))
    assert looped.result is None
    assert [hop.id for hop in looped.hops] == [2]
    assert looped.reason is not None
    assert "1, 2" in looped.reason


def test_lookup_finds_a_gateway_only_without_user() -> None:
    """R12: a gateway's remap answers for the gateway itself, not for a user behind it."""
    moves = [remap(1, "sip:gw.test:5060", "sip:gw2.test", "gateway")]
    assert str(lookup(moves, sip("sip:gw.test:5060")).result) == "sip:gw2.test"
    assert lookup(moves, sip("sip:a@gw.test:5060")).result is None
