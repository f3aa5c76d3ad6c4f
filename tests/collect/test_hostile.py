"""Any bytes at all: nothing raises, and the next good message is not lost (R25)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import MAX_EVIDENCE, LogReader
from redirectd.collect.observer import MAX_QUARANTINE
from tests.collect.logs import NOW, MemoryLog, call, read, reading, received, record, request, response, sent

GOOD_ASTERISK = call(
    response("301 Moved", "<sip:good@place.test>", call="good", branch="z9hG4bK-good-0001"),
    request("sip:good@gw.test", call="good", branch="z9hG4bK-good-0001"),
)
GOOD_RECORD = record("<sip:good@place.test>", call="good", buri="sip:good@gw.test")

# fmt: off
PIECES = st.sampled_from([
    b"SIP/2.0 301 ", b"SIP/2.0 183 ", b"SIP/2.0 3011", b"\r\n", b"\n", b"\r\n\r\n", b"REDIRECTD v=1 ev=301 ",
    b" end=1", b"<--- Received SIP response (", b"377 bytes) from UDP:192.0.2.9:5060 --->\n", b"CSeq: 1 INVITE\r\n",
    b"Via: SIP/2.0/UDP h;branch=z9hG4bK", b"Call-ID: x\r\n", b"Contact: <sip:", b"Content-Length: 99999\r\n",
    b"#015#012", b'{"message":"', b"\\u0000\\r\\n", b"[Nov 22 16:26:03] VERBOSE[1] a.c: ", b"ct=%3csip%3a",
    b"nct=1 ", b"\x00", b"\xff\xfe", b"%", b'"', b"<", b",", b"HEP3", b"--->", b"@cee: ", b";code=301;",
    b"Nov 22 16:26:03 vm kamailio[1]: NOTICE: <script>: ", b"INVITE sip:a@b SIP/2.0\r\n",
])
# fmt: on
JUNK = st.lists(st.one_of(PIECES, st.binary(max_size=30)), max_size=25).map(b"".join)


def _followed(data: bytes, cuts: list[int]) -> Batch:
    log, batch = MemoryLog(), Batch("test")
    reader = LogReader(log, reading(), clock=lambda: NOW)
    done = 0
    for cut in sorted(min(cut, len(data)) for cut in cuts):
        log.grow(data[done:cut])
        done = cut
        while reader.read(batch, final=False):
            pass
    log.grow(data[done:])
    while reader.read(batch, final=True):
        pass
    assert reader.offset == len(data)
    return batch


@given(JUNK, st.lists(st.integers(0, 600), max_size=4))
def test_nothing_raises(data: bytes, cuts: list[int]) -> None:
    """R25: whatever stands in a log and however it arrives, reading comes to its end, with bounded evidence."""
    batch = _followed(data, cuts)
    assert all(len(one.content) <= MAX_QUARANTINE for one in batch.quarantined)
    assert all(len(verdict.answer.text) <= 4 * MAX_EVIDENCE for verdict in batch.verdicts.values())


@given(JUNK)
def test_the_next_good_asterisk_block_is_not_lost(data: bytes) -> None:
    """R25: a good block behind any junk is read; what an honest byte count encloses is not a block of its own."""
    junk = data.replace(b"<--- ", b"<-- ")  # Asterisk alone begins a line so
    found = read(junk + b"\n" + GOOD_ASTERISK)
    assert "sip:good@gw.test" in found.remaps


@given(JUNK)
def test_the_next_good_record_is_not_lost(data: bytes) -> None:
    """R25: a good one-line record behind any junk is read."""
    assert "sip:good@gw.test" in read(data + b"\n" + GOOD_RECORD).remaps


@given(st.binary(max_size=400))
def test_any_bytes_as_a_message(body: bytes) -> None:
    """R25: any bytes within an honest block take nothing from the blocks around it."""
    for message in (body, b"SIP/2.0 301 " + body):
        log = received(message) + GOOD_ASTERISK + sent(message)
        assert "sip:good@gw.test" in read(log).remaps


def test_a_301_without_call_id_is_quarantined() -> None:
    """What looks like a 301 and can't be read is kept with its text and place, not dropped."""
    broken = received(response("301 Moved", "<sip:x@y.test>").replace(b"Call-ID: call-1\r\n", b""))
    found = read(GOOD_ASTERISK + broken)
    (kept,) = found.batch.quarantined
    assert found.remaps.keys() == {"sip:good@gw.test"}
    assert b"SIP/2.0 301 Moved" in kept.content
    assert kept.position == len(GOOD_ASTERISK)


def test_a_message_in_a_body_is_no_message() -> None:
    """A whole forged block, and a message/sipfrag, in the body of a message are no sightings."""
    forged = received(response("301 Moved", "<sip:evil@evil.test>", call="forged"))
    for body in (forged, b"SIP/2.0 301 Moved Permanently\r\nContact: <sip:evil@evil.test>\r\n"):
        found = read(GOOD_ASTERISK + received(response("200 OK", body=body)) + received(response("183 x", body=body)))
        assert found.remaps.keys() == {"sip:good@gw.test"}
        assert found.sightings == 1
