"""R29: approval without a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect.policy import AutoApprove
from redirectd.review.auto import ACTOR, PeerReport, approve_ready, objection
from redirectd.review.decide import reject, reopen
from redirectd.review.decision import Decision
from redirectd.store import audit
from redirectd.store.remap import Remap, RemapTarget, State
from tests.review.remap_store import NOW, POLICY, STRANGER, TRUSTED, RemapStore

RULE = AutoApprove(
    peers=(ip_network("192.0.2.10/32"),),
    min_calls=3,
    min_age=timedelta(hours=24),
    allowed_domains=frozenset({"new.example.net", "*.carrier.example"}),
)
OLD, NEW = "sip:alice@old.example.com", "sip:alice@new.example.net"


@pytest.fixture
def ruled(store: RemapStore) -> RemapStore:
    """A store whose policy has the rule."""
    store.policy = replace(POLICY, auto_approve=RULE)
    return store


def ready(store: RemapStore) -> list[int]:
    """Lets the rule approve; the ids that it did."""
    return [one.id for one in approve_ready(store.database, store.policy, now=NOW).approved]


def test_r29_nothing_is_approved_without_a_rule(store: RemapStore) -> None:
    """R29: it is off by default, however much evidence there is."""
    store.sighted(OLD, NEW, calls=50)
    assert ready(store) == []
    assert store.all()[0].state is State.PENDING


def test_r29_a_remap_that_fulfils_all_of_the_rule_is_approved_and_audited(ruled: RemapStore) -> None:
    """R29, R35: the audit names redirectd and the rule's figures."""
    one = ruled.sighted(OLD, NEW, calls=3)
    assert ready(ruled) == [one.id]
    assert ruled.get(one.id).state is State.APPROVED
    with ruled.database.read() as connection:
        entry = audit.entries_of(connection, one.id)[-1]
    assert (entry.actor, entry.action) == (ACTOR, "approve")
    assert "3 calls" in entry.reason
    assert "192.0.2.10/32" in entry.reason


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({"calls": 2}, "too few calls"),
        ({"calls": 9, "first": -20}, "too young"),
        ({"calls": 9, "peer": "192.0.2.11"}, "trusted, but not the rule's peer"),
        ({"calls": 9, "peer": STRANGER}, "an unknown peer"),
        ({"calls": 9, "method": "MESSAGE"}, "held: never seen for a call"),
        ({"calls": 9, "expires": "3600000"}, "held: it ends by itself"),
    ],
)
def test_r29_a_remap_that_misses_one_condition_stays_pending(
    ruled: RemapStore, seen: dict[str, object], why: str
) -> None:
    """R29: the rule names all of peers, calls and age, and what is held is never approved automatically."""
    ruled.sighted(OLD, NEW, **seen)  # type: ignore[arg-type]  # one keyword each
    assert ready(ruled) == [], why


def test_r29_a_target_outside_the_allowed_domains_stays_pending(ruled: RemapStore) -> None:
    """R29: the allowed domains are the new URI's host, a wildcard takes what is below it and not itself."""
    ruled.sighted(OLD, "sip:alice@elsewhere.example", calls=9)
    ruled.sighted("sip:bob@old.example.com", "sip:bob@carrier.example", calls=9)
    below = ruled.sighted("sip:carol@old.example.com", "sip:carol@gw1.carrier.example", calls=9)
    assert ready(ruled) == [below.id]


def test_r29_calls_of_other_peers_neither_count_nor_age(ruled: RemapStore) -> None:
    """R29: old sightings of a stranger do not make young ones of the rule's peer old enough."""
    ruled.sighted(OLD, NEW, calls=1, peer=STRANGER, first=-500, last=-500)
    ruled.sighted(OLD, NEW, calls=9, first=-2, last=-1)
    assert ready(ruled) == []


@pytest.mark.parametrize("contacts", [(NEW, "sip:a@new.example.net"), ("sip:alice@10.0.0.1",)])
def test_r29_ambiguous_and_suspicious_remaps_stay_pending(ruled: RemapStore, contacts: tuple[str, ...]) -> None:
    """R29 with R15 and R27: several Contacts and private addresses need a person."""
    ruled.policy = replace(
        ruled.policy, auto_approve=replace(RULE, allowed_domains=RULE.allowed_domains | {"10.0.0.1"})
    )
    ruled.sighted(OLD, *contacts, calls=9)
    assert ready(ruled) == []


def test_r29_a_move_of_what_a_person_approved_waits_for_a_person(ruled: RemapStore) -> None:
    """R30: a new target for an approved old URI is never approved by the rule."""
    first = ruled.sighted(OLD, "sip:alice@gw.carrier.example", calls=1, first=-400, last=-400)
    ruled.approve(first.id)
    ruled.sighted(OLD, NEW, calls=9)
    assert ready(ruled) == []
    assert ruled.get(first.id).state is State.APPROVED


def test_r29_what_a_person_has_reopened_waits_for_a_person(ruled: RemapStore) -> None:
    """R31: rejected and reopened, it is there to be looked at, not to be approved a minute later."""
    one = ruled.sighted(OLD, NEW, calls=9)
    by = Decision(actor="alice", at=NOW)
    with ruled.database.begin() as connection:
        reject(connection, one.id, by)
        reopen(connection, one.id, by)
    assert ready(ruled) == []


def test_r34_the_rule_never_closes_a_cycle(ruled: RemapStore) -> None:
    """R34: of two remaps that lead to each other one is approved, the other one refused with the reason."""
    one = ruled.sighted(OLD, NEW, calls=9)
    ruled.policy = replace(
        ruled.policy, auto_approve=replace(RULE, allowed_domains=RULE.allowed_domains | {"old.example.com"})
    )
    other = ruled.sighted(NEW, OLD, calls=9)
    result = approve_ready(ruled.database, ruled.policy, now=NOW)
    assert [done.id for done in result.approved] == [one.id]
    assert "cycle" in (result.refused or {})[other.id]


REMAP = Remap(
    id=1,
    state=State.PENDING,
    kind="user",
    old_key=OLD,
    old_uri=OLD,
    new_uri=NEW,
    contacts=(RemapTarget(NEW),),
    flags={},
    facts={},
    calls=10_000,
    first_seen=NOW - timedelta(days=400),
    last_seen=NOW,
)
peer_reports = st.lists(
    st.builds(
        lambda peer, calls, start, length: PeerReport(
            f"udp:{peer}:5060", calls, NOW - timedelta(hours=start), NOW - timedelta(hours=start - length)
        ),
        st.sampled_from([TRUSTED, "192.0.2.11", STRANGER]),
        st.integers(1, 6),
        st.integers(10, 40),
        st.integers(0, 30),
    ),
    max_size=4,
    unique_by=lambda one: one.peer,
)


@given(peer_reports)
def test_r29_approval_needs_calls_and_age_of_the_rules_own_peers(seen: list[PeerReport]) -> None:
    """R29: whatever strangers report, only the rule's peer decides, and by both figures."""
    named = [one for one in seen if TRUSTED in one.peer]
    enough = any(one.calls >= 3 and one.last_seen - one.first_seen >= timedelta(hours=24) for one in named)
    assert (objection(REMAP, seen, [], RULE) is None) == enough


@given(
    st.dictionaries(st.sampled_from(["untrusted", "ambiguous", "flapping", "downgrade", "new-hold"]), st.text()),
    st.sampled_from(list(State)),
    st.sampled_from(["user", "gateway", "registrar"]),
)
def test_r29_any_hold_state_or_kind_but_the_plain_one_stops_the_rule(
    flags: dict[str, str], state: State, kind: str
) -> None:
    """R29: held remaps, decided ones and registrars are never approved automatically."""
    seen = [PeerReport(f"udp:{TRUSTED}:5060", 9, NOW - timedelta(days=9), NOW)]
    one = replace(REMAP, flags=flags, state=state, kind=kind)
    plain = not flags and state is State.PENDING and kind != "registrar"
    assert (objection(one, seen, [], RULE) is None) == plain
