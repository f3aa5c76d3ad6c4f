"""R1 to R4: which responses make a remap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from redirectd.collect.answer import Answer
from redirectd.collect.rules import judge
from redirectd.collect.verdict import Learnt
from tests.collect.logs import POLICY, call, read, received, record, request, response, sent
from tests.dialects.test_proof import KEY

NEW = "<sip:new@place.test>"
MOVED: dict[str, tuple[list[str], set[str]]] = {"sip:old@gw.test": (["sip:new@place.test"], set())}


@pytest.mark.parametrize(
    "status", ["300 Multiple Choices", "302 Moved Temporarily", "305 Use Proxy", "380 Alt", "200 OK"]
)
def test_r1_other_statuses_make_nothing(status: str) -> None:
    """R1: only 301 makes a remap; 300, 302, 305, 380 and 200 are not even sightings."""
    found = read(call(response(status, NEW)))
    assert (found.remaps, found.sightings, found.unreadable) == ({}, 0, [])


@pytest.mark.parametrize("status", [300, 302, 305, 380])
def test_r1_other_statuses_make_nothing_in_records(status: int) -> None:
    """R1: the same in the one-line record."""
    assert read(record(NEW, status=status)).sightings == 0


@pytest.mark.parametrize("status", [183, 300, 302, 305, 380])
def test_r1_the_rules_themselves_refuse_other_statuses(status: int) -> None:
    """R1: whatever a scanner may let through, the rules make nothing of another status."""
    told = Answer(
        status=status, method="INVITE", call_id="c", cseq=1, fork="", request_uri="sip:old@gw.test", contacts=(NEW,)
    )
    assert judge(told, POLICY) is None
    assert isinstance(judge(replace(told, status=301), POLICY), Learnt)


def test_r1_a_301_makes_a_remap() -> None:
    """R1: a 301 makes one, from a dump as from a record."""
    assert read(call(response("301 Moved Permanently", NEW))).remaps == MOVED
    assert read(record(NEW, key=KEY), keys=[KEY]).remaps == MOVED


@pytest.mark.parametrize(
    "reason",
    [
        "301 Redirect request to Home Server",
        "301 ",
        "301 302 Moved Temporarily",
        "301 \x1b[31mred",
        "301 Verschoben für \udcff",
    ],
)
def test_r2_the_code_decides(reason: str) -> None:
    """R2: whatever the reason phrase says, hostile or not UTF-8, a 301 is a 301."""
    assert read(call(response(reason, NEW))).remaps == MOVED


def test_r2_the_phrase_of_a_302_decides_nothing() -> None:
    """R2: `302 Moved Permanently` and a 200 whose phrase holds a status line are no 301s."""
    for status in ("302 Moved Permanently", "200 SIP/2.0 301 Moved Permanently"):
        assert read(call(response(status, NEW))).sightings == 0


@pytest.mark.parametrize("status", ["3010 Moved", "30 Moved", "4294967301 better not", "0301 Moved", "1830 x"])
def test_r2_statuses_of_other_lengths_are_nothing(status: str) -> None:
    """R2: a status of more or fewer than three digits (RFC 4475) is nothing: no sighting, nothing to quarantine."""
    found = read(call(response(status, NEW)))
    assert (found.sightings, found.progress, found.unreadable) == (0, [], [])


SDP = b"\r\n".join(
    [
        b"v=0",
        b"o=- 1 1 IN IP4 192.0.2.7",
        b"s=-",
        b"c=IN IP4 192.0.2.7",
        b"t=0 0",
        b"m=audio 4000 RTP/AVP 8 0",
        b"a=sendonly",
        b"",
    ]
)


def _ringing(**kind: object) -> bytes:
    return response("183 Session Progress", "<sip:media@place.test>;expires=60", **kind)  # type: ignore[arg-type]


def test_r3_a_183_is_reported_and_makes_nothing() -> None:
    """R3: one record with the request URI, Call-ID, peer, SDP, media and 100rel; no remap, nothing to store."""
    extra = ["Content-Type: application/sdp", "Require: timer, 100rel", "RSeq: 1", "Expires: 60"]
    found = read(call(_ringing(extra=extra, body=SDP)))
    assert found.sightings == 0
    assert found.batch.is_empty
    (told,) = found.progress
    assert (told.request_uri, told.call_id, told.peer) == ("sip:old@gw.test", "call-1", "udp:192.0.2.7:5060")
    assert (told.sdp, told.reliable) == (True, True)
    assert [(media["kind"], media["direction"]) for media in told.media] == [("audio", "sendonly")]


def test_r3_a_183_without_sdp_says_so() -> None:
    """R3: no SDP and no 100rel are told as such."""
    (told,) = read(call(_ringing())).progress
    assert (told.sdp, told.media, told.reliable) == (False, (), False)


def test_r3_a_repeated_183_counts_once() -> None:
    """R3: a reliable 183 is repeated until its PRACK and counts once; that of another call is another one."""
    log = call(_ringing()) + received(_ringing()) * 6
    other = call(
        _ringing(call="call-2", branch="z9hG4bKPjbbbbbbbb"), request(call="call-2", branch="z9hG4bKPjbbbbbbbb")
    )
    assert len(read(log).progress) == 1
    assert len(read(log + other).progress) == 2


def test_r3_a_record_and_a_dump_of_one_183_are_one_report() -> None:
    """R3: the line knows the request and the message the SDP; one report has both."""
    dump = received(_ringing(branch="z9hG4bK5e.77.0", extra=["Content-Type: application/sdp"], body=SDP))
    for log in (record(status=183) + dump, dump + record(status=183)):
        (told,) = read(log).progress
        assert (told.request_uri, told.sdp) == ("sip:old@gw.test", True)


def test_r4_a_301_after_a_183_is_learnt() -> None:
    """R4: a 183 before the 301 of the same transaction changes nothing."""
    log = sent(request()) + received(_ringing()) + received(response("301 Moved Permanently", NEW))
    found = read(log)
    assert found.remaps == MOVED
    assert len(found.progress) == 1
