"""SIP as text of other programs: found, paired by Call-ID and CSeq, and believed by nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect.scan import Scanner
from redirectd.dialects import sip_text
from redirectd.dialects.frame import Authenticity, Direction, Frame, Incomplete, Peer
from redirectd.dialects.registry import ALL, by_name, detect, literals
from redirectd.dialects.window import Window
from tests.collect.logs import MemoryLog, read, received, request, response, sent
from tests.dialects.strategies import messages

CORPUS = Path(__file__).parent.parent / "corpus"
TEXT = by_name("sip-text")
NEW = "<sip:new@192.0.2.50>"


def freeswitch(message: bytes, *, was_received: bool) -> bytes:
    """sofia's `siptrace on`: three blanks before each line."""
    way = b"recv %d bytes from" if was_received else b"send %d bytes to"
    head = (way + b" udp/[192.0.2.7]:5060 at 16:28:42.417383:\n") % len(message)
    rule = b"   " + b"-" * 72 + b"\n"
    lines = message.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    return head + rule + b"".join(b"   %s\n" % line for line in lines) + rule


def drachtio(message: bytes, *, was_received: bool) -> bytes:
    way = b"recv %d bytes from" if was_received else b"send %d bytes to"
    head = b"2026-11-22 16:28:42.417383 " + way + b" udp/[192.0.2.7]:5060 at 16:28:42.417383:\n"
    return head % len(message) + message + b"\n"


def sipp(message: bytes, *, was_received: bool) -> bytes:
    """`-trace_msg`, as recorded in the corpus."""
    head = b"-" * 47 + b" 2026-11-22 16:28:42.417383\n"
    kind = b"UDP message received [%d] bytes :\n\n" if was_received else b"UDP message sent (%d bytes):\n\n"
    return head + kind % len(message) + message + b"\n"


def snom(message: bytes, *, was_received: bool) -> bytes:
    way = b"Received from" if was_received else b"Sent to"
    return way + b" udp:192.0.2.7:5060 at 22/11/2026 16:28:42:417 (%d bytes):\n\n" % len(message) + message + b"\n"


def pjsua(message: bytes, *, was_received: bool) -> bytes:
    way = (
        b".RX %d bytes Response msg 301/INVITE/cseq=1 (rdata0x1) from"
        if was_received
        else b"TX %d bytes Request msg to"
    )
    head = b"16:28:42.417   pjsua_core.c  ..." + way + b" UDP 192.0.2.7:5060:\n"
    return head % len(message) + message + b"\n--end msg--\n"


def cube(message: bytes, *, was_received: bool) -> bytes:
    head = b"Nov 22 16:28:42.417: //4711/ABCDEF123456/SIP/Msg/ccsipDisplayMsg:\n"
    return head + (b"Received: \n" if was_received else b"Sent: \n") + message + b"\n"


def audiocodes(message: bytes, *, was_received: bool) -> bytes:
    way = b"Incoming SIP Message from" if was_received else b"Outgoing SIP Message to"
    head = b"Nov 22 16:28:42 192.0.2.1 [S=1] [SID=b9:24:1]  (N 68) ---- " + way + b" 192.0.2.7:5060 "
    return (
        head + b"SIPInterface #2 (Trunk) UDP TO(#138) SocketID(204) ---- \n" + message + b" [Time:22-11@16:28:42.873]\n"
    )


def opensips(message: bytes, *, was_received: bool) -> bytes:
    """An xlog of the whole message on standard error, behind OpenSIPS's own head."""
    way = b"from" if was_received else b"to"
    return b"Nov 22 16:28:42 [4711] reply " + way + b" udp:192.0.2.7:5060\n" + message + b"\n"


def homer(message: bytes, *, was_received: bool) -> bytes:
    way = b"192.0.2.7:5060 ---> 192.0.2.1:5060" if was_received else b"192.0.2.1:5060 ---> 192.0.2.7:5060"
    return b"proto:UDP 2026-11-22T16:28:42.417383+00:00  " + way + b"\n\n" + message + b"\n\n"


def bare(message: bytes, *, was_received: bool) -> bytes:
    return message if was_received else message + b"\r\n"


WRITERS: dict[str, Callable[..., bytes]] = {
    one.__name__: one for one in (freeswitch, drachtio, sipp, snom, pjsua, cube, audiocodes, opensips, homer, bare)
}
NO_PEER = {"sipp", "cube", "opensips", "bare"}


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_call_of_each_program_is_paired_and_held(name: str) -> None:
    """R6, R40: the request is found by Call-ID and CSeq, the peer where the program names it; the move is unproven."""
    write = WRITERS[name]
    found = read(
        write(request(), was_received=False) + write(response("301 Moved Permanently", NEW), was_received=True)
    )
    (learnt,) = found.learnt
    assert learnt.answer.authenticity is Authenticity.UNPROVEN
    assert list(found.remaps) == ["sip:old@gw.test"]
    assert found.remaps["sip:old@gw.test"][0] == ["sip:new@192.0.2.50"]
    assert learnt.answer.peer is None if name in NO_PEER else learnt.answer.peer_text.endswith("192.0.2.7:5060")
    assert not found.unreadable


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_answer_without_branch_is_paired_by_call_and_cseq(name: str) -> None:
    """R6: a phone's text that leaves the Via out is paired by Call-ID and the whole CSeq."""
    write = WRITERS[name]
    asked, other = (request(branch=None, cseq=number, uri=f"sip:{number}@gw.test") for number in (1, 2))
    answer = response("301 Moved Permanently", NEW, branch=None)
    log = b"".join(write(one, was_received=False) for one in (asked, other)) + write(answer, was_received=True)
    assert list(read(log).remaps) == ["sip:1@gw.test"]


@given(sent_message=messages(), name=st.sampled_from(sorted(set(WRITERS) - {"bare"})))
def test_message_comes_back_from_each_program(sent_message: bytes, name: str) -> None:
    """Round trip: start line and headers are what was written, from any place in them."""
    log = b"a line before\n" + WRITERS[name](sent_message, was_received=True) + b"a line behind\n"
    head = sent_message[: sent_message.index(b"\r\n\r\n") + 4]
    for mark in (sent_message.split(b"\r\n")[0], b"Call-ID: "):
        framed = TEXT.frame(log, log.index(mark), final=True)
        assert isinstance(framed, Frame)
        assert framed.payload.startswith(head)
        assert framed.authenticity is Authenticity.UNPROVEN


@given(one=messages(), name=st.sampled_from(sorted(WRITERS)), data=st.data())
def test_cut_anywhere_raises_nothing_and_waits_for_the_rest(one: bytes, name: str, data: st.DataObject) -> None:
    """R25: a text that ends anywhere is a message, an unfinished one or nothing."""
    log = WRITERS[name](one, was_received=True)
    cut = data.draw(st.integers(0, len(log)))
    at = data.draw(st.integers(0, max(0, cut - 1)))
    for final in (False, True):
        framed = TEXT.frame(log[:cut], at, final=final)
        assert framed is None or isinstance(framed, Frame | Incomplete)
        assert not (final and isinstance(framed, Incomplete))


@given(noise=st.binary(max_size=400), at=st.integers(0, 400))
def test_any_bytes_raise_nothing(noise: bytes, at: int) -> None:
    """R25: noise around a status line is read or not, and raises nothing."""
    TEXT.frame(noise + b"\nSIP/2.0 301 x\n" + noise, at, final=True)


def test_direction_and_sides() -> None:
    """What a program says before a message is which way it went; an arrow names both sides and no direction."""
    said = {
        b"recv 1 bytes from udp/[2001:db8::7]:5062 at 1:\n": (
            Direction.RECEIVED,
            Peer("udp", "2001:db8::7", 5062),
            None,
        ),
        b"TX 9 bytes Request msg to TLS 192.0.2.7:5061:\n": (Direction.SENT, Peer("tls", "192.0.2.7", 5061), None),
        b"192.0.2.7:5060 ---> 192.0.2.1:5060\n\n": (
            Direction.UNKNOWN,
            Peer("", "192.0.2.7", 5060),
            Peer("", "192.0.2.1", 5060),
        ),
        b"nothing\n": (Direction.UNKNOWN, None, None),
        b"received from 999.1.1.1:99999\n": (Direction.RECEIVED, None, None),
    }
    for lead, sides in said.items():
        framed = TEXT.frame(lead + response("301 Moved Permanently", NEW), len(lead), final=True)
        assert isinstance(framed, Frame)
        assert (framed.direction, framed.peer, framed.local) == sides


def test_it_is_asked_last() -> None:
    """R38: what another dialect frames is that one's; in a file of a known family plain text is nothing."""
    log = sent(request()) + received(response("301 Moved Permanently", NEW))
    assert [one.name for one in ALL][-1] == "sip-text"
    assert "sip-text" not in {one.name for one in detect(log)}
    scanner = Scanner(MemoryLog(b"x\n" + log), ALL, literals(ALL, (301,)))
    block = scanner.next_block(final=True)
    assert block is not None
    assert [dialect.name for _, dialect in block.found] == ["asterisk-pjsip"]


def test_answer_in_a_body_is_never_more_than_unproven() -> None:
    """R38, R40: a whole call forged in a body of plain text is held, and the one around it is not hidden."""
    forged = sipp(request(call="f"), was_received=False) + sipp(
        response("301 Moved Permanently", "<sip:evil@192.0.2.66>", call="f"), was_received=True
    )
    outer = response("301 Moved Permanently", NEW, body=forged)
    found = read(sipp(request(), was_received=False) + sipp(outer, was_received=True))
    assert {one.answer.authenticity for one in found.learnt} == {Authenticity.UNPROVEN}
    assert "sip:old@gw.test" in found.remaps


def test_a_length_that_lies_hides_nothing() -> None:
    """R40: a Content-Length over the answers behind it reaches no further than its own SDP."""
    lying = response("183 Session Progress").replace(b"Content-Length: 0", b"Content-Length: 60000") + b"v=0\r\n"
    answers = b"".join(
        sipp(request(call=f"c{number}", uri=f"sip:{number}@gw.test"), was_received=False)
        + sipp(response("301 Moved Permanently", NEW, call=f"c{number}"), was_received=True)
        for number in range(30)
    )
    assert len(read(sipp(lying, was_received=True) + answers).remaps) == 30


@pytest.mark.parametrize(
    "text",
    [
        b"SIP/2.0 301 Moved " * 50_000,
        b"SIP/2.0 301 Moved\n" * 50_000,
        b"SIP/2.0 301 Moved\nCall-ID: x\n" * 30_000,
        b"SIP/2.0 301 Moved\n" + b"X: y\n" * 200_000,
        b" \n" * 400_000,
        b"X: SIP/2.0 301 Moved\n" * 40_000,
        b"INVITE sip:a@b SIP/2.0\n" * 40_000,
    ],
    ids=["one-line", "lines", "half-messages", "headers", "blanks", "in-headers", "requests"],
)
def test_every_hit_costs_a_bounded_stretch(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: what a hit costs is bounded whatever stands around it: header lines are walked once for each message."""
    steps = 0
    headers = sip_text._HEADER.match

    class Counting:
        def match(self, *words: object) -> object:
            nonlocal steps
            steps += 1
            return headers(*words)  # type: ignore[call-overload]  # passed on as given

    monkeypatch.setattr(sip_text, "_HEADER", Counting())
    scanner = Scanner(MemoryLog(text), [TEXT], literals([TEXT], (301,)))
    while scanner.next_block(final=True) is not None:
        pass
    assert steps <= text.count(b"\n") + 4 * text.count(b"SIP/2.0 301") + 10


def test_window_type() -> None:
    """The scanner's own buffer is read as well as bytes."""
    log: Window = bytearray(sipp(response("301 Moved Permanently", NEW), was_received=True))
    assert isinstance(TEXT.frame(log, log.index(b"SIP/2.0"), final=True), Frame)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("text/sipp-trace_msg.log", "sip:6505550287@127.0.0.1:25060", "sip:6505550299@gw-new.example.com:5060"),
        ("cases/L01b-snom-301.txt", "sip:2907@ser.example.com;user=phone", "sip:2908@ser.example.com;user=phone"),
        ("cases/L02b-sipp-trace-301.log", "sip:6505550287@gw.example.com:5060",
         "sip:6505550299@gw-new.example.com:5060"),
        ("cases/L03c-audiocodes-syslog-raw-301.log", "sip:+4930111000@192.0.2.50;user=phone",
         "sip:+4930222000@192.0.2.60;user=phone"),
        ("cases/L10b-pjsua-301.log", "sip:1200@sm.example.com;transport=tls", "sip:1300@sm2.example.com;transport=tls"),
        ("cases/L22b-cube-301.log", "sip:92929292@198.51.100.30:5060", "sip:8881@198.51.100.31:5060"),
    ],
)  # fmt: skip
def test_samples_are_learnt_and_unproven(name: str, old: str, new: str) -> None:
    """Each program's own text gives its move, unproven; sipp's was recorded from sipp 3.6."""
    found = read((CORPUS / name).read_bytes())
    assert {one.answer.authenticity for one in found.learnt} == {Authenticity.UNPROVEN}
    assert found.remaps[old][0] == [new]


def test_sip_messages_one_after_the_other() -> None:
    """Messages with nothing around them: three Contacts of the answer wait for a choice."""
    found = read((CORPUS / "cases/raw-sip-messages.txt").read_bytes())
    ((contacts, flags),) = found.remaps.values()
    assert len(contacts) == 3
    assert "ambiguous" in flags
