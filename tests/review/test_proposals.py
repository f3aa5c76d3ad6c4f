"""One gateway move for many users' moves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.errors import RefusedError
from redirectd.review.decision import Decision
from redirectd.review.holds import REDUNDANT
from redirectd.review.page import Query, page
from redirectd.review.proposals import MoveReader, Proposal, accept, decline, proposals, propose
from redirectd.review.undo import undo
from redirectd.sip.compare import route_key
from redirectd.store.remap import State, stored_uri
from tests.review.remap_store import NOW, POLICY, STRANGER, RemapStore

BY = Decision(actor="alice", at=NOW, reason="the carrier says so")


def moved(
    store: RemapStore, count: int, *, to: str = "new.example.net", start: int = 0, peer: str = "192.0.2.10"
) -> None:
    """`count` users of old.example.com moved to one host."""
    for number in range(start, start + count):
        store.sighted(f"sip:u{number}@old.example.com", f"sip:u{number}@{to}", peer=peer)


def proposed(store: RemapStore) -> list[Proposal]:
    """What is proposed now."""
    with store.database.read() as connection:
        return proposals(connection, store.policy)


def test_four_fifths_of_five_users_make_a_proposal(store: RemapStore) -> None:
    """Five of six users are over 80 %: one move of the host, with the sixth as its exception."""
    moved(store, 5)
    other = store.sighted("sip:u9@old.example.com", "sip:u9@third.example")
    (one,) = proposed(store)
    assert (str(one.old), str(one.new), one.users, one.total) == ("sip:old.example.com", "sip:new.example.net", 5, 6)
    assert one.exceptions == (other.id,)
    assert len(one.covered) == 5


def test_too_few_users_or_too_small_a_part_make_none(store: RemapStore) -> None:
    """Four users are too few, and five of seven too small a part; both bounds are the policy's."""
    moved(store, 4)
    assert proposed(store) == []
    moved(store, 1, start=4)
    moved(store, 2, start=10, to="third.example")
    assert proposed(store) == []
    store.policy = replace(POLICY, propose_percent=70)
    assert len(proposed(store)) == 1


def test_another_user_part_a_choice_and_a_rejection_are_exceptions(store: RemapStore) -> None:
    """What does not move under its own name, is ambiguous, or was rejected by a person counts against it."""
    store.policy = replace(POLICY, propose_percent=51)
    moved(store, 5)
    renamed = store.sighted("sip:r@old.example.com", "sip:renamed@new.example.net")
    choice = store.sighted("sip:c@old.example.com", "sip:c@new.example.net", "sip:c@third.example")
    rejected = store.reject(store.sighted("sip:n@old.example.com", "sip:n@new.example.net").id)
    (one,) = proposed(store)
    assert one.exceptions == (renamed.id, choice.id, rejected.id)
    assert (one.users, one.total) == (5, 8)


def test_nothing_is_approved_by_a_proposal_alone(store: RemapStore) -> None:
    """Never by itself: looking at proposals changes nothing."""
    moved(store, 9)
    proposed(store)
    assert {one.state for one in store.all()} == {State.PENDING}
    assert len(store.all()) == 9


def test_approving_one_makes_the_gateway_remap_and_the_users_redundant(store: RemapStore) -> None:
    """The gateway remap is approved with the users' evidence, theirs say that they are redundant, and undo ends it."""
    moved(store, 5)
    store.approve(2)
    (one,) = proposed(store)
    with store.database.begin() as connection:
        made, step = accept(connection, one, BY, store.policy)
    assert (made.kind, made.state, made.new_uri) == ("gateway", State.APPROVED, "sip:new.example.net")
    assert (made.calls, made.peer_calls) == (5, {"udp:192.0.2.10:5060": 5})
    assert "5 of 5 users" in made.facts["proposal"]
    assert proposed(store) == []
    query = Query(flag=REDUNDANT, now=NOW)
    with store.database.read() as connection:
        found = page(connection, query, store.policy).remaps
    assert [remap.id for remap in found] == list(one.covered)
    assert [remap.state for remap in found].count(State.APPROVED) == 1
    assert f"gateway remap {made.id}" in found[0].flags[REDUNDANT]
    with store.database.begin() as connection:
        undo(connection, step, BY, store.policy)
    with store.database.read() as connection:
        assert page(connection, query, store.policy).remaps == ()


def test_r26_a_proposal_from_strangers_is_held_as_they_are(store: RemapStore) -> None:
    """R26, R27: the gateway remap has the peers of what it covers, and a suspicious host is refused."""
    moved(store, 5, to="10.1.1.1", peer=STRANGER)
    (one,) = proposed(store)
    with pytest.raises(RefusedError), store.database.begin() as connection:
        accept(connection, one, BY, store.policy)
    assert all(remap.kind == "user" for remap in store.all())


def test_a_declined_proposal_is_not_made_again(store: RemapStore) -> None:
    """R31: a rejection is an answer, also when more users follow."""
    moved(store, 5)
    (one,) = proposed(store)
    with store.database.begin() as connection:
        decline(connection, one, BY, store.policy)
    moved(store, 5, start=5)
    assert proposed(store) == []


hosts = st.sampled_from(["a.example", "b.example", "c.example"])
moves = st.lists(
    st.builds(
        lambda user, old, new, other, state: (f"sip:u{user}@{old}", f"sip:{other or f'u{user}'}@{new}", state),
        st.integers(0, 7),
        st.just("old.example"),
        hosts,
        st.sampled_from([None, None, None, "x"]),
        st.sampled_from([State.PENDING, State.PENDING, State.APPROVED, State.REJECTED]),
    ),
    max_size=20,
)


@given(moves, st.integers(2, 6), st.integers(51, 100))
def test_a_proposal_keeps_its_bounds(moves: list[tuple[str, str, State]], users: int, percent: int) -> None:
    """Counted user by user: a proposal is made exactly where one host has enough of them, and covers those."""
    reader = MoveReader()
    given_moves = [
        reader.move(number, str(route_key(stored_uri(old))), new, state)
        for number, (old, new, state) in enumerate(moves, 1)
    ]
    by_user: dict[str, set[str | None]] = defaultdict(set)
    for old, new, state in moves:
        plain = state is not State.REJECTED and stored_uri(new).user == stored_uri(old).user
        by_user[str(stored_uri(old).user)].add(stored_uri(new).host if plain else None)
    counts = {
        host: sum(went == {host} for went in by_user.values()) for host in ("a.example", "b.example", "c.example")
    }
    most = max(counts.values())
    due = most >= users and 100 * most >= percent * len(by_user)
    policy = replace(POLICY, propose_users=users, propose_percent=percent)
    found = propose(given_moves, policy)
    assert bool(found) == due
    for one in found:
        assert (counts[one.new.host], len(by_user)) == (one.users, one.total)
        assert set(one.covered) | set(one.exceptions) == {move.id for move in given_moves}
        assert all(by_user[move.user] == {one.new.host} for move in given_moves if move.id in one.covered)


@given(
    st.sampled_from(["alice", "%61lice", "ALICE", "a%40b", "a%40B", "a;x=1", "a;x=1:secret", "%E6%9d"]),
    st.sampled_from(["", "alice@", "%61lice@", "alice:secret@", "ALICE@", "a%40b@", "a%40B@", "a;x=1@", "%e6%9D@"]),
    st.sampled_from(["sip", "SIP", "sips"]),
    st.sampled_from(["h.example", "H.example.", "h.example:5060", "h.example;Transport=TCP;x=y", "[2001:DB8::1]?a=b"]),
)
def test_r24_a_move_is_read_as_its_route_keys(user: str, name: str, scheme: str, place: str) -> None:
    """R24: however both sides are written, a move leads to the new URI's place exactly if the user part is the same."""
    old, new = f"sip:{user}@old.example", f"{scheme}:{name}{place}"
    key, moved_to = route_key(stored_uri(old)), route_key(stored_uri(new))
    reader = MoveReader()
    for _ in range(2):
        move = reader.move(1, str(key), new, State.PENDING)
        assert (move.user, move.old) == (key.user, key.without_user)
        assert move.new == (moved_to.without_user if moved_to.user == key.user else None)
    assert reader.move(1, str(key), new, State.REJECTED).new is None
    assert reader.move(1, str(key), None, State.PENDING).new is None
