"""Remaps by filter and page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redirectd.review.page import Query, ids, matching, page, passing
from redirectd.store.remap import State
from tests.review.remap_store import NOW, STRANGER, RemapStore

PENDING = Query(states=(State.PENDING,))


@pytest.fixture
def many(store: RemapStore) -> RemapStore:
    """Thirteen remaps of two domains, two of them held in different ways, one approved, one flapping pair."""
    for number in range(6):
        store.sighted(f"sip:u{number}@a.example", f"sip:u{number}@new.example.net", last=-number * 24, first=-500)
    store.sighted("sip:s@b.example", "sip:s@new.example.net", peer=STRANGER)
    store.sighted("sip:m@b.example", "sip:m@new.example.net", method="MESSAGE")
    store.sighted("sips:d@b.example", "sip:d@new.example.net")
    store.sighted("sip:p@b.example", "sip:p@10.1.2.3")
    store.sighted("sip:f@b.example", "sip:f@one.example.net", calls=2, first=-9, last=-3)
    store.sighted("sip:f@b.example", "sip:f@two.example.net", calls=2, first=-6, last=-1)
    store.sighted("sip:reg.example", "sip:reg.example.net", method="REGISTER")
    done = store.sighted("sip:z@a.example", "sip:z@new.example.net")
    store.approve(done.id)
    return store


def test_pages_follow_each_other_without_a_gap(many: RemapStore) -> None:
    """Pages by the id behind which they begin give every remap once, and the last one says that it is the last."""
    seen: list[int] = []
    after: int | None = 0
    with many.database.read() as connection:
        while after is not None:
            found = page(connection, PENDING, many.policy, after=after, limit=5)
            assert len(found.remaps) <= 5
            seen += [one.id for one in found.remaps]
            after = found.after
    assert seen == [one.id for one in many.all(State.PENDING)]


@pytest.mark.parametrize(
    ("query", "users"),
    [
        (replace(PENDING, peer=STRANGER), {"s"}),
        (replace(PENDING, domain="B.example"), {"s", "m", "d", "p", "f"}),
        (replace(PENDING, seen_before=NOW - timedelta(hours=90)), {"u4", "u5"}),
        (replace(PENDING, flag="untrusted"), {"s"}),
        (replace(PENDING, flag="method"), {"m"}),
        (replace(PENDING, flag="downgrade"), {"d"}),
        (replace(PENDING, flag="registrar"), {"reg.example"}),
        (replace(PENDING, flag="suspicious"), {"p"}),
        (replace(PENDING, flag="flapping"), {"f"}),
        (replace(PENDING, flag="none", domain="a.example"), {"u0", "u1", "u2", "u3", "u4", "u5"}),
        (Query(states=(State.APPROVED,)), {"z"}),
        (Query(kind="gateway"), set()),
    ],
)
def test_filters_give_what_they_name(many: RemapStore, query: Query, users: set[str]) -> None:
    """Peer, domain, age, state, kind, and flags both stored and worked out from the policy."""
    with many.database.read() as connection:
        found = {one.old_uri.partition(":")[2].partition("@")[0] for one in matching(connection, query, many.policy)}
    assert found == users


def test_r32_those_that_flap_within_one_second_are_found(store: RemapStore) -> None:
    """R32: the filter finds both of a pair of which one was told only in the second in which the other began."""
    store.sighted("sip:f@b.example", "sip:f@one.example.net", calls=2, first=-9, last=-3)
    store.sighted("sip:f@b.example", "sip:f@two.example.net", calls=1, first=-9, last=-9)
    with store.database.read() as connection:
        found = {one.new_uri for one in matching(connection, replace(PENDING, flag="flapping"), store.policy)}
    assert found == {"sip:f@one.example.net", "sip:f@two.example.net"}


FLAGS = ["untrusted", "method", "registrar", "downgrade", "suspicious", "flapping", "none", "no-such", '%"', None]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flag=st.sampled_from(FLAGS), limit=st.integers(1, 14))
def test_what_the_database_sorts_out_by_flag_is_never_missed(many: RemapStore, flag: str | None, limit: int) -> None:
    """A filter by flag gives the same as looking at every remap, whatever the size of the pages."""
    with many.database.read() as connection:
        everything = matching(connection, Query(), many.policy)
        expected = [
            one.id for one in everything if flag is None or (flag in one.flags if flag != "none" else not one.flags)
        ]
        query = Query(flag=flag)
        assert ids(connection, query, many.policy) == expected
        assert [one.id for one in page(connection, query, many.policy, limit=limit).remaps] == expected[:limit]


def test_passing_keeps_the_order_that_is_given(many: RemapStore) -> None:
    """Of ids in any order and number, those that a query has are left, in that order; other ids are never added."""
    query = replace(PENDING, flag="none", now=NOW)
    with many.database.read() as connection:
        wanted = ids(connection, query, many.policy)
        given_ids = [one.id for one in many.all()][::-1] + list(range(1000, 2200))
        assert passing(connection, query, many.policy, given_ids) == wanted[::-1]
        assert passing(connection, query, many.policy, wanted[1:2]) == wanted[1:2]
        assert passing(connection, query, many.policy, []) == []
    assert len(wanted) > 2
