"""R39: what a caller may have forged makes a held remap at most, and says nothing where an authentic sighting does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from redirectd.collect.answer import CUT, WHOLE, Answer
from redirectd.collect.batch import better
from redirectd.dialects.frame import Authenticity, Peer
from redirectd.store import schema
from redirectd.store.database import Database
from redirectd.store.remap import Remap
from tests.store.answers import NOW, commit, remaps, rows, whole

UNPROVEN, UNKEYED, FRAMED, PROVEN = Authenticity
EVIL = Peer("udp", "198.51.100.66", 5060)


def forged(number: int = 1, **changes: Any) -> Answer:
    """A sighting without a proof, of a peer that it names itself."""
    return whole(number, authenticity=UNKEYED, **({"peer": EVIL} | changes))


def proven(number: int = 1, **changes: Any) -> Answer:
    """A sighting with a proof."""
    return whole(number, authenticity=PROVEN, **changes)


def only(database: Database) -> Remap:
    """The one remap there is."""
    [found] = remaps(database)
    return found


@pytest.mark.parametrize(
    ("sightings", "flags"),
    [
        ([UNKEYED], ["unkeyed"]),
        ([UNPROVEN], ["unproven"]),
        ([UNPROVEN, UNKEYED], ["unkeyed"]),
        ([UNKEYED, FRAMED], []),
        ([FRAMED, UNKEYED], []),
        ([UNPROVEN, PROVEN], []),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_r39_the_best_sighting_decides_the_flag(
    database: Database, sightings: list[Authenticity], flags: list[str], *, together: bool
) -> None:
    """R39, R40: the flag is there only while no proven and no surely framed sighting is behind the remap."""
    answers = [whole(number, authenticity=one) for number, one in enumerate(sightings)]
    for part in [answers] if together else [[one] for one in answers]:
        commit(database, *part)
    assert sorted(only(database).flags) == flags
    assert only(database).calls == len(sightings)


def test_r39_a_proven_sighting_replaces_an_unkeyed_one_of_its_transaction(database: Database) -> None:
    """R39: the forged target of a true call is gone when the call's own record comes, and the call counts once."""
    commit(database, forged(contacts=("<sip:evil@place.test>",)))
    assert only(database).new_uri == "sip:evil@place.test"
    outcome = commit(database, proven())
    assert (outcome.sightings, rows(database, "event")) == (0, 1)
    assert (only(database).new_uri, only(database).calls, dict(only(database).flags)) == ("sip:new@place.test", 1, {})
    commit(database, forged(contacts=("<sip:evil@place.test>",)))
    assert only(database).new_uri == "sip:new@place.test"


def test_r39_the_first_proven_sighting_says_everything_anew(database: Database) -> None:
    """R24, R39: a forger of the same route keys leaves no parameter, hold, order or incoming URI of his behind."""
    commit(
        database,
        forged(
            contacts=("<sip:new@place.test;maddr=203.0.113.66>;expires=60",),
            request_uri="sip:old@gw.test;maddr=203.0.113.66",
            incoming_uri="sip:victim@own.test",
        ),
    )
    assert "maddr" in (only(database).new_uri or "")
    commit(database, proven(2, incoming_uri="sip:asked@own.test"))
    found = only(database)
    assert (found.old_uri, found.new_uri, found.incoming) == (
        "sip:old@gw.test",
        "sip:new@place.test",
        ("sip:asked@own.test",),
    )
    assert (found.contacts[0].uri, dict(found.flags), found.expires_at) == ("sip:new@place.test", {}, None)
    commit(database, forged(3, incoming_uri="sip:victim@own.test", seen_at=NOW + timedelta(days=9)))
    assert (only(database).incoming, only(database).calls) == (("sip:asked@own.test",), 3)
    assert only(database).last_seen == found.last_seen


def test_r39_forged_peers_and_methods_lift_no_hold(database: Database) -> None:
    """R12, R26, R39: beside an authentic sighting, only its own peer and method count for `untrusted` and `method`."""
    commit(database, whole(1, method="MESSAGE", peer=Peer("udp", "203.0.113.1", 5060)))
    commit(database, forged(2, method="INVITE", peer=Peer("udp", "192.0.2.7", 5060)))
    found = only(database)
    assert (found.believed_peers, found.believed_methods) == (("udp:203.0.113.1:5060",), ("MESSAGE",))
    assert len(found.peers) == len(found.methods) == 2


def test_r32_r39_a_forged_target_does_not_make_a_true_one_flap(database: Database) -> None:
    """R32, R39: between an authentic and a forged target, only the forged one is said to alternate."""
    other = {"contacts": ("<sip:evil@place.test>",)}
    commit(database, proven(1, seen_at=NOW - timedelta(hours=9)), proven(2))
    commit(database, forged(3, seen_at=NOW - timedelta(hours=5), **other))
    flags = {one.new_uri: sorted(one.flags) for one in remaps(database)}
    assert flags == {"sip:new@place.test": [], "sip:evil@place.test": ["flapping", "unkeyed"]}


def test_r39_what_loses_its_last_authentic_sighting_is_unkeyed_again(database: Database) -> None:
    """R8, R39: a framed sighting that turns out to be a relayed copy no longer speaks for the remap."""
    commit(database, whole(1), forged(2))
    with database.begin() as connection:
        from redirectd.store import sightings

        doubted = sightings.retract(connection, {whole(1).move_key}, "node")
        sightings.drop_empty(connection, doubted)
    assert (only(database).calls, list(only(database).flags)) == (1, ["unkeyed"])


def test_r39_peers_keep_their_authentic_calls_apart(database: Database) -> None:
    """R29, R39: the calls and the span of time that automatic approval takes are those of authentic sightings."""
    commit(database, forged(1, peer=Peer("udp", "192.0.2.7", 5060), seen_at=NOW - timedelta(days=9)), whole(2))
    commit(database, whole(3, seen_at=NOW), forged(4, peer=Peer("udp", "192.0.2.7", 5060), seen_at=NOW))
    with database.read() as connection:
        [row] = connection.execute(select(schema.remap_peer)).all()
    assert (row.calls, row.authentic_calls) == (4, 2)
    assert (row.authentic_first, row.authentic_last) == (NOW - timedelta(hours=1), NOW)


def test_r39_a_whole_forgery_does_not_beat_a_true_record_that_was_cut() -> None:
    """R39: how complete a sighting is counts only among sightings that are equally sure."""
    cut = proven(rank=CUT, faults=("cut",))
    assert better(cut, forged()) is None
    assert better(forged(), cut) == cut
    assert forged().standing == WHOLE < cut.standing
