"""What happens to a remap is one event each, written with it and never twice."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from redirectd.review import decide
from redirectd.review.attention import report_attention
from redirectd.review.decision import Decision
from redirectd.review.importing import run_import
from redirectd.review.portable import read
from redirectd.service.maintenance import Retention, prune
from redirectd.store import event_log
from redirectd.store.event_log import EventKind, LoggedEvent
from redirectd.store.schema import followup, remap
from tests.review.remap_store import NOW, RemapStore

KEEP = Retention(evidence=timedelta(days=1), quarantine=timedelta(days=1), generations=2)


def events(store: RemapStore) -> list[LoggedEvent]:
    """All of them."""
    with store.database.read() as connection:
        return event_log.read(connection)


def kinds(store: RemapStore) -> list[tuple[str, int | None]]:
    """Kind and remap of each."""
    return [(one.kind.value, one.remap_id) for one in events(store)]


def test_a_remap_from_first_sighting_to_expiry(store: RemapStore) -> None:
    """Pending once, whatever is seen again; then each decision, with who and why."""
    one = store.sighted("sip:a@old.example", "sip:a@new.example", calls=3)
    store.sighted("sip:a@old.example", "sip:a@new.example", calls=3)
    by = Decision(actor="alice", at=NOW, reason="called them")
    with store.database.begin() as connection:
        decide.approve(connection, one.id, by, store.policy)
    with store.database.begin() as connection:
        decide.revoke(connection, one.id, by)
    with store.database.begin() as connection:
        decide.reopen(connection, one.id, by)
    store.approve(one.id)
    with store.database.begin() as connection:
        connection.execute(update(remap).values(expires_at=NOW))
    with store.database.begin() as connection:
        decide.expire(connection, now=NOW)
    expected_kinds = ["pending", "approved", "revoked", "pending", "approved", "expired"]
    assert kinds(store) == [(kind, one.id) for kind in expected_kinds]
    assert [one.detail["action"] for one in events(store)][:4] == ["learn", "approve", "revoke", "reopen"]
    approved = events(store)[1]
    assert (approved.actor, approved.detail["reason"]) == ("alice", "called them")
    assert approved.detail["new_uri"] == "sip:a@new.example"


def test_r44_what_is_replaced_is_reported_too(store: RemapStore) -> None:
    """R44: an approval in another's place is two events, of one transaction."""
    first = store.sighted("sip:a@old.example", "sip:a@new.example", last=-30)
    store.approve(first.id)
    second = store.sighted("sip:a@old.example", "sip:a@newer.example", first=-20)
    store.approve(second.id, replace=first.id)
    assert kinds(store)[-2:] == [("superseded", first.id), ("approved", second.id)]


def test_what_is_taken_back_was_never_reported(store: RemapStore) -> None:
    """An event belongs to the transaction of what it reports: where that is rolled back, there is none."""
    one = store.sighted("sip:a@old.example", "sip:a@new.example")
    with store.database.engine.connect() as connection, connection.begin() as transaction:
        decide.reject(connection, one.id, Decision(actor="alice", at=NOW))
        assert len(event_log.read(connection)) == 2
        transaction.rollback()
    assert kinds(store) == [("pending", one.id)]


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_import_reports_what_waits(store: RemapStore, dry_run: bool) -> None:
    """A row that comes to wait for review is an event; one that was decided elsewhere, and a dry run, report none."""
    rows = [
        {"old_uri": f"sip:{state}@old.example", "new_uri": f"sip:{state}@new.example", "state": state, "kind": "user"}
        for state in ("pending", "rejected")
    ]
    text = json.dumps({"remaps": rows})
    by = Decision(actor="alice", at=NOW, reason="from b")
    result, _ = run_import(store.database, read(text, "json"), by, store.policy, with_approvals=False, dry_run=dry_run)
    assert result.new == 2
    assert [(one.kind, one.detail["action"]) for one in events(store)] == [(EventKind.PENDING, "import")] * (
        not dry_run
    )


def test_r36_failing_and_stale_are_reported_once(store: RemapStore) -> None:
    """R36: what comes to fail or to be due is one event, again only after a new approval, also once rows are pruned."""
    one = store.sighted("sip:a@old.example", "sip:a@new.example")
    store.approve(one.id)
    with store.database.begin() as connection:
        connection.execute(update(remap).values(revalidate_after=NOW))
        row = {"remap_id": one.id, "status": 404, "calls": 2, "last_seen": NOW + timedelta(hours=1)}
        connection.execute(followup.insert().values(**row, first_seen=NOW + timedelta(minutes=1)))
    later = NOW + timedelta(hours=2)
    assert report_attention(store.database, now=later) == 2
    assert report_attention(store.database, now=later) == 0
    assert kinds(store)[2:] == [("failing", one.id), ("stale", one.id)]
    assert "404 in 2 calls" in events(store)[2].detail["reason"]
    much_later = later + timedelta(days=400)
    assert prune(store.database, KEEP, node="test", now=much_later).reported_events == 2
    assert report_attention(store.database, now=much_later) == 0
    with store.database.begin() as connection:
        decide.revoke(connection, one.id, Decision(actor="alice", at=much_later))
    assert prune(store.database, KEEP, node="test", now=much_later).reported_events == 2


def test_cursors_are_not_given_twice(store: RemapStore) -> None:
    """Where all events were pruned, the next one still comes after the last: a reader's cursor stays right."""
    one = store.sighted("sip:a@old.example", "sip:a@new.example")
    before = events(store)[-1].cursor
    prune(store.database, KEEP, node="test", now=NOW + timedelta(days=400))
    assert events(store) == []
    store.approve(one.id)
    assert events(store)[0].cursor > before
    with store.database.read() as connection:
        assert connection.scalar(select(remap.c.state)) == "approved"
