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
from tests.review.world import NOW, TRUSTED, World

OLD, NEW, OTHER = "sip:alice@old.example.com", "sip:alice@new.example.net", "sip:alice@other.example.net"
LIVE = NOW + timedelta(hours=1)


@pytest.fixture
def routed(world: World) -> Remap:
    """A remap of six calls in two days, approved at `NOW` and in service an hour later."""
    remap = world.approve(world.sighted(OLD, NEW, calls=6, first=-48, last=0).id)
    go_live(world, remap.id)
    return remap


def go_live(world: World, *numbers: int, at: datetime = LIVE, everything: bool = True) -> None:
    """An apply by generation 7."""
    in_service.put_in_service(world.database, "test", numbers, 7, at, everything=everything)


def service(world: World, number: int) -> Service | None:
    """What is known of a remap on the node."""
    with world.database.read() as connection:
        return next(iter(in_service.services(connection, [number]).get(number, [])), None)


def calls_since(world: World, number: int) -> int | None:
    """How many 301s since it was installed; None where it is not in service."""
    found = service(world, number)
    return None if found is None else found.calls


def answered(world: World, hours: float, *, new: str = NEW, waited_ms: int | None = None, node: str = "test") -> str:
    """One more 301 for the old URI; gives the key it is counted under."""
    answer = world.answer(OLD, (new,), TRUSTED, "INVITE", hours, "SIP/2.0 301 Moved Permanently", None)
    verdict = judge(replace(answer, waited_ms=waited_ms), world.policy)
    assert verdict is not None
    batch = Batch("test")
    batch.verdicts[verdict.answer.event_key] = verdict
    with world.database.begin() as connection:
        record(connection, batch, node=node, now=NOW)
    return verdict.answer.move_key


def test_a_remap_whose_old_uri_is_still_answered_301_is_ineffective(world: World, routed: Remap) -> None:
    """Each 301 after its generation was installed counts, and the flag tells how many, since when and what it means."""
    answered(world, 2)
    answered(world, 3)
    with world.database.read() as connection:
        (flagged,) = with_attention(connection, [world.get(routed.id)], now=NOW + timedelta(hours=4))
        assert in_service.count_ineffective(connection) == (1, 2)
    assert flagged.flags[INEFFECTIVE].startswith(
        "its old URI was answered 301 2 times on test since generation 7 was installed at 2026-03-01T13:00:00Z, "
        "last at 2026-03-01T15:00:00Z: usually the lookup is missing"
    )
    assert "`match`" in flagged.flags[INEFFECTIVE]


def test_what_was_asked_before_it_went_live_proves_nothing(world: World, routed: Remap) -> None:
    """Old logs read late, and the answer to a call that was on its way at that moment, are no calls that went past."""
    answered(world, 0.5)
    answered(world, 1 + 1 / 3600, waited_ms=2_000)
    assert calls_since(world, routed.id) == 0
    answered(world, 1 + 1 / 3600, waited_ms=500)
    assert calls_since(world, routed.id) == 1


def test_another_target_for_the_old_uri_counts_too(world: World, routed: Remap) -> None:
    """Whatever the old URI is answered: nobody looked it up before."""
    answered(world, 2, new=OTHER)
    assert calls_since(world, routed.id) == 1


def test_what_another_node_is_told_does_not_count(world: World, routed: Remap) -> None:
    """A node that does not route by a remap is expected to be answered 301."""
    answered(world, 2, node="elsewhere")
    assert calls_since(world, routed.id) == 0


def test_a_copy_that_is_taken_back_is_not_counted(world: World, routed: Remap) -> None:
    """R8: a relayed copy that was counted first leaves nothing behind."""
    batch = Batch("test")
    batch.retracted.add(answered(world, 2))
    assert calls_since(world, routed.id) == 1
    with world.database.begin() as connection:
        record(connection, batch, node="test", now=NOW)
    assert calls_since(world, routed.id) == 0


def test_going_live_again_begins_anew(world: World, routed: Remap) -> None:
    """An apply that keeps a remap keeps its count; taken out and put in again, it starts from none."""
    answered(world, 2)
    go_live(world, routed.id, at=LIVE + timedelta(hours=4))
    assert calls_since(world, routed.id) == 1
    go_live(world, everything=False)
    assert calls_since(world, routed.id) == 1
    go_live(world)
    assert calls_since(world, routed.id) is None
    go_live(world, routed.id, at=LIVE + timedelta(hours=5))
    assert calls_since(world, routed.id) == 0


def read_at(world: World, at: datetime, node: str = "test") -> None:
    """Traffic of that time was read from a log of the node, much later, and no 301 was found in it."""
    with world.database.begin() as connection:
        settings.save_position(connection, node, "log", settings.with_traffic({}, at, None), LIVE + timedelta(days=9))


def observed(world: World, number: int) -> bool:
    """Whether traffic was read that is newer than the installation."""
    found = service(world, number)
    return found is not None and found.observed


def test_r45_a_remap_that_works_shows_what_it_saves(world: World, routed: Remap) -> None:
    """R45: once later traffic was read: calls a day before, none after, and the mean time between request and 301."""
    for waited_ms in (100, 200, None):
        answered(world, -1, waited_ms=waited_ms)
    found = service(world, routed.id)
    assert found is not None
    assert found.calls_a_day == 3
    with world.database.read() as connection:
        assert in_service.wait_of(connection, routed.id) == 150
        assert in_service.saved(connection) == Saved(0, 0.0, None, 1)
        assert effect(found, 150) == (
            "installed since 2026-03-01T13:00:00Z on test (generation 7): 3 redirected calls a day before; "
            "no traffic was read from a log since, so whether it works is not known"
        )
    read_at(world, LIVE, node="elsewhere")
    read_at(world, LIVE)  # up to the very moment
    assert not observed(world, routed.id)
    read_at(world, LIVE + timedelta(seconds=1))
    found = service(world, routed.id)
    assert found is not None
    with world.database.read() as connection:
        assert in_service.saved(connection) == Saved(1, 3.0, 150.0)
        assert effect(found, 150) == (
            "since 2026-03-01T13:00:00Z on test (generation 7): 3 redirected calls a day before, none after; "
            "callers no longer wait 150 ms for each"
        )
    answered(world, 2)
    with world.database.read() as connection:
        assert in_service.saved(connection) == Saved(0, 0.0, None)
