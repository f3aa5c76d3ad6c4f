"""Committing what was read: replays, crashes, better reports, storms; R8, R30 to R32."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from redirectd.collect.answer import CUT, UNPAIRED, WEAK, Answer
from redirectd.dialects.frame import Authenticity, Peer
from redirectd.errors import RefusedError
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.service import ingestion as service_ingest
from redirectd.service.ingestion import ingest
from redirectd.store import audit, collecting
from redirectd.store.collecting import record
from redirectd.store.database import Database
from redirectd.store.remap import State
from redirectd.store.remaps import evidence_of
from redirectd.store.schema import audit as audit_table
from redirectd.store.schema import metadata, quarantine
from tests.collect.logs import MemoryLog, reading, received, request, response
from tests.collect.logs import call as call_log
from tests.store.answers import NOW, POLICY, batch_of, commit, counters, remaps, rows, whole

HOUR = timedelta(hours=1)


def test_r8_replays_count_nothing(database: Database) -> None:
    """R8: the same batch a second and third time changes no counter and makes no row."""
    answers = [whole(1), whole(2), whole(3, contacts=(), contact_headers=0), whole(4, request_uri=None, rank=UNPAIRED)]
    first = commit(database, *answers)
    before = counters(database)
    assert (first.sightings, first.remaps_new, first.refused, first.unpaired) == (4, 1, 1, 1)
    for _ in range(2):
        again = commit(database, *answers)
        assert (again.sightings, again.remaps_new, again.remaps_updated, again.refused) == (0, 0, 0, 0)
    assert counters(database) == before


def test_a_crash_within_a_transaction_leaves_nothing(database: Database) -> None:
    """What a killed transaction had counted is counted when it is read again, once."""

    def killed() -> None:
        with database.begin() as connection:
            record(connection, batch_of([whole(1), whole(2)]), node="node", now=NOW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert (rows(database, "event"), rows(database, "remap"), rows(database, "evidence")) == (0, 0, 0)
    assert commit(database, whole(1), whole(2), whole(3)).sightings == 3


def _unpaired(number: int = 1) -> Answer:
    return whole(number, request_uri=None, rank=UNPAIRED, peer=None)


def _cut(number: int = 1) -> Answer:
    return whole(number, rank=CUT, faults=("the Contact is cut off",), peer=Peer("", "192.0.2.7"))


def _weak(number: int = 1) -> Answer:
    return whole(number, rank=WEAK, fork="", cseq=None, peer=None)


@pytest.mark.parametrize("order", list(permutations(["weak", "unpaired", "cut", "whole"])), ids=" ".join)
def test_r8_the_best_telling_stays_whatever_the_order(database: Database, order: tuple[str, ...]) -> None:
    """R8: four reports of one answer, each in a batch of its own, leave what the best one alone leaves."""
    reports = {"weak": _weak(), "unpaired": _unpaired(), "cut": _cut(), "whole": whole()}
    sightings = sum(commit(database, reports[name]).sightings for name in order)
    assert sightings == 1
    (remap,) = remaps(database)
    assert (remap.calls, remap.peer_calls, dict(remap.flags)) == (1, {"udp:192.0.2.7:5060": 1}, {})
    assert (rows(database, "refusal"), rows(database, "event")) == (0, 1)


def test_r8_one_better_telling_takes_back_only_its_own(database: Database) -> None:
    """R8: of two unpaired answers counted together one is reported better; the other stays counted."""
    commit(database, _unpaired(1), _unpaired(2))
    commit(database, whole(1))
    found = counters(database)
    assert found["R7 "] == 1
    assert found["sip:old@gw.test -> sip:new@place.test"] == (1, {"udp:192.0.2.7:5060": 1})


def test_r8_a_weak_line_never_stands_beside_full_ones(database: Database) -> None:
    """R8: two full answers of one call take the place of its weak line; a later weak line adds nothing."""
    commit(database, _weak())
    commit(database, whole(1), whole(1, cseq=2, contacts=("<sip:other@place.test>",)))
    commit(database, _weak())
    assert sorted((one.new_uri, one.calls, dict(one.flags)) for one in remaps(database)) == [
        ("sip:new@place.test", 1, {}),
        ("sip:other@place.test", 1, {}),
    ]


def test_a_weak_line_does_not_taint_what_is_proven(database: Database) -> None:
    """A weak line of another call adds to the count and takes no clean remap's flags away or on."""
    commit(database, whole(1))
    commit(database, _weak(2))
    (remap,) = remaps(database)
    assert (remap.calls, dict(remap.flags)) == (2, {})


def test_r5_proxies_in_a_row_are_two_sightings(database: Database) -> None:
    """R5: edge and core share database, Call-ID, CSeq and branch index; each was answered for its own URI."""
    edge, core = whole(1, request_uri="sip:x@core.test"), whole(1, request_uri="sip:x@gw.test")
    for answers in ([edge], [core], [edge], [core]):
        commit(database, *answers)
    assert {one.old_uri: one.calls for one in remaps(database)} == {"sip:x@core.test": 1, "sip:x@gw.test": 1}


def test_r8_a_retracted_copy_is_taken_back(database: Database) -> None:
    """R8: a relayed copy that was committed before it was known as one leaves no trace."""
    relayed = whole(1, request_uri="sip:x@lab.test")
    commit(database, relayed, whole(2))
    batch = batch_of([whole(1)])
    batch.retracted.add(relayed.move_key)
    with database.begin() as connection:
        record(connection, batch, node="node", now=NOW)
    (remap,) = remaps(database)
    assert (remap.old_uri, remap.calls) == ("sip:old@gw.test", 2)
    assert rows(database, "evidence") == 2


def test_ids_are_never_given_twice(database: Database) -> None:
    """The id of a remap that was taken back names no other remap, nor does its evidence."""
    commit(database, _cut(1))
    (first,) = remaps(database)
    commit(database, whole(1, contacts=("<sip:elsewhere@place.test>",)))
    (second,) = remaps(database)
    assert second.id > first.id
    with database.read() as connection:
        assert len(evidence_of(connection, second.id)) == 1


def test_r30_one_remap_per_old_key_and_target(database: Database) -> None:
    """R30: spellings of one old URI and target are one remap; another target opens another one."""
    commit(database, whole(1), whole(2, request_uri="sip:%6fld@GW.test;user=phone"))
    commit(database, whole(3, contacts=("<sip:new@PLACE.test;user=phone>",)), whole(4, contacts=("<sip:x@y.test>",)))
    assert sorted((one.calls, one.new_uri) for one in remaps(database)) == [
        (1, "sip:x@y.test"),
        (3, "sip:new@place.test"),
    ]


def _decide(database: Database, action: str, number: int, *, replace: frozenset[int] = frozenset()) -> None:
    by = Decision(actor="eva", at=NOW, reason="because", replace=replace)
    with database.begin() as connection:
        if action == "approve":
            decide.approve(connection, number, by, POLICY)
        else:
            getattr(decide, action)(connection, number, by)


def test_r30_a_new_target_names_what_it_would_replace(database: Database) -> None:
    """R30: while B is approved for A, A -> C waits and names it, reported before or after the approval."""
    commit(database, whole(1), whole(2, contacts=("<sip:c@y.test>",)))
    first, second = remaps(database)
    _decide(database, "approve", first.id)
    commit(database, whole(3, contacts=("<sip:d@y.test>",)))
    assert {one.id: one.replaces for one in remaps(database)} == {first.id: None, second.id: first.id, 3: first.id}
    _decide(database, "approve", second.id, replace=frozenset({first.id}))
    states = {one.id: (one.state, one.replaces) for one in remaps(database)}
    assert states == {
        first.id: (State.SUPERSEDED, None),
        second.id: (State.APPROVED, first.id),
        3: (State.PENDING, second.id),
    }


def test_r30_a_superseded_target_that_comes_back_waits_again(database: Database) -> None:
    """R30: the network returns to B after C was approved: B is pending again, naming C, and the audit says so."""
    commit(database, whole(1), whole(2, contacts=("<sip:c@y.test>",)))
    first, second = (one.id for one in remaps(database))
    _decide(database, "approve", first)
    _decide(database, "approve", second, replace=frozenset({first}))
    commit(database, whole(3, seen_at=NOW - HOUR))
    assert remaps(database)[0].state is State.SUPERSEDED, "a sighting from before the decision opens nothing"
    commit(database, whole(4, seen_at=NOW + HOUR))
    found = remaps(database)[0]
    assert (found.state, found.replaces, found.calls) == (State.PENDING, second, 3)
    with database.read() as connection:
        assert audit.entries_of(connection, first)[-1].action == "reopen"
        assert audit.broken_at(connection) is None


@pytest.mark.parametrize("action", ["reject", "revoke"])
def test_r31_what_a_person_put_down_stays_down(database: Database, action: str) -> None:
    """R31: a rejected (or revoked) remap stays so on new sightings; its counter grows; a person can reopen it."""
    commit(database, whole(1))
    if action == "revoke":
        _decide(database, "approve", 1)
    _decide(database, action, 1)
    commit(database, whole(2, seen_at=NOW + HOUR))
    (remap,) = remaps(database)
    assert (remap.state, remap.calls) == (State.REJECTED if action == "reject" else State.REVOKED, 2)
    _decide(database, "reopen", 1)
    assert remaps(database)[0].state is State.PENDING


def _at(number: int, hour: int, target: str) -> Answer:
    return whole(number, seen_at=NOW - timedelta(days=1) + hour * HOUR, contacts=(f"<sip:{target}@place.test>",))


@pytest.mark.parametrize(
    ("reported", "flapping"),
    [
        ("bcb", "bc"), ("bbcc", ""), ("bc", ""), ("bcbc", "bc"), ("bcdb", "bcd"), ("bbccdd", ""), ("bcbddd", "bc"),
    ],
)  # fmt: skip
def test_r32_targets_that_alternate_are_flapping(database: Database, reported: str, flapping: str) -> None:
    """R32: one reported again after another had begun is flapping; a plain change from one to the next is not."""
    for hour, target in enumerate(reported):
        commit(database, _at(hour, hour, target))
    assert {one.new_uri[4] for one in remaps(database) if one.new_uri and "flapping" in one.flags} == set(flapping)


@pytest.mark.parametrize(
    ("reported", "flapping"),
    [("b0 c0 b1", "bc"), ("b0 c0 b1 c1", "bc"), ("c0 b0 b1", ""), ("b0 c0", ""), ("b0 b0 b1 c1 c2", "")],
)
def test_r32_targets_that_begin_within_one_second(database: Database, reported: str, flapping: str) -> None:
    """R32: where a log without parts of a second tells both at once, the order of its lines says which came again."""
    for number, one in enumerate(reported.split()):
        commit(database, _at(number, int(one[1]), one[0]))
    assert {one.new_uri[4] for one in remaps(database) if one.new_uri and "flapping" in one.flags} == set(flapping)


def test_r18_an_approval_keeps_its_lifetime(database: Database) -> None:
    """R18: while pending, the newest answer's deadline counts; once approved, no answer shortens or lengthens it."""
    later = {"seen_at": NOW + HOUR}
    commit(database, whole(1, contacts=("<sip:new@place.test>;expires=7200",)))
    commit(database, whole(2, contacts=("<sip:new@place.test>;expires=14400",)))
    assert remaps(database)[0].expires_at == NOW + 3 * HOUR
    _decide(database, "approve", 1)
    commit(database, whole(3, **later), whole(4, contacts=("<sip:new@place.test>;expires=1",), **later))
    (remap,) = remaps(database)
    assert (remap.expires_at, set(remap.flags), remap.calls) == (NOW + 3 * HOUR, {"expiring"}, 4)


def test_r18_an_expired_remap_that_is_told_anew_waits_again(database: Database) -> None:
    """R18: it ends by itself on its day, and a later answer makes it wait for review with its own deadline."""
    commit(database, whole(1, contacts=("<sip:new@place.test>;expires=7200",)))
    _decide(database, "approve", 1)
    with database.begin() as connection:
        assert decide.expire(connection, now=NOW) == []
        assert decide.expire(connection, now=NOW + HOUR) == [1]
    late = Decision(actor="eva", at=NOW + HOUR)
    with database.begin() as connection:
        decide.reopen(connection, 1, late)
        with pytest.raises(RefusedError, match="R18"):
            decide.approve(connection, 1, late, POLICY)
        connection.rollback()
    reported = whole(2, seen_at=NOW + 2 * HOUR, contacts=("<sip:new@place.test>;expires=60",))
    commit(database, reported, now=NOW + 2 * HOUR)
    (remap,) = remaps(database)
    assert (remap.state, remap.expires_at) == (State.PENDING, NOW + 2 * HOUR + timedelta(seconds=60))


def test_r37_times_are_utc_to_the_microsecond(database: Database) -> None:
    """R37: what is stored comes back as the same instant, in UTC."""
    seen = NOW - timedelta(microseconds=1)
    commit(database, whole(1, seen_at=seen))
    (remap,) = remaps(database)
    assert (remap.first_seen, remap.last_seen) == (seen, seen)
    assert remap.first_seen.utcoffset() == timedelta(0)


def test_a_storm_costs_few_rows_and_flat_memory(database: Database) -> None:
    """10,000 transactions of one remap: exact counters, twenty rows of evidence, no memory that grows with them."""
    tracemalloc.start()
    peaks = []
    for part in range(5):
        numbers = range(2_000 * part, 2_000 * (part + 1))
        commit(database, *(whole(number, position=number) for number in numbers))
        peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    (remap,) = remaps(database)
    assert (remap.calls, remap.peer_calls) == (10_000, {"udp:192.0.2.7:5060": 10_000})
    assert (rows(database, "remap"), rows(database, "evidence")) == (1, 20)
    with database.read() as connection:
        positions = [one.position for one in evidence_of(connection, remap.id)]
    assert positions == [0, 1, 2, 3, 4, *range(9_985, 10_000)]
    assert peaks[-1] - peaks[1] < 2 << 20


def test_a_storm_in_a_log_is_read_in_bounded_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop's log of 1,200 transactions and as many 183s is committed in parts, and counted exactly."""
    log = b""
    for number in range(600):
        for old, new in (("a", "b"), ("b", "a")):
            names = {"call": f"loop-{old}-{number}", "branch": f"z9hG4bK-loop-{old}-{number}"}
            ringing = received(response("183 x", **names))  # type: ignore[arg-type]
            answer = response("301 x", f"<sip:{new}@x.test>", **names)  # type: ignore[arg-type]
            log += call_log(answer, request(f"sip:{old}@x.test", **names)) + ringing  # type: ignore[arg-type]
    monkeypatch.setattr(service_ingest, "COMMIT_WEIGHT", 100)
    summary = ingest(MemoryLog(log), reading(), database, node="node", clock=lambda: NOW)
    assert (summary.sightings, summary.session_progress, summary.remaps_new) == (1_200, 1_200, 2)
    assert {one.old_uri: one.calls for one in remaps(database)} == {"sip:a@x.test": 600, "sip:b@x.test": 600}
    assert rows(database, "evidence") == 40


def test_the_quarantine_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into the quarantine is counted as lost; the same text again takes no room."""
    monkeypatch.setattr(collecting, "MAX_QUARANTINED", 3)
    broken = [whole(number, contacts=(f"<sip:x{number}",), text=f"text {number}") for number in range(5)]
    assert commit(database, *broken).unparsed == 5
    with database.read() as connection:
        assert len(connection.execute(select(quarantine)).all()) == 3
        (lost,) = connection.execute(select(metadata.tables["loss"])).all()
    assert (lost.kind, lost._mapping["count"]) == ("quarantine-full", 2)


def test_r46_one_source_cannot_fill_the_quarantine_in_an_hour(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R46: what a source adds over its budget of an hour is counted, by whatever times forged lines name; the next
    hour and other sources have a budget of their own."""
    monkeypatch.setattr(collecting, "HOURLY_QUARANTINED", 3)
    hour = timedelta(hours=1)

    def broken(first: int, authenticity: Authenticity) -> list[Answer]:
        at = (NOW - number * hour if authenticity is Authenticity.UNKEYED else NOW for number in range(9))
        return [
            whole(number, contacts=(f"<sip:x{number}",), text=f"text {number}", authenticity=authenticity, seen_at=when)
            for number, when in zip(range(first, first + 5), at, strict=False)
        ]

    assert commit(database, *broken(0, Authenticity.UNKEYED)).unparsed == 5
    assert commit(database, *broken(10, Authenticity.FRAMED)).unparsed == 5
    assert rows(database, "quarantine") == 3
    with database.begin() as connection:
        record(connection, batch_of(broken(20, Authenticity.FRAMED), "other"), node="node", now=NOW)
    assert rows(database, "quarantine") == 6
    commit(database, *broken(30, Authenticity.UNKEYED), now=NOW + hour)
    assert rows(database, "quarantine") == 9
    with database.read() as connection:
        lost = connection.execute(select(metadata.tables["loss"])).all()
    counts = {(one.source, one.kind): one._mapping["count"] for one in lost}
    assert counts == {("test", "quarantine-over-budget"): 9, ("other", "quarantine-over-budget"): 2}


def test_the_quarantine_is_bounded_in_bytes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long records fill the quarantine before their number does, and what finds no room is counted as lost."""
    broken = [whole(number, contacts=(f"<sip:x{number}",), text=f"text {number}" * 100) for number in range(9)]
    commit(database, broken[0])
    with database.read() as connection:
        size = len(connection.execute(select(quarantine.c.content)).scalar_one())
    monkeypatch.setattr(collecting, "MAX_QUARANTINED_BYTES", 4 * size)
    assert commit(database, *broken[1:6]).unparsed == 5
    assert commit(database, *broken[6:]).unparsed == 3
    with database.read() as connection:
        assert len(connection.execute(select(quarantine)).all()) == 4
        (lost,) = connection.execute(select(metadata.tables["loss"])).all()
    assert (lost.kind, lost._mapping["count"]) == ("quarantine-full", 5)


def test_text_of_any_kind_can_be_stored(database: Database) -> None:
    """R25: NUL, lone surrogates and endless text in every field of a line become printable, bounded rows."""
    odd = "x\x00\udcff\u202e\n" * 300
    answers = [
        whole(1, method=odd),
        whole(2, peer=Peer(odd, odd, 1)),
        whole(3, contacts=(odd,)),
        whole(4, request_uri=odd),
        whole(5, incoming_uri=odd, reasons=(odd,), expires=odd),
        replace(whole(6), call_id=odd),
        whole(7, request_uri=None, rank=UNPAIRED, to_hint=odd),
    ]
    assert commit(database, *answers).sightings == 7
    with database.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                assert all(value.isprintable() for value in row if isinstance(value, str) and "SIP/2.0" not in value)


kinds = st.sampled_from(["whole", "unpaired", "cut", "weak", "refused"])


@given(st.lists(st.lists(st.tuples(kinds, st.integers(1, 3)), min_size=1, max_size=4), max_size=6))
def test_r8_counters_are_the_sum_of_the_best_tellings(batches: list[list[tuple[str, int]]]) -> None:
    """R8: after any batches, every counter is what counting each call's best report alone gives."""
    made = {"whole": whole, "unpaired": _unpaired, "cut": _cut, "weak": _weak}
    database = Database("sqlite://")
    metadata.create_all(database.engine)
    best: dict[int, str] = {}
    order = ["weak", "unpaired", "cut", "whole"]
    for batch in batches:
        calls = {number: kind if kind != "refused" else "whole" for kind, number in batch}
        commit(database, *(made[kind](number) for number, kind in calls.items()))
        for number, kind in calls.items():
            best[number] = max(best.get(number, "weak"), kind, key=order.index)
    counted = [kind for kind in best.values() if kind != "unpaired"]
    total = sum(one.calls for one in remaps(database))
    peers: dict[str, int] = {}
    for one in remaps(database):
        for peer, calls_of_peer in one.peer_calls.items():
            peers[peer] = peers.get(peer, 0) + calls_of_peer
    assert total == len(counted) == sum(peers.values())
    assert rows(database, "event") == len(best)
    assert counters(database).get("R7 ", 0) == len(best) - len(counted)
    assert rows(database, "remap") == (1 if counted else 0)
    database.close()


def test_the_audit_table_is_empty_after_collecting(database: Database, tmp_path: Path) -> None:
    """R35: collecting alone decides nothing, so the audit has no entry."""
    commit(database, whole(1), whole(2))
    assert rows(database, audit_table.name) == 0
    assert tmp_path.exists()
