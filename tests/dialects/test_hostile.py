"""Any bytes at all, forged records in bodies, other writers between, and endless lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.dialects.frame import Authenticity, Frame, Incomplete, Record, Unreadable
from redirectd.dialects.registry import ALL, STREAMS, by_name
from tests.dialects import writers
from tests.dialects.strategies import messages
from tests.dialects.writers import CASES, NOISE, Writer

SHARDS = (
    b"SIP/2.0 301 ",
    b"SIP\\/2.0 301 ",
    b"INVITE sip:a@b SIP/2.0\r\n",
    b"<--- Received SIP response (90 bytes) from ",
    b"UDP:1.2.3.4:5060 --->\n",
    b"<--- SIP read from UDP:1.2.3.4:5060 --->\n",
    b"Transmitting (no NAT) to 1.2.3.4:5:\n",
    b"\n<------------->\n",
    b"\r\n\r\n",
    b"\n",
    b"Content-Length: 99\r\n",
    b'{"logmsg":{"message":"',
    b'"}',
    b"\\u",
    b"\\ud83d",
    b'{"__CURSOR":"x","MESSAGE":[83,73,',
    b"]",
    b"#012",
    b"#0",
    b"Nov 22 16:37:39 vm kamailio[1]: INFO: <script>: ",
    b"REDIRECTD v=1 ev=301 m=INVITE ci=%4",
    b" end=1",
    b"ACC: call missed: timestamp=1;code=301;",
    b"HEP3\0\x40\0\0\0\x0f\0\x09",
    b"====================\ntag: rcv\n",
    b"~~~~~~~~~~~~~~~~~~~~\n",
    b"||||||||||||||||||||\n",
    b"U 1.2.3.4:5 -> 1.2.3.4:6\n",
    b"[Nov 22 16:26:03] VERBOSE[1] x.c: ",
    b"\x1b[0m",
    b"\xff\xfe",
    b"\0",
    b"\xd4\xc3\xb2\xa1\2\0\4\0" + bytes(12) + b"\1\0\0\0",
    b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a",
    b"\0\0\0\x10",
)
junk = st.lists(st.sampled_from(SHARDS) | st.binary(max_size=12), max_size=24).map(b"".join)


@given(log=junk, place=st.floats(0, 1), final=st.booleans())
def test_any_bytes_never_raise(log: bytes, place: float, final: bool) -> None:
    """R25: whatever stands in a log, each dialect gives a value, with bounds inside the window."""
    at = int(place * max(len(log) - 1, 0))
    for dialect in ALL:
        framed = dialect.frame(log, at, final=final)
        if isinstance(framed, Frame | Record | Unreadable):
            assert 0 <= framed.start <= at < max(framed.end, 1)
            assert framed.end <= len(log)
        elif isinstance(framed, Incomplete):
            assert not final
            assert 0 <= framed.start <= at


@given(log=junk, size=st.integers(1, 40))
def test_any_bytes_can_be_streamed(log: bytes, size: int) -> None:
    """R25: a file that only looks like a capture raises nothing."""
    for stream in STREAMS:
        for frame in stream.messages(log[at : at + size] for at in range(0, len(log), size)):
            assert frame.end <= len(log)


@pytest.mark.parametrize(("name", "writer"), CASES, ids=[f"{name}-{writer.__name__}" for name, writer in CASES])
@given(rubbish=junk, message=messages())
def test_rubbish_before_does_not_lose_the_next_good_message(
    name: str, writer: Writer, rubbish: bytes, message: bytes
) -> None:
    """A whole message is framed though broken pieces of all formats stand before it (R25)."""
    for begun in (b"HEP3", b"SIP", b"Content", b"<--- ", b"ransmitting "):  # another record's, which would go on
        rubbish = rubbish.replace(begun, b"")
    rubbish = b"x" + rubbish + b"\n"
    log = rubbish + writer(message).log
    at = log.find(by_name(name).spell(b"z9hG4bK"), len(rubbish))
    frame = by_name(name).frame(log, at, final=True)
    assert isinstance(frame, Frame)
    assert frame.payload == writer(message).payload


def answer(body: bytes = b"", status: bytes = b"301 Moved") -> bytes:
    head = b"SIP/2.0 %s\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKtrue\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


FORGED = answer().replace(b"z9hG4bKtrue", b"z9hG4bKforged")
RAW = [
    ("asterisk-pjsip", writers.pjsip),
    ("asterisk-chan-sip", writers.chan_sip_sent),
    ("kamailio-stderr", writers.stderr),
    ("kamailio-dump", writers.dump_syslog_raw),
    ("sipdump", writers.sipdump),
    ("sngrep", writers.sngrep),
    ("ngrep", writers.ngrep),
    ("hep", writers.hep_hex),
]


@pytest.mark.parametrize(("name", "writer"), RAW)
@pytest.mark.parametrize("copies", [1, 3, 40])
def test_record_forged_in_a_body_is_never_believed(name: str, writer: Writer, copies: int) -> None:
    """R38, R40: a forged record of the same log is a part of the message around it; where only a peer's length says
    so, it is read too, and held as unproven."""
    body = b"x\r\n" + writer(FORGED).log * copies
    outer = answer(body, b"200 OK")
    lead = b"" if name in {"hep", "sipdump"} else NOISE["asterisk"]
    log = lead + writer(outer).log
    at = -1
    while (at := log.find(b"SIP/2.0 301", at + 1)) >= 0:
        frame = by_name(name).frame(log, at, final=True)
        assert isinstance(frame, Frame)
        assert frame.payload == outer or frame.authenticity is Authenticity.UNPROVEN
    behind = by_name(name).frame(log + writer(answer()).log, len(log) + writer(answer()).log.find(b"z9h"), final=True)
    assert isinstance(behind, Frame)
    assert (behind.payload, behind.authenticity) == (writer(answer()).payload, Authenticity.FRAMED)


@pytest.mark.parametrize("padding", [0, 20_000, 40_000])
def test_record_forged_in_a_body_that_ngrep_printed_is_never_believed(padding: int) -> None:
    """R40: the dots that ngrep prints for CRs do not hide where the headers around a forged record end."""
    body = b"x" * padding + b"\r\n" + writers.ngrep(FORGED).log.replace(b".\n", b"\r\n")
    log = writers.ngrep(answer(body, b"200 OK")).log
    frame = by_name("ngrep").frame(log, log.find(b"SIP/2.0 301"), final=True)
    assert isinstance(frame, Frame)
    assert frame.authenticity is Authenticity.UNPROVEN


def test_header_with_a_huge_count_in_a_body_hides_nothing() -> None:
    """R26: a forged count that reaches over later blocks does not swallow them."""
    bait = b"".join(
        b"<--- Received SIP request (%d bytes) from UDP:1.1.1.1:1 --->\n" % size for size in range(300, 900)
    )
    log = writers.pjsip(answer(bait, b"200 OK")).log + writers.pjsip(answer()).log
    frame = by_name("asterisk-pjsip").frame(log, log.find(b"SIP/2.0 301"), final=True)
    assert isinstance(frame, Frame)
    assert frame.payload == answer()


@pytest.mark.parametrize(("name", "writer"), [case for case in CASES if case[0].startswith("asterisk")])
@given(message=messages(), wrong=st.integers(-60, 60).filter(bool))
def test_count_that_does_not_fit_falls_back_to_the_headers(
    name: str, writer: Writer, message: bytes, wrong: int
) -> None:
    """A pjsip block whose count is wrong still gives a message that begins right and never runs into the next block."""
    size = len(message)
    if name == "asterisk-chan-sip":
        return
    log = writer(message).log.replace(b"(%d bytes)" % size, b"(%d bytes)" % (size + wrong)) + NOISE["asterisk"] * 3
    at = log.find(by_name(name).spell(b"z9hG4bK"))
    frame = by_name(name).frame(log, at, final=True)
    assert isinstance(frame, Frame)
    assert frame.payload[:60] == message[:60]


@pytest.mark.parametrize(("name", "writer"), CASES, ids=[f"{n}-{w.__name__}" for n, w in CASES])
def test_hit_in_an_endless_line_costs_bounded_work(name: str, writer: Writer) -> None:
    """A hit in the middle of 8 MB without line ends is looked at within its reach, and gives no whole message."""
    log = b"a" * (4 << 20) + b"SIP/2.0 301 REDIRECTD v=1 ev=301 <--- " + b"b" * (4 << 20)
    framed = by_name(name).frame(log, 4 << 20, final=True)
    assert not isinstance(framed, Frame) or framed.cut
