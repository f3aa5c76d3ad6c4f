"""`session_progress = "count"`: 183s told at a glance are counted as the ordinary reading counts them (R3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.dialects.asterisk_pjsip import AsteriskPjsip
from redirectd.sip.message import parse_message
from redirectd.sources.file import open_log
from redirectd.sources.log import Log
from tests.collect.logs import POLICY, MemoryLog, received, response, sent
from tests.collect.strategies import pjsip_logs
from tests.test_corpus import CORPUS, EXPECTED


def counted(log: Log, mode: Literal["each", "count"]) -> int:
    """183s that reading the log in one mode comes to."""
    reading = Reading("test", registry.detect(log.read(log.start, 1 << 20)), UTC, POLICY, mode)
    reader, total = LogReader(log, reading, clock=lambda: datetime.now(UTC)), 0
    batch = Batch("test")
    while reader.read(batch, final=True):
        total += len(batch.progress) + batch.counted_progress
        assert mode == "each" or not batch.progress
        batch = Batch("test")
    return total


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_counting_finds_what_reading_each_finds(name: str) -> None:
    """R3: on every log of the corpus, both modes come to the same number."""
    with open_log(CORPUS / name) as log:
        each = counted(log, "each")
    with open_log(CORPUS / name) as log:
        assert counted(log, "count") == each


@given(pjsip_logs())
def test_counting_agrees_on_any_mix_of_calls(data: bytes) -> None:
    """R3, R8: retransmitted, forked, relayed and interleaved answers count the same in both modes."""
    assert counted(MemoryLog(data), "count") == counted(MemoryLog(data), "each")


def test_a_glance_tells_the_identity_that_reading_tells() -> None:
    """R6: Call-ID, CSeq and branch of each 183 in a real log are those of the whole message."""
    window = (CORPUS / "asterisk/ast22-pjsip.full.log").read_bytes()
    dialect, seen = AsteriskPjsip(), 0
    at = window.find(b"SIP/2.0 183")
    while at >= 0:
        glimpse, frame = dialect.glimpse(window, at), dialect.frame(window, at, final=True)
        if glimpse is not None:
            seen += 1
            message = parse_message(frame.payload)  # type: ignore[union-attr]  # it is a frame, or this test fails
            branch, call_id, cseq, method = glimpse.identity
            assert message.call_id == call_id.decode()
            assert message.cseq == (cseq, method.decode())
            assert message.top_via is not None
            assert message.top_via.branch == branch.decode()
            assert glimpse.end <= frame.end  # type: ignore[union-attr]
        at = window.find(b"SIP/2.0 183", at + 1)
    assert seen > 0


PLAIN = response("183 Session Progress")
ODD = {
    "sent": sent(PLAIN),
    "two Vias": received(PLAIN.replace(b"CSeq:", b"v: SIP/2.0/UDP a.test;branch=z9hG4bKx\r\nCSeq:", 1)),
    "a folded header": received(PLAIN.replace(b"CSeq: ", b"CSeq:\r\n ", 1)),
    "no Call-ID": received(PLAIN.replace(b"Call-ID:", b"X-ID:", 1)),
    "four digits": received(PLAIN.replace(b"183", b"1830", 1)),
    "a console's line": received(PLAIN)[1:],
}


@pytest.mark.parametrize("log", ODD.values(), ids=ODD.keys())
def test_what_is_not_plain_is_read_the_ordinary_way(log: bytes) -> None:
    """R3: a 183 that was sent, or is written as few programs do, is not told at a glance."""
    assert AsteriskPjsip().glimpse(received(PLAIN), received(PLAIN).index(b"SIP/2.0 183")) is not None
    assert AsteriskPjsip().glimpse(log, log.index(b"SIP/2.0 183")) is None


def test_a_183_in_a_body_is_not_counted() -> None:
    """R3: the text of a received 183 within another message's body is a part of that message."""
    outer = response("200 OK").replace(b"Content-Length: 0", b"Content-Length: %d" % len(received(PLAIN)))
    assert counted(MemoryLog(received(outer + received(PLAIN))), "count") == 0


@given(st.binary(max_size=300), st.integers(0, 299))
def test_no_bytes_make_a_glance_fail(noise: bytes, at: int) -> None:
    """R25: a 183 with any bytes in it is told or not, and nothing is raised."""
    message = PLAIN[: at % len(PLAIN)] + noise + PLAIN[at % len(PLAIN) :]
    log = received(message)
    found = log.find(b"SIP/2.0 183")
    if found >= 0:
        AsteriskPjsip().glimpse(log, found)
