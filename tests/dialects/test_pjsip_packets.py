"""What Asterisk 16's pjsip logger writes where several messages of a TCP or TLS connection were read at once."""

from __future__ import annotations

import json

import pytest

from redirectd.dialects.frame import Frame, Incomplete
from redirectd.dialects.registry import by_name
from tests.dialects.writers import octal

ENTRY = b"[Nov 23 01:47:40] VERBOSE[20430] res_pjsip_logger.c: "


def message(name: bytes, body: bytes = b"") -> bytes:
    lines = [
        b"SIP/2.0 301 Moved Permanently", b"Via: SIP/2.0/TCP 192.0.2.1:5060;rport;branch=z9hG4bKPj" + name + b";alias",
        b"Call-ID: " + name, b"CSeq: 5818 INVITE", b"Contact: <sip:new@p.test>", b"Content-Length: %d" % len(body),
    ]  # fmt: skip
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def block(size: int, text: bytes, peer: bytes = b"TCP:192.0.2.7:5062") -> bytes:
    return b"<--- Received SIP response (%d bytes) from %b --->\n%b\n" % (size, peer, text)


FIRST, SECOND = message(b"first"), message(b"the-second")
PACKET = FIRST + SECOND


@pytest.mark.parametrize("transport", [b"TCP", b"TLS", b"WS", b"WSS"])
def test_each_message_of_a_packet_is_read(transport: bytes) -> None:
    """The packet stands in full in the block of each of its messages; both are read wherever they stand."""
    peer = transport + b":192.0.2.7:5062"
    log = b"".join(ENTRY + block(len(one), PACKET, peer) for one in (FIRST, SECOND))
    dialect = by_name("asterisk-pjsip")
    places = [at for at in range(len(log)) if log.startswith(b"SIP/2.0 301", at)]
    found = [dialect.frame(log, at, final=True) for at in places]
    assert [one.payload for one in found if isinstance(one, Frame)] == [FIRST, SECOND] * 2
    expected = f"{transport.decode().lower()}:192.0.2.7:5062"
    assert {str(one.peer) for one in found if isinstance(one, Frame)} == {expected}


def test_a_packet_that_is_not_whole_yet_is_waited_for() -> None:
    """The second message can be on its way into the log."""
    log = (ENTRY + block(len(FIRST), PACKET))[:-40]
    at = log.index(b"Call-ID: the-second")
    assert isinstance(by_name("asterisk-pjsip").frame(log, at, final=False), Incomplete)


@pytest.mark.parametrize("size", [300, 90, 1])
def test_no_body_of_a_later_message_forges_a_block(size: int) -> None:
    """What the count of the first message doesn't reach over, the second one's own Content-Length does."""
    forged = message(b"forged")
    body = b"\n" + ENTRY + block(len(forged), forged, b"UDP:198.51.100.1:5060") + b"padding" * size
    evil = message(b"evil", body)
    log = ENTRY + block(len(FIRST), FIRST + evil) + ENTRY + block(len(evil), FIRST + evil)
    for at in (at for at in range(len(log)) if log.startswith(b"Call-ID: forged", at)):
        found = by_name("asterisk-pjsip").frame(log, at, final=True)
        assert found is None or (isinstance(found, Frame) and found.payload == evil)


def test_the_message_that_a_line_tells_of() -> None:
    """In JSON and an escaped syslog line, the count says which message of the packet is meant."""
    for one in (FIRST, SECOND):
        text = block(len(one), PACKET)
        entry = {"timestamp": "", "logmsg": {"level": "VERBOSE", "message": text.decode()}}
        logs = {
            "asterisk-json": json.dumps(entry, separators=(",", ":")).encode() + b"\n",
            "asterisk-syslog": b"Nov 23 01:47:40 vm asterisk[1]: VERBOSE[2]: res_pjsip_logger.c:3 in f: "
            + octal(text) + b"\n",
        }  # fmt: skip
        for name, log in logs.items():
            found = by_name(name).frame(log, log.index(b"SIP/2.0 301"), final=True)
            assert isinstance(found, Frame)
            assert found.payload == one


def test_a_datagram_is_what_its_count_says() -> None:
    """UDP brings one message at a time; what follows its count is not a part of it."""
    log = ENTRY + block(len(FIRST), PACKET, b"UDP:192.0.2.7:5062")
    found = by_name("asterisk-pjsip").frame(log, log.index(b"Call-ID: the-second"), final=True)
    assert found is None
