"""R27: what is remembered of suspicious remaps never overrides what the policy says of them now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from redirectd.collect.policy import AutoApprove, Policy
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.review.holds import rules, screen
from redirectd.review.page import Query, ids
from redirectd.store.remap import State
from redirectd.store.schema import screening
from tests.review.remap_store import NOW, POLICY, RemapStore

SUSPICIOUS = Query(states=(State.PENDING,), flag="suspicious")
TARGETS = [
    "sip:u@10.1.2.3", "sip:u@127.0.0.1", "sip:u@bad.example.net", "sip:u@own.example", "sip:+4990012345678@new.example",
    "sip:+33123456789@new.example", "sip:u@new.example", "sip:+4930123457@new.example",
    "sip:u@new.example;maddr=8.8.8.8",
]  # fmt: skip
POLICIES = [
    POLICY,
    replace(POLICY, allowed_target_networks=(ip_network("10.0.0.0/8"),)),
    replace(POLICY, denied_domains=frozenset({"bad.example.net", "*.worse.example"})),
    replace(POLICY, own_domains=frozenset({"own.example"})),
    replace(POLICY, denied_prefixes=("+4930",)),
    replace(POLICY, denied_networks=(ip_network("127.0.0.0/8"),), region="DE", allow_premium=True),
    replace(POLICY, allow_foreign=True, allow_premium=True),
]


@pytest.fixture
def filled(store: RemapStore) -> RemapStore:
    """A remap to each of the targets."""
    for number, new in enumerate(TARGETS):
        store.sighted(f"sip:+4930{number:06}@old.example", new)
    return store


def by_looking(store: RemapStore, policy: Policy) -> list[int]:
    """The suspicious ones, by a look at each as a whole."""
    store.policy = policy
    return [one.id for one in store.all(State.PENDING) if "suspicious" in store.get(one.id).flags]


def by_filter(store: RemapStore, policy: Policy) -> list[int]:
    with store.database.read() as connection:
        return ids(connection, SUSPICIOUS, policy)


def screened(store: RemapStore) -> int:
    with store.database.read() as connection:
        return connection.scalars(select(func.count()).select_from(screening)).one()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.sampled_from(POLICIES), after=st.sampled_from(POLICIES), anew=st.booleans())
def test_r27_a_changed_policy_counts_at_once(filled: RemapStore, before: Policy, after: Policy, anew: bool) -> None:
    """R27: whatever policy the remaps were screened under, the filter gives what the policy of now says."""
    screen(filled.database, before, anew=anew)
    assert screened(filled) == len(TARGETS)
    assert by_filter(filled, after) == by_looking(filled, after)


def test_r27_what_is_remembered_is_used(filled: RemapStore) -> None:
    """R27: a remembered verdict holds as long as nothing has changed; this one is made wrong by hand to see it."""
    screen(filled.database, POLICY)
    assert by_filter(filled, POLICY) == by_looking(filled, POLICY) != []
    with filled.database.begin() as connection:
        connection.execute(update(screening).values(suspicious=False))
    assert by_filter(filled, POLICY) == []
    assert by_filter(filled, replace(POLICY, region="DE")) == by_looking(filled, replace(POLICY, region="DE")) != []


def test_r27_another_new_uri_is_looked_at(store: RemapStore) -> None:
    """R15, R27: the choice among Contacts that an approval made and a reopening took back does not stay remembered."""
    one = store.sighted("sip:a@old.example", "sip:a@new.example", "sip:a@10.1.2.3")
    store.approve(one.id, contact=1)
    by = Decision(actor="alice", at=NOW + timedelta(hours=1))
    with store.database.begin() as connection:
        decide.revoke(connection, one.id, by)
        decide.reopen(connection, one.id, by)
    screen(store.database, POLICY)
    assert by_filter(store, POLICY) == [one.id]
    store.approve(one.id, contact=1)
    with store.database.read() as connection:
        assert ids(connection, replace(SUSPICIOUS, states=(State.APPROVED,)), POLICY) == []


def test_only_what_is_new_is_screened_again(filled: RemapStore) -> None:
    """A second turn looks at what came since; a start of the service at all that waits."""
    assert screen(filled.database, POLICY) == len(TARGETS)
    assert screen(filled.database, POLICY) == 0
    one = filled.sighted("sip:late@old.example", "sip:late@10.9.9.9")
    assert one.id in by_filter(filled, POLICY)
    assert screen(filled.database, POLICY) == 1
    assert screen(filled.database, POLICY, anew=True) == len(TARGETS) + 1


def test_every_part_of_the_policy_names_other_rules() -> None:
    """Each setting is in the name, whatever order its set has; the rule of automatic approval decides no hold."""
    changed = [
        replace(POLICY, trusted_peers=()),
        replace(POLICY, tel_gateway="gw.example"),
        replace(POLICY, region="DE"),
        *POLICIES[1:],
    ]
    assert len({rules(one) for one in [POLICY, *changed]}) == len(changed) + 1
    names = [f"d{number}.example" for number in range(50)]
    backwards = frozenset(reversed(names))
    assert rules(replace(POLICY, denied_domains=frozenset(names))) == rules(replace(POLICY, denied_domains=backwards))
    rule = AutoApprove(peers=(), min_calls=1, min_age=timedelta(), allowed_domains=frozenset())
    assert rules(replace(POLICY, auto_approve=rule)) == rules(POLICY)
