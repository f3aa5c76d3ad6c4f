"""After an approval: targets that fail, and review dates."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from redirectd.collect.verdict import digest
from redirectd.review import decide
from redirectd.review.attention import attention, with_attention
from redirectd.review.decide import confirm
from redirectd.review.decision import Decision
from redirectd.review.follower import Watch, record
from redirectd.review.holds import FAILING, STALE
from redirectd.review.importing import run_import
from redirectd.review.portable import Portable
from redirectd.review.target_health import MOST_CALLS, failing, suspend_failing
from redirectd.review.undo import do_confirm, undo
from redirectd.store import audit
from redirectd.store.remap import Remap, RemapTarget, State
from redirectd.store.schema import followed_call
from redirectd.store.schema import remap as table
from tests.review.remap_store import NOW, POLICY, RemapStore

OLD, NEW = "sip:alice@old.example.com", "sip:alice@new.example.net"
BY = Decision(actor="alice", at=NOW + timedelta(hours=9))


def hours(count: float) -> datetime:
    """So many hours after the approval."""
    return NOW + timedelta(hours=count)


@pytest.fixture
def approved(store: RemapStore) -> Remap:
    """One remap, approved at `NOW`."""
    return store.approve(store.sighted(OLD, NEW).id)


def answered(store: RemapStore, *answers: tuple[int, str, float]) -> None:
    """Answers to INVITEs that the logs tell of: status, Request-URI, hours since the approval."""
    watch = Watch()
    watch.refresh(store.database)
    told = [watch.followed(f"call at {at}", status, "INVITE", uri, hours(at)) for status, uri, at in answers]
    with store.database.begin() as connection:
        record(connection, [one for one in told if one is not None])


def reasons(store: RemapStore) -> dict[int, str]:
    """Why each failing remap fails."""
    with store.database.read() as connection:
        return {number: one.reason for number, one in failing(connection).items()}


def test_a_target_that_answers_404_is_failing_with_its_figures(store: RemapStore, approved: Remap) -> None:
    """404, 410 and 604 of an approved target are counted apart, with the last time of each."""
    answered(store, (404, NEW, 1), (404, NEW, 2), (604, f"{NEW};user=phone", 3))
    assert reasons(store) == {
        approved.id: "its target has answered 404 in 2 calls, last 2026-03-01T14:00:00Z; "
        "604 in one call, last 2026-03-01T15:00:00Z"
    }
    assert store.get(approved.id).state is State.APPROVED


@pytest.mark.parametrize(
    ("status", "method", "uri"),
    [
        (486, "INVITE", NEW),
        (480, "INVITE", NEW),
        (200, "INVITE", NEW),
        (404, "OPTIONS", NEW),
        (404, "INVITE", OLD),
        (404, "INVITE", "sip:bob@new.example.net"),
        (404, "INVITE", "tel:+49301234"),
        (404, "INVITE", "not a uri"),
    ],
)
def test_other_answers_say_nothing(store: RemapStore, approved: Remap, status: int, method: str, uri: str) -> None:
    """Busy and unavailable, other methods and other URIs do not make a remap fail."""
    watch = Watch()
    watch.refresh(store.database)
    assert watch.followed("call", 404, "INVITE", NEW, hours(1)) is not None
    assert watch.followed("call", status, method, uri, hours(1)) is None


def test_what_was_answered_before_the_decision_does_not_count(store: RemapStore, approved: Remap) -> None:
    """A backlog that is read after the approval tells of the time before it."""
    answered(store, (404, NEW, -5), (404, NEW, 0))
    assert reasons(store) == {}


def test_calls_are_counted_up_to_a_bound(store: RemapStore, approved: Remap) -> None:
    """A number that is gone may be dialled for ever: its figure says so, and no more calls are kept."""
    calls = [(404, NEW, 1 + number / 1000) for number in range(MOST_CALLS + 5)]
    answered(store, *calls[: MOST_CALLS - 1])
    assert f"404 in {MOST_CALLS - 1} calls, " in reasons(store)[approved.id]
    answered(store, *calls[MOST_CALLS - 1 :])
    answered(store, (404, NEW, 8))
    assert reasons(store)[approved.id].endswith(f"404 in {MOST_CALLS} calls or more, last 2026-03-01T20:00:00Z")
    with store.database.read() as connection:
        assert connection.scalars(select(func.count()).select_from(followed_call)).one() == len(calls)


def test_a_call_is_counted_once_for_every_remap_that_leads_there(store: RemapStore, approved: Remap) -> None:
    """Two old URIs that moved to one target both fail by its calls, each by each call once."""
    other = store.approve(store.sighted("sip:alice2@old.example.com", NEW).id)
    answered(store, (404, NEW, 1))
    answered(store, (404, NEW, 1), (404, NEW, 2))
    assert reasons(store).keys() == {approved.id, other.id}
    assert all("404 in 2 calls, " in reason for reason in reasons(store).values())


def test_a_pending_remap_is_not_watched(store: RemapStore) -> None:
    """Only approved targets are looked at: nothing was sent to the others by us."""
    store.sighted(OLD, NEW)
    answered(store, (404, NEW, 1))
    assert reasons(store) == {}


def test_the_watch_follows_decisions(store: RemapStore, approved: Remap) -> None:
    """A revoked remap is no longer watched, at the next refresh."""
    from redirectd.review.decide import revoke

    watch = Watch()
    watch.refresh(store.database)
    assert watch.followed("call", 404, "INVITE", NEW, hours(1)) is not None
    with store.database.begin() as connection:
        revoke(connection, approved.id, BY)
    watch.refresh(store.database, at_once=True)
    assert watch.is_empty
    assert watch.followed("call", 404, "INVITE", NEW, hours(1)) is None


def test_a_target_that_has_moved_on_is_failing_until_that_move_is_approved(store: RemapStore, approved: Remap) -> None:
    """301 again: the remap that it made is named; once approved the chain is flattened (R33) and nothing fails."""
    onward = store.sighted(NEW, "sip:alice@third.example", calls=2, first=1, last=2)
    assert reasons(store) == {
        approved.id: f"its target has answered 301 in 2 calls, last 2026-03-01T14:00:00Z (see remap {onward.id})"
    }
    store.approve(onward.id)
    assert reasons(store) == {}


@pytest.mark.parametrize(
    ("new", "asked"),
    [
        ("sip:alice@NEW.example.net", "sip:alice@new.example.net"),
        ("sip:%61lice@new.example.net;user=phone", "sip:alice@new.example.net"),
        ("sip:alice@new.example.net", "sip:alice@new.example.net;user=phone"),
        ("sip:alice@[2001:4860::0:1]", "sip:alice@[2001:4860:0:0::1]"),
    ],
)
def test_r24_moving_on_is_told_by_the_route_key(store: RemapStore, new: str, asked: str) -> None:
    """R24: a target that was written in another way has moved on all the same; another port is another place."""
    one = store.approve(store.sighted(OLD, new).id)
    store.sighted(f"{asked.partition(';')[0]}:5070", "sip:alice@third.example", first=1, last=2)
    assert reasons(store) == {}
    onward = store.sighted(asked, "sip:alice@third.example", first=1, last=2)
    assert reasons(store)[one.id].endswith(f"(see remap {onward.id})")


def test_a_gateway_that_has_moved_on_is_failing(store: RemapStore) -> None:
    """The same for a host that answered a ping."""
    one = store.approve(store.sighted("sip:gw.example", "sip:gw2.example:5070", method="OPTIONS").id)
    onward = store.sighted("sip:gw2.example:5070", "sip:gw3.example", method="OPTIONS", first=1, last=2)
    assert reasons(store)[one.id].endswith(f"(see remap {onward.id})")


def test_failing_comes_first_then_stale(store: RemapStore, approved: Remap) -> None:
    """R36: failing ones are shown before stale ones, and both carry their flag with its reason."""
    store.policy = replace(POLICY, revalidate_after=timedelta(hours=1))
    stale = store.approve(store.sighted("sip:b@old.example.com", "sip:b@new.example.net").id)
    late = store.approve(store.sighted("sip:c@old.example.com", "sip:c@new.example.net").id)
    answered(store, (410, "sip:c@new.example.net", 5))
    with store.database.read() as connection:
        assert attention(connection, now=hours(9)) == [late.id, stale.id]
        flagged = with_attention(connection, store.all(), now=hours(9))
    assert [sorted(one.flags) for one in flagged] == [[], [STALE], [FAILING, STALE]]


def test_r35_confirming_begins_anew_and_is_audited(store: RemapStore, approved: Remap) -> None:
    """R35, R36: what was told before a person said that it is right does not count, what comes after does."""
    answered(store, (404, NEW, 1), (404, NEW, 2))
    store.policy = replace(POLICY, revalidate_after=timedelta(days=100))
    with store.database.begin() as connection:
        kept = confirm(connection, approved.id, BY, store.policy)
    assert kept.revalidate_after == BY.at + timedelta(days=100)
    assert reasons(store) == {}
    answered(store, (404, NEW, 10))
    assert "404 in one call" in reasons(store)[approved.id]
    with store.database.read() as connection:
        assert audit.entries_of(connection, approved.id)[-1].action == "confirm"
        assert audit.broken_at(connection) is None


def test_suspension_only_where_configured_and_by_calls(store: RemapStore, approved: Remap) -> None:
    """Nothing by default; from the configured number of calls on it is revoked, and the audit has the figures."""
    answered(store, *[(404, NEW, at) for at in (1, 2, 3)])
    assert suspend_failing(store.database, store.policy, now=hours(4)) == []
    four = replace(POLICY, suspend_failing_after=4)
    assert suspend_failing(store.database, four, now=hours(4)) == []
    answered(store, (410, NEW, 5))
    assert suspend_failing(store.database, four, now=hours(6)) == [approved.id]
    assert store.get(approved.id).state is State.REVOKED
    with store.database.read() as connection:
        entry = audit.entries_of(connection, approved.id)[-1]
    assert entry.actor == "redirectd"
    assert "404 in 3 calls" in entry.reason


def test_moving_on_never_suspends(store: RemapStore, approved: Remap) -> None:
    """A 301 of the target leaves the approved remap in force, as it leaves a pending one to a person."""
    store.sighted(NEW, "sip:alice@third.example", calls=50, first=1, last=2)
    assert suspend_failing(store.database, replace(POLICY, suspend_failing_after=1), now=hours(4)) == []


def test_keeping_a_failing_remap_can_be_taken_back(store: RemapStore, approved: Remap) -> None:
    """It fails again with the same figures, and the audit tells of both (R35)."""
    answered(store, (404, NEW, 1))
    before = reasons(store)
    with store.database.begin() as connection:
        _, step = do_confirm(connection, approved.id, BY, store.policy)
    assert reasons(store) == {}
    with store.database.begin() as connection:
        undo(connection, step, BY, store.policy)
        actions = [entry.action for entry in audit.entries_of(connection, approved.id)]
    assert reasons(store) == before != {}
    assert actions[-2:] == ["confirm", "unconfirm"]
    assert store.get(approved.id).decided_at == approved.decided_at


def test_r24_every_way_to_a_new_uri_keeps_its_hash(store: RemapStore) -> None:
    """R24: learnt, chosen among several, reopened, seen again and imported remaps are all found by where they lead."""
    several = store.sighted("sip:a@x.example", "sip:B@Y.example", "sip:c@y.example")
    assert new_hashes(store) == {several.id: None}
    store.approve(several.id, contact=2)
    assert new_hashes(store) == {several.id: digest("user", "sip:c@y.example")}
    with store.database.begin() as connection:
        decide.revoke(connection, several.id, BY)
        decide.reopen(connection, several.id, BY)
    assert new_hashes(store) == {several.id: None}
    store.approve(several.id, contact=1)
    gateway = store.sighted("sip:x.example", "sip:Y.example:5070", method="OPTIONS")
    first = store.approve(store.sighted("sip:d@x.example", "sip:d@y.example").id)
    second = store.approve(store.sighted("sip:d@x.example", "sip:e@y.example").id, replace=first.id)
    store.sighted("sip:d@x.example", "sip:d@y.example", first=20, last=21)  # superseded, and reported again
    assert store.get(first.id).state is State.PENDING
    row = Portable(old_uri="sip:f@x.example", new_uri="sip:f@y.example", contacts=(RemapTarget("sip:f@y.example"),))
    result, _ = run_import(store.database, [(1, row)], BY, store.policy, with_approvals=False)
    assert result.faults == []
    assert new_hashes(store) == {
        several.id: digest("user", "sip:B@y.example"),
        gateway.id: digest("gateway", "sip:y.example:5070"),
        first.id: digest("user", "sip:d@y.example"),
        second.id: digest("user", "sip:e@y.example"),
        second.id + 1: digest("user", "sip:f@y.example"),
    }


def new_hashes(store: RemapStore) -> dict[int, str | None]:
    """What remaps are found by, of each."""
    with store.database.read() as connection:
        return {row.id: row.new_hash for row in connection.execute(select(table.c.id, table.c.new_hash))}
