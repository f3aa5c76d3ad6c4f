"""What a log shows of early media, by peer: SDP, codecs, direction, PRACK, 180 after 183. Nothing is stored (R3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect.capture import searchable
from redirectd.collect.early_report import (
    MAX_BRANCHES,
    MAX_EXAMPLES,
    MAX_OPEN,
    MAX_PEERS,
    MAX_STEPS,
    EarlyFinding,
    EarlyReport,
    PeerEarly,
)
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.collect.traffic import LoggedMessage, Traffic
from redirectd.dialects import registry
from redirectd.dialects.frame import Direction, Peer
from redirectd.sip.message import parse_message
from redirectd.sources.file import open_log
from tests.collect.test_explanation import CORPUS

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
SIDE = Peer("udp", "192.0.2.7", 5060)
OFFER = "m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"


def reported(name: str) -> list[PeerEarly]:
    """What a log of the corpus comes to."""
    report = EarlyReport()
    with open_log(str(CORPUS / name)) as opened:
        log = searchable(opened)
        reading = Reading(name, registry.detect(log.read(log.start, 1 << 20)), UTC, Policy())
        for logged in Traffic(log, reading, lambda: NOW):
            report.add(logged)
    return report.end()


def message(line: str, body: str = "", *, call: str = "c1", headers: str = "", cseq: str = "1 INVITE") -> bytes:
    """A message of one transaction."""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{line}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKbranch{call}\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: {call}\r\n"
        f"CSeq: {cseq}\r\n{headers}{kind}\r\n{body}"
    ).encode("utf-8", "surrogateescape")


def acknowledged(rseq: str) -> bytes:
    """The PRACK of a reliable 183."""
    return message("PRACK sip:b@x SIP/2.0", headers=f"RAck: {rseq} 1 INVITE\r\n", cseq="2 PRACK")


def logged(raw: bytes, peer: Peer = SIDE) -> LoggedMessage:
    """The same as a log shows it."""
    direction = Direction.RECEIVED if raw.startswith(b"SIP/2.0") else Direction.SENT
    return LoggedMessage(0, "test", direction, peer, None, NOW, parse_message(raw))


def found(*raws: bytes) -> PeerEarly:
    """The only peer of some messages."""
    report = EarlyReport()
    for raw in raws:
        report.add(logged(raw))
    [peer] = report.end()
    return peer


INVITE = message("INVITE sip:b@x SIP/2.0", OFFER, headers="Supported: 100rel, timer\r\n")
RELIABLE = "Require: 100rel\r\nRSeq: 7\r\n"
PROGRESS = "SIP/2.0 183 Session Progress"
PCMA = "m=audio 5000 RTP/AVP 8\r\n"
CASES = {
    "fine": ([message(PROGRESS, PCMA)], set()),
    "no SDP": ([message(PROGRESS)], {"no-sdp"}),
    "other codec": ([message(PROGRESS, "m=audio 5000 RTP/AVP 9\r\n")], {"no-common-codec"}),
    "only events in common": (
        [message(PROGRESS, "m=audio 5 RTP/AVP 9 101\r\na=rtpmap:101 telephone-event/8000\r\n")],
        {"no-common-codec"},
    ),
    "a codec by another case": ([message(PROGRESS, "m=audio 5 RTP/AVP 96\r\na=rtpmap:96 pcma/8000\r\n")], set()),
    "port 0": ([message(PROGRESS, "m=audio 0 RTP/AVP 8\r\n")], {"port-0"}),
    "recvonly": ([message(PROGRESS, PCMA + "a=recvonly\r\n")], {"not-sending"}),
    "inactive": ([message(PROGRESS, "a=inactive\r\n" + PCMA)], {"not-sending"}),
    "sendonly": ([message(PROGRESS, PCMA + "a=sendonly\r\n")], set()),
    "no PRACK": ([message(PROGRESS, PCMA, headers=RELIABLE)], {"no-prack"}),
    "PRACK": (
        [message(PROGRESS, PCMA, headers=RELIABLE), acknowledged("7")],
        set(),
    ),
    "another one's PRACK": (
        [message(PROGRESS, PCMA, headers=RELIABLE), acknowledged("6")],
        {"no-prack"},
    ),
    "180 after it": ([message(PROGRESS, PCMA), message("SIP/2.0 180 Ringing")], {"ringing-after"}),
    "180 before it": ([message("SIP/2.0 180 Ringing"), message(PROGRESS, PCMA)], set()),
    "video alone": ([message(PROGRESS, "m=video 5000 RTP/AVP 99\r\n")], set()),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_call(case: str) -> None:
    """R3: each reason for which a caller can hear nothing is found, and nothing else; a 200 ends the transaction."""
    answers, expected = CASES[case]
    peer = found(INVITE, *answers, message("SIP/2.0 200 OK", PCMA))
    assert {str(finding) for finding in peer.findings} == expected
    assert (peer.calls, peer.fine) == (1, not expected)
    assert peer.first is not None
    assert peer.first.final == 200
    assert peer.first.steps[0].label == "INVITE sip:b@x"


def test_a_repeated_183_counts_once() -> None:
    """R3: a reliable 183 is sent again until its PRACK, and a copy of it is not a second one."""
    peer = found(INVITE, *[message(PROGRESS, PCMA, headers=RELIABLE)] * 5)
    assert (peer.progress, peer.reliable) == (1, 1)
    assert peer.first is not None
    assert peer.first.repeated == 4


def test_an_offer_that_the_log_does_not_show_is_not_compared() -> None:
    """Without the INVITE nothing is said of codecs in common, nor of a PRACK that would not be logged either."""
    peer = found(message(PROGRESS, PCMA, headers=RELIABLE))
    assert peer.findings == {}
    assert peer.codecs == {("", "PCMA"): 1}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "asterisk/ast22-pjsip.full.log",
            {("udp:127.0.31.1:6001", False): (3, 3), ("udp:127.0.31.1:6002", False): (3, 0)}
            | {("udp:127.0.40.1:5060", True): (6, 6)},
        ),
        (
            "kamailio/sipdump.data",
            {("udp:127.0.0.1:20001", False): (1, 1), ("udp:127.0.0.1:20002", False): (2, 0)}
            | {("udp:127.0.0.1:5070", True): (3, 1)},
        ),
        ("kamailio/xlog-syslog.log", {("udp:127.0.0.1:20001", False): (2, 2), ("udp:127.0.0.1:20002", False): (2, 0)}),
        ("captures/tcp.pcap", {("tcp:127.9.0.1:5060", False): (3, 0), ("tcp:127.9.0.3:5070", False): (3, 0)}),
    ],
)
def test_real_logs_by_peer(name: str, expected: dict[tuple[str, bool], tuple[int, int]]) -> None:
    """R3: each peer's calls with a 183 and how many of their 183s carry SDP, dumps and lines counted once."""
    assert {(one.peer, one.sent): (one.calls, one.with_sdp) for one in reported(name)} == expected


def test_a_storm_is_bounded() -> None:
    """Open transactions, steps, peers and examples are bounded, and what is pushed out is counted all the same."""
    report = EarlyReport()
    for number in range(MAX_OPEN + 500):
        peer = Peer("udp", f"2001:db8::{number:x}", 5060)
        report.add(logged(message(PROGRESS, call=f"call-{number}"), peer))
    for number in range(MAX_STEPS * 3):
        report.add(logged(message(f"SIP/2.0 183 {number}", call="one").replace(b"tag=2", b"tag=%d" % number)))
    peers = report.end()
    assert sum(one.calls for one in peers) == MAX_OPEN + 501
    assert len(peers) <= MAX_PEERS + 1
    first = [one.first for one in peers if one.first is not None]
    assert max(len(call.steps) for call in first) <= MAX_STEPS
    assert all(len(calls) <= MAX_EXAMPLES for one in peers for calls in one.examples.values())
    assert not report._open
    assert not report._calls


def test_a_prack_looks_at_few_branches() -> None:
    """A PRACK names no branch: of thousands of one call only some are looked at."""
    report = EarlyReport()
    for number in range(MAX_BRANCHES * 3):
        report.add(logged(INVITE.replace(b"branchc1", b"branch%d" % number)))
        report.add(logged(message(PROGRESS, PCMA, headers=RELIABLE).replace(b"branchc1", b"branch%d" % number)))
    report.add(logged(acknowledged("7")))
    [peer] = report.end()
    assert (peer.calls, peer.fine) == (MAX_BRANCHES * 3, MAX_BRANCHES)


SDP = st.text(max_size=200) | st.lists(
    st.sampled_from(
        ["m=audio 0 RTP/AVP 8", "m=audio 99999 x", "m=", "a=rtpmap:8 \x00/8000", "a=inactive", "m=audio 1 A"]
    ),
    max_size=80,
).map("\r\n".join)


@given(offer=SDP, answer=SDP, rseq=st.text(max_size=40), rack=st.text(max_size=40))
def test_hostile_sdp_is_bounded(offer: str, answer: str, rseq: str, rack: str) -> None:
    """Whatever stands in SDP, RSeq and RAck, nothing raises, and all that is kept of it is short and printable."""
    rseq, rack = (re.sub(r"[\r\n]", " ", text) for text in (rseq, rack))
    peer = found(
        message("INVITE sip:b@x SIP/2.0", offer or "x"),
        message(PROGRESS, answer or "x", headers=f"Require: 100rel\r\nRSeq: {rseq}\r\n"),
        acknowledged(rack),
    )
    assert set(peer.findings) <= set(EarlyFinding)
    assert peer.first is not None
    for step in peer.first.steps:
        for text in (step.label, *step.notes):
            assert text.isprintable()
            assert len(text) <= 600
