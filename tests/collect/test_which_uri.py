"""R5 to R12: which URI has moved, and which answers say nothing about that."""

from __future__ import annotations

import pytest

from redirectd.collect.answer import fork_of
from redirectd.collect.verdict import Learnt
from tests.collect.logs import MemoryLog, call, read, received, record, request, response, sent
from tests.dialects.test_proof import KEY

NEW = "<sip:new@place.test>"
OTHER = "z9hG4bKPjbbbbbbbb"


def test_r5_the_request_uri_has_moved_not_to_nor_diversion() -> None:
    """R5: the old URI is the Request-URI; To (even rewritten in the response), Diversion and History-Info are not."""
    headers = ["Diversion: <sip:first@gw.test>;reason=unconditional", "History-Info: <sip:hist@gw.test>;index=1"]
    asked = request("sip:asked@gw.test", to="<sip:dialled@a.test>", extra=headers)
    answer = response("301 Moved", NEW, to="<sip:rewritten@b.test>;tag=1", extra=headers)
    assert list(read(call(answer, asked)).remaps) == ["sip:asked@gw.test"]


def test_r5_the_second_301_of_a_chain_concerns_the_second_uri() -> None:
    """R5: with one Call-ID and CSeq + 1 (uri_pjsip) A->B and B->C are learnt, while To stays A."""
    log = call(response("301 Moved", "<sip:b@two.test>"), request("sip:a@one.test"))
    second = {"cseq": 2, "branch": OTHER}
    log += call(response("301 Moved", "<sip:c@three.test>", **second), request("sip:b@two.test", **second))  # type: ignore[arg-type]
    assert {old: new for old, (new, _) in read(log).remaps.items()} == {
        "sip:a@one.test": ["sip:b@two.test"],
        "sip:b@two.test": ["sip:c@three.test"],
    }


def test_r5_the_incoming_uri_is_kept_beside_it() -> None:
    """R5: a record tells both the URI that was asked and the incoming one, and whether the call had forked."""
    first, second = (read(record(NEW, branch=branch)).learnt[0] for branch in (0, 1))
    assert (first.old_uri, first.incoming) == ("sip:old@gw.test", "sip:dialled@lab.test")
    assert (first.forked, second.forked) == (False, True)


@pytest.mark.parametrize("order", ["record first", "dump first"])
def test_r5_a_dump_does_not_lose_the_incoming_uri(order: str) -> None:
    """R5: where both stand in the log, the record's incoming URI and the dump's Expires are kept together."""
    branch = "z9hG4bKcydzigwkX.5ab.0"
    dump = call(response("301 Moved", NEW, branch=branch, extra=["Expires: 600"]), request(branch=branch))
    line = record(NEW, key=KEY)
    (learnt,) = read(line + dump if order == "record first" else dump + line, keys=[KEY]).learnt
    assert (learnt.incoming, learnt.lifetime) == ("sip:dialled@lab.test", 600)


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("branch", {"branch": OTHER}),
        ("CSeq number", {"cseq": 2}),
        ("Call-ID", {"call": "call-2"}),
        ("method", {"method": "OPTIONS"}),
    ],
)
def test_r6_another_transaction_is_not_taken_for_it(what: str, asked: dict[str, object]) -> None:
    """R6: a request that differs in branch, CSeq, Call-ID or method is not the one, however near it stands."""
    found = read(call(response("301 Moved", NEW), request(**asked)))  # type: ignore[arg-type]
    assert (found.remaps, [rule for rule, _ in found.refused]) == ({}, ["R7"]), what


def test_r6_pairs_by_branch_and_not_by_order() -> None:
    """R6: two calls whose answers come the other way round are paired rightly."""
    second = {"call": "call-2", "branch": OTHER}
    log = sent(request("sip:one@gw.test")) + sent(request("sip:two@gw.test", **second))  # type: ignore[arg-type]
    log += received(response("301 Moved", "<sip:new2@p.test>", **second))  # type: ignore[arg-type]
    log += received(response("301 Moved", "<sip:new1@p.test>"))
    assert {old: new for old, (new, _) in read(log).remaps.items()} == {
        "sip:one@gw.test": ["sip:new1@p.test"],
        "sip:two@gw.test": ["sip:new2@p.test"],
    }


def test_r6_never_with_an_ack() -> None:
    """R6: an ACK that carries the new URI in the same branch is not the request that was answered."""
    ack = request("sip:new@place.test", method="ACK")
    log = sent(ack) + call(response("301 Moved", NEW)) + sent(ack)
    assert list(read(log).remaps) == ["sip:old@gw.test"]
    assert read(sent(ack) + received(response("301 Moved", NEW))).refused == [("R7", "")]


def test_r6_after_401_the_answered_cseq_counts() -> None:
    """R6: after a challenge the INVITE with the answered CSeq is the one, each with a branch of its own."""
    log = call(response("401 Unauthorized"), request("sip:first@gw.test"))
    again = {"cseq": 2, "branch": OTHER}
    log += call(response("301 Moved", NEW, **again), request("sip:again@gw.test", **again))  # type: ignore[arg-type]
    assert list(read(log).remaps) == ["sip:again@gw.test"]


def test_r6_without_a_branch_by_call_id_and_cseq() -> None:
    """R6: where the messages have no branch, the Call-ID and the whole CSeq pair them."""
    log = call(response("301 Moved", NEW, branch=None), request(branch=None))
    assert list(read(log).remaps) == ["sip:old@gw.test"]
    assert read(call(response("301 Moved", NEW, branch=None), request(branch=None, cseq=9))).remaps == {}


def test_r9_without_a_branch_the_forks_are_told_apart_by_their_peers() -> None:
    """R6, R9: forks share Call-ID and CSeq; without a branch who answered decides, else nothing does (R7)."""
    one, two, three = (f"UDP:192.0.2.{number}:5060" for number in (7, 8, 9))
    asked = sent(request("sip:a@one.test"), to=one) + sent(request("sip:b@two.test", branch=OTHER), to=two)
    told = response("301 Moved", NEW, branch=None).replace(b"Via: SIP/2.0/UDP 192.0.2.1:5060\r\n", b"")
    assert list(read(asked + received(told, peer=one)).remaps) == ["sip:a@one.test"]
    assert list(read(asked + received(told, peer=two)).remaps) == ["sip:b@two.test"]
    assert read(asked + received(told, peer=three)).refused == [("R7", "")]
    same = sent(request("sip:a@one.test"), to=two) + sent(request("sip:b@two.test", branch=OTHER), to=two)
    assert read(same + received(told, peer=two)).refused == [("R7", "")]


def test_r6_a_request_that_was_received_is_another_transaction() -> None:
    """R6: a request that this host received with the same branch is not the one that it sent."""
    log = received(request()) + received(response("301 Moved", NEW))
    assert read(log).refused == [("R7", "")]


def test_r6_a_request_logged_behind_its_answer_is_found() -> None:
    """R6: threads can log the request behind its answer; order proves nothing."""
    assert list(read(received(response("301 Moved", NEW)) + sent(request())).remaps) == ["sip:old@gw.test"]


def test_r6_the_request_may_stand_in_the_rotated_file() -> None:
    """R6: the log was rotated between request and answer."""
    older = b"noise\n" * 1000 + sent(request())
    assert list(read(received(response("301 Moved", NEW)), older=older).remaps) == ["sip:old@gw.test"]
    assert MemoryLog(b"").previous() is None


def test_r6_many_provisional_answers_do_not_hide_the_request() -> None:
    """R6: a hundred provisional answers between request and 301 do not make it unpaired."""
    log = sent(request()) + received(response("180 Ringing")) * 100 + received(response("301 Moved", NEW))
    assert list(read(log).remaps) == ["sip:old@gw.test"]


def test_r7_unpaired_makes_no_remap_and_to_is_a_hint() -> None:
    """R7: a 301 without its request is recorded as unpaired; To stands in the reason only."""
    found = read(received(response("301 Moved", NEW, to="<sip:hint@gw.test>;tag=1")))
    assert (found.remaps, found.refused, found.sightings) == ({}, [("R7", "")], 1)
    assert "sip:hint@gw.test" in found.refusals[0].reason


@pytest.mark.parametrize(
    ("branch", "fork"),
    [
        ("z9hG4bKcydzigwkX.5ab3.0", "0"),
        ("z9hG4bKcydzigwkX.5ab3.a", "10"),
        ("z9hG4bKcydzigwkX.5ab3.01", "16"),
        ("z9hG4bKPj-00-11", "z9hG4bKPj-00-11"),
        ("z9hG4bK.1", "z9hG4bK.1"),
        ("z9hG4bK1.2.zz", "z9hG4bK1.2.zz"),
        (None, ""),
    ],
)
def test_r8_kamailios_branch_index_is_reversed_hexadecimal(branch: str | None, fork: str) -> None:
    """R8: the branch of a dump and the index of a record name one branch, also from the eleventh on."""
    assert fork_of(branch) == fork


def test_r8_a_retransmitted_301_is_one_sighting() -> None:
    """R8: the same 301 received seven times is one sighting."""
    log = call(response("301 Moved", NEW)) + received(response("301 Moved", NEW)) * 6
    assert read(log).sightings == 1


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_r8_several_loggers_of_one_answer_are_one_sighting(turn: int) -> None:
    """R8: a record, a dump without its request and a dump with it are one sighting, whatever comes first."""
    branch = "z9hG4bKcydzigwkX.5ab.0"
    tellings = [
        record(NEW),
        received(response("301 Moved", NEW, branch=branch)),
        call(response("301 Moved", NEW, branch=branch), request(branch=branch)),
    ]
    found = read(b"".join(tellings[turn:] + tellings[:turn]))
    assert (found.sightings, found.remaps) == (1, {"sip:old@gw.test": (["sip:new@place.test"], set())})


def test_r8_what_this_host_sends_is_not_a_sighting() -> None:
    """R8: a 301 that this host sends as the answering side is not one: then we are the redirector."""
    log = received(request()) + sent(response("301 Moved", NEW))
    assert read(log).sightings == 0


def test_r8_a_cut_record_and_an_unpaired_dump_make_one_whole() -> None:
    """R8: a record whose Contact was cut and a dump without its request are a whole answer together."""
    long = "<sip:new@place.test;x=" + "y" * 2000 + ">"
    line = record(NEW, long, key=KEY)
    dump = received(response("301 Moved", NEW, branch="z9hG4bK1.2.0"))
    cut = read(line, keys=[KEY]).remaps["sip:old@gw.test"][1]
    assert cut == {"malformed"}
    for log in (line + dump, dump + line):
        assert read(log, keys=[KEY]).remaps == {"sip:old@gw.test": (["sip:new@place.test"], set())}


def test_r7_a_record_whose_uri_is_cut_off_tells_no_old_uri() -> None:
    """R5, R7: of a URI of 512 bytes the record may carry a part alone; a dump of the same answer tells it whole."""
    old = f"sip:{'a' * 500}@gw.test.of-another.test"
    line = record(NEW, buri=old[:512])
    whole = call(response("301 Moved", NEW, branch="z9hG4bK1.2.0"), request(old, branch="z9hG4bK1.2.0"))
    assert (read(line).remaps, read(line).refused) == ({}, [("R7", "")])
    assert list(read(record(NEW, buri=old[:511])).remaps) == [old[:511]]
    for log in (line + whole, whole + line):
        assert list(read(log).remaps) == [old]


def test_r9_a_fork_concerns_its_own_branch_alone() -> None:
    """R9: one branch of a fork is answered 301, the other 200: the 301's Request-URI alone has moved."""
    log = sent(request("sip:b0@gw.test", branch="z9hG4bK1.2.0")) + sent(
        request("sip:b1@gw.test", branch="z9hG4bK1.2.1")
    )
    log += received(response("200 OK", "<sip:b0@phone.test>", branch="z9hG4bK1.2.0"))
    log += received(response("301 Moved", NEW, branch="z9hG4bK1.2.1"))
    assert list(read(log).remaps) == ["sip:b1@gw.test"]


def test_r9_two_301s_of_one_fork_are_two_sightings() -> None:
    """R9: each branch of a fork that is answered 301 is a sighting of its own."""
    log = record(NEW, buri="sip:b0@gw.test", branch=0) + record(NEW, buri="sip:b1@gw.test", branch=1)
    assert set(read(log).remaps) == {"sip:b0@gw.test", "sip:b1@gw.test"}


def test_r10_in_dialog_requests_are_not_learnt_from() -> None:
    """R10: the request's To has a tag: its Request-URI is a remote target."""
    asked = request(to="<sip:dialled@somewhere.test>;tag=remote")
    assert read(call(response("301 Moved", NEW), asked)).refused == [("R10", "sip:old@gw.test")]


VOLATILE = [
    "sip:old@192.0.2.50:5062;ob",
    "sip:old@192.0.2.50;rinstance=abc",
    "sip:old@gw.test;gr",
    "sip:old@gw.test;line=sr-N6IAzBFwMJZfWBFhMK",
    "sip:old@192.0.2.50;alias=10.0.0.1~5060~1",
    "sip:old@df7jal23ls0d.invalid;transport=ws",
    "sip:atpsh-5fa-1@gw.test",
]


@pytest.mark.parametrize("uri", VOLATILE)
def test_r11_volatile_uris_are_refused_on_either_side(uri: str) -> None:
    """R11: registered contacts, temporary GRUUs and masks are refused, on the old side as on the new one."""
    assert read(call(response("301 Moved", NEW), request(uri))).refused == [("R11", uri)]
    elsewhere = request("sip:asked@gw.test")
    assert read(call(response("301 Moved", f"<{uri}>"), elsewhere)).refused == [("R11", "sip:asked@gw.test")]


def test_r11_what_only_resembles_a_mark_is_not_volatile() -> None:
    """R11: `obj`, `grid` and hosts that merely contain `invalid` are ordinary."""
    for uri in ("sip:old@gw.test;grid=1", "sip:old@gw.test;obj", "sip:old@invalid.gw.test"):
        assert list(read(call(response("301 Moved", NEW), request(uri))).remaps) == [uri]


@pytest.mark.parametrize(
    ("method", "kind", "old"),
    [
        ("INVITE", "user", "sip:old@gw.test;transport=tcp"),
        ("MESSAGE", "user", "sip:old@gw.test;transport=tcp"),
        ("SUBSCRIBE", "user", "sip:old@gw.test;transport=tcp"),
        ("OPTIONS", "gateway", "sip:gw.test;transport=tcp"),
        ("REGISTER", "registrar", "sip:gw.test;transport=tcp"),
    ],
)
def test_r12_the_method_says_what_moved(method: str, kind: str, old: str) -> None:
    """R12: calls and messages move users, OPTIONS a gateway's host, port and transport, REGISTER a registrar."""
    asked = request("sip:old@gw.test;transport=tcp", method=method)
    (learnt,) = read(call(response("301 Moved", NEW, method=method), asked)).learnt
    assert isinstance(learnt, Learnt)
    assert (learnt.kind, learnt.old_uri, learnt.answer.method) == (kind, old, method)


def test_r12_a_gateways_target_is_a_place_too() -> None:
    """R12: of the Contact of a 301 to OPTIONS only host, port and transport count; the user is not a place."""
    contact = "<sip:anyone@new.test:5070;transport=tls;lr>"
    (learnt,) = read(call(response("301 Moved", contact, method="OPTIONS"), request(method="OPTIONS"))).learnt
    assert [one.uri for one in learnt.candidates] == ["sip:new.test:5070;transport=tls"]


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_r12_ack_and_cancel_cannot_be_redirected(method: str) -> None:
    """R12: an answer to ACK or CANCEL is nothing at all."""
    assert read(call(response("301 Moved", NEW, method=method), request(method=method))).sightings == 0


@pytest.mark.parametrize("method", ["BYE", "PUBLISH", "NOTIFY", "invite"])
def test_r12_other_methods_are_refused(method: str) -> None:
    """R12: other methods say nothing about routing; methods are case-sensitive."""
    assert read(call(response("301 Moved", NEW, method=method), request(method=method))).refused[0][0] == "R12"


def test_r6_short_branches_are_told_apart_within_a_call() -> None:
    """R6, R9: branches too short to be searched for still decide, where a call forked with one Call-ID and CSeq."""
    first, second = "z9hG4bK1", "z9hG4bK2"
    log = (
        sent(request("sip:a@one.test", branch=first))
        + sent(request("sip:b@two.test", branch=second))
        + received(response("301 Moved", "<sip:c@place.test>", branch=first))
    )
    assert list(read(log).remaps) == ["sip:a@one.test"]
