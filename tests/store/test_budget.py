"""R46: what an hour may bring in new pending remaps, by peer and by incoming URI; what is over it is counted only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_network

import pytest

from redirectd.collect.answer import Answer
from redirectd.collect.policy import Policy
from redirectd.dialects.frame import Authenticity, Peer
from redirectd.store.budget import sender_of
from redirectd.store.collecting import Recorded, record
from redirectd.store.database import Database
from redirectd.store.schema import loss
from tests.store.answers import NOW, batch_of, remaps, rows, whole

HOUR = timedelta(hours=1)
POLICY = Policy(trusted_peers=(ip_network("192.0.2.7/32"),), new_per_peer=5, new_per_incoming=3)
STRANGER = Peer("udp", "203.0.113.9", 5060)
UNKEYED = Authenticity.UNKEYED


def moved(first: int, count: int, **changes: object) -> list[Answer]:
    """301s of as many calls, each for another URI."""
    numbers = range(first, first + count)
    return [whole(number, **{"request_uri": f"sip:u{number}@gw.test", **changes}) for number in numbers]


def commit(database: Database, answers: Iterable[Answer], *, source: str = "test", hours: int = 0) -> Recorded:
    """Commits the answers as one batch read under the policy."""
    batch = batch_of(answers, source)
    batch.policy = POLICY
    with database.begin() as connection:
        return record(connection, batch, node="node", now=NOW + hours * HOUR)


def lost(database: Database) -> dict[str, int]:
    """What is shown as over the budget, by source."""
    with database.read() as connection:
        return {row.source: row._mapping["count"] for row in connection.execute(loss.select())}


def test_r46_a_peer_is_bounded_in_each_hour(database: Database) -> None:
    """R46: in one batch or many, the sixth new remap of an hour is only counted; the next hour begins anew."""
    first = commit(database, moved(0, 3))
    second = commit(database, moved(10, 4))
    assert (first.remaps_new, first.over_budget) == (3, 0)
    assert (second.sightings, second.remaps_new, second.refused, second.over_budget) == (4, 2, 0, 2)
    assert (len(remaps(database)), rows(database, "refusal"), rows(database, "event")) == (5, 1, 7)
    assert lost(database) == {"test": 2}
    assert commit(database, moved(20, 6, seen_at=NOW)).remaps_new == 5


def test_r46_known_remaps_and_replays_take_no_budget(database: Database) -> None:
    """R46, R8: more calls of known remaps go on, and reading the same again counts nothing and makes nothing."""
    answers = moved(0, 8)
    commit(database, answers)
    again = commit(database, answers)
    assert (again.sightings, again.remaps_new, again.over_budget) == (0, 0, 0)
    more = commit(database, [whole(100 + n, request_uri=f"sip:u{n}@gw.test") for n in range(5)])
    assert (more.remaps_updated, more.over_budget) == (5, 0)


def test_r46_other_senders_have_their_own(database: Database) -> None:
    """R46: a peer that floods, from whatever port, leaves other peers theirs."""
    flood = [whole(n, request_uri=f"sip:u{n}@gw.test", peer=Peer("udp", "203.0.113.9", 1024 + n)) for n in range(40)]
    assert commit(database, flood).remaps_new == 5
    assert commit(database, moved(100, 5)).remaps_new == 5


def test_r46_an_incoming_uri_is_bounded(database: Database) -> None:
    """R46: many targets or request URIs of one incoming URI are bounded, for trusted and other peers apart."""
    spread = {"incoming_uri": "sip:in@example.test"}
    assert commit(database, moved(0, 4, peer=STRANGER, **spread)).remaps_new == 3
    assert commit(database, moved(10, 4, **spread)).remaps_new == 3
    other = Peer("udp", "203.0.113.10", 5060)
    assert commit(database, moved(20, 4, peer=other, **spread)).over_budget == 4
    targets = [whole(n, contacts=(f"<sip:new{n}@place.test>",), peer=other) for n in range(30, 34)]
    assert commit(database, targets).remaps_new == 3


def test_r46_lines_without_a_proof_share_one_budget(database: Database) -> None:
    """R46: a forger names any peer and any time, and gets one budget of a source in the hour that it is read in."""
    forged = [
        whole(
            n,
            request_uri=f"sip:u{n}@gw.test",
            peer=Peer("udp", f"192.0.2.{n + 10}", 5060),
            seen_at=NOW - n * HOUR,
            authenticity=UNKEYED,
        )
        for n in range(20)
    ]
    assert commit(database, forged[:8]).remaps_new == 5
    assert commit(database, forged[8:16]).remaps_new == 0
    assert commit(database, forged[16:18], source="other").remaps_new == 2
    assert commit(database, forged[18:], hours=1).remaps_new == 2
    assert commit(database, moved(50, 5)).remaps_new == 5, "what is proven has its own"


def test_r46_a_transaction_that_fails_takes_nothing(database: Database) -> None:
    """R46: what was not committed is not drawn from any budget."""
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            _killed(database)
    assert commit(database, moved(0, 5, authenticity=UNKEYED)).remaps_new == 5


def _killed(database: Database) -> None:
    batch = batch_of(moved(0, 5, authenticity=UNKEYED))
    batch.policy = POLICY
    with database.begin() as connection:
        record(connection, batch, node="node", now=NOW)
        raise KeyboardInterrupt


def test_r46_a_sender_is_its_address() -> None:
    """R46: a sender chooses its port and the last half of an IPv6 address, so neither makes another one of it."""
    assert sender_of("udp:192.0.2.1:5060") == sender_of("tcp:192.0.2.1:1") == "192.0.2.1"
    assert sender_of("udp:[2001:db8:1::5]:5060") == sender_of("udp:[2001:db8:1::6]:7") == "2001:db8:1::/64"
    assert sender_of("unknown") == "unknown"
