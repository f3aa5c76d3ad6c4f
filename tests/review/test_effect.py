"""The proof in the field: what the old URI of a remap in service is still answered, and what a working one saves."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from redirectd.collect.batch import Batch
from redirectd.collect.rules import judge
from redirectd.review.attention import effect, with_attention
from redirectd.review.holds import INEFFECTIVE
from redirectd.store import in_service, settings
from redirectd.store.collecting import record
from redirectd.store.in_service import Saved, Service
from redirectd.store.remap import Remap
from tests.review.remap_store import NOW, TRUSTED, RemapStore

OLD, NEW, OTHER = "sip:alice@old.example.com", "sip:alice@new.example.net", "sip:alice@other.example.net"
LIVE = NOW + timedelta(hours=1)


@pytest.fixture
def routed(store: RemapStore) -> Remap:
    """A remap of six calls in two days, approved at `NOW` and in service an hour later."""
    remap = store.approve(store.sighted(OLD, NEW, calls=6, first=-48, last=0).id)
    go_live(store, remap.id)
    return remap


def go_live(store: RemapStore, *numbers: int, at: datetime = LIVE, everything: bool = True) -> None:
    """An apply by generation 7."""
    in_service.put_in_service(store.database, "test", numbers, 7, at, everything=everything)


def service(store: RemapStore, number: int) -> Service | None:
    """What is known of a remap on the node."""
    with store.database.read() as connection:
        return next(iter(in_service.services(connection, [number]).get(number, [])), None)


def calls_since(store: RemapStore, number: int) -> int | None:
    """How many 301s since it was installed; None where it is not in service."""
    found = service(store, number)
    return None if found is None else found.calls


def answered(
    store: RemapStore, hours: float, *, new: str = NEW, waited_ms: int | None = None, node: str = "test"
) -> str:
    """One more 301 for the old URI; gives the key it is counted under."""
    answer = store.answer(OLD, (new,), TRUSTED, "INVITE", hours, "SIP/2.0 301 Moved Permanently", None)
    verdict = judge(replace(answer, waited_ms=waited_ms), store.policy)
    assert verdict is not None
    batch = Batch("test")
    batch.verdicts[verdict.answer.event_key] = verdict
    with store.database.begin() as connection:
        record(connection, batch, node=node, now=NOW)
    return verdict.answer.move_key


def test_a_remap_whose_old_uri_is_still_answered_301_is_ineffective(store: RemapStore, routed: Remap) -> None:
    """Each 301 after its generation was installed counts, and the flag tells how many, since when and what it means."""
    answered(store, 2)
    answered(store, 3)
    with store.database.read() as connection:
        (flagged,) = with_attention(connection, [store.get(routed.id)], now=NOW + timedelta(hours=4))
        assert in_service.count_ineffective(connection) == (1, 2)
    assert flagged.flags[INEFFECTIVE].startswith(
        "its old URI was answered 301 2 times on test since generation 7 was installed at 2026-03-01T13:00:00Z, "
        "last at 2026-03-01T15:00:00Z: usually the lookup is missing"
    )
    assert "`match`" in flagged.flags[INEFFECTIVE]


def test_what_was_asked_before_it_went_live_proves_nothing(store: RemapStore, routed: Remap) -> None:
    """Old logs read late, and the answer to a call that was on its way at that moment, are no calls that went past."""
    answered(store, 0.5)
    answered(store, 1 + 1 / 3600, waited_ms=2_000)
    assert calls_since(store, routed.id) == 0
    answered(store, 1 + 1 / 3600, waited_ms=500)
    assert calls_since(store, routed.id) == 1


def test_another_target_for_the_old_uri_counts_too(store: RemapStore, routed: Remap) -> None:
    """Whatever the old URI is answered: nobody looked it up before."""
    answered(store, 2, new=OTHER)
    assert calls_since(store, routed.id) == 1


def test_what_another_node_is_told_does_not_count(store: RemapStore, routed: Remap) -> None:
    """A node that does not route by a remap is expected to be answered 301."""
    answered(store, 2, node="elsewhere")
    assert calls_since(store, routed.id) == 0


def test_a_copy_that_is_taken_back_is_not_counted(store: RemapStore, routed: Remap) -> None:
    """R8: a relayed copy that was counted first leaves nothing behind."""
    batch = Batch("test")
    batch.retracted.add(answered(store, 2))
    assert calls_since(store, routed.id) == 1
    with store.database.begin() as connection:
        record(connection, batch, node="test", now=NOW)
    assert calls_since(store, routed.id) == 0


def test_going_live_again_begins_anew(store: RemapStore, routed: Remap) -> None:
    """An apply that keeps a remap keeps its count; taken out and put in again, it starts from none."""
    answered(store, 2)
    go_live(store, routed.id, at=LIVE + timedelta(hours=4))
    assert calls_since(store, routed.id) == 1
    go_live(store, everything=False)
    assert calls_since(store, routed.id) == 1
    go_live(store)
    assert calls_since(store, routed.id) is None
    go_live(store, routed.id, at=LIVE + timedelta(hours=5))
    assert calls_since(store, routed.id) == 0


def read_at(store: RemapStore, at: datetime, node: str = "test") -> None:
    """Traffic of that time was read from a log of the node, much later, and no 301 was found in it."""
    with store.database.begin() as connection:
        settings.save_position(connection, node, "log", settings.with_traffic({}, at, None), LIVE + timedelta(days=9))


def observed(store: RemapStore, number: int) -> bool:
    """Whether traffic was read that is newer than the installation."""
    found = service(store, number)
    return found is not None and found.observed


def test_r45_a_remap_that_works_shows_what_it_saves(store: RemapStore, routed: Remap) -> None:
    """R45: once later traffic was read: calls a day before, none after, and the mean time between request and 301."""
    for waited_ms in (100, 200, None):
        answered(store, -1, waited_ms=waited_ms)
    found = service(store, routed.id)
    assert found is not None
    assert found.calls_a_day == 3
    with store.database.read() as connection:
        assert in_service.wait_of(connection, routed.id) == 150
        assert in_service.saved(connection) == Saved(0, 0.0, None, 1)
        assert effect(found, 150) == (
            "installed since 2026-03-01T13:00:00Z on test (generation 7): 3 redirected calls a day before; "
            "no traffic was read from a log since, so whether it works is not known"
        )
    read_at(store, LIVE, node="elsewhere")
    read_at(store, LIVE)  # up to the very moment
    assert not observed(store, routed.id)
    read_at(store, LIVE + timedelta(seconds=1))
    found = service(store, routed.id)
    assert found is not None
    with store.database.read() as connection:
        assert in_service.saved(connection) == Saved(1, 3.0, 150.0)
        assert effect(found, 150) == (
            "since 2026-03-01T13:00:00Z on test (generation 7): 3 redirected calls a day before, none after; "
            "callers no longer wait 150 ms for each"
        )
    answered(store, 2)
    with store.database.read() as connection:
        assert in_service.saved(connection) == Saved(0, 0.0, None)
