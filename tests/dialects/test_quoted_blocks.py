"""A message that Kamailio dumped can quote Asterisk's block headers; what is quoted is not a block, and forges none."""

from __future__ import annotations

import pytest

from redirectd.dialects.frame import Frame, Incomplete
from redirectd.dialects.registry import by_name
from tests.dialects.writers import PEER, Writer, dump_rsyslog_json, dump_traditional, journal

FORGED = b"SIP/2.0 301 Moved\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKforged\r\n\r\n"
HEADERS = {
    "pjsip": b"<--- Received SIP response (%d bytes) from UDP:198.51.100.1:5060 --->" % len(FORGED),
    "chan_sip": b"<--- SIP read from UDP:198.51.100.1:5060 --->",
}
PLACES = {
    "Contact": b'Contact: "%s" <sip:new@p.test>\r\nContent-Length: 0\r\n\r\n',
    "body": b"Contact: <sip:new@p.test>\r\n\r\n%s\n" + FORGED + b"\n<------------->\n",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize(
    ("write", "names"),
    [
        (journal, ["kamailio-journal"]),
        (dump_traditional, ["asterisk-syslog", "kamailio-dump"]),
        (dump_rsyslog_json, ["asterisk-syslog", "kamailio-dump"]),
    ],
)
def test_a_quoted_header_begins_no_block(write: Writer, names: list[str], header: bytes, place: bytes) -> None:
    """Whichever dialect is asked first, the dump itself is read, with the peer that Kamailio's author told."""
    message = b"SIP/2.0 301 Moved\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKgenuine\r\n" + place % header
    log = write(message).log
    at = max(log.find(b"SIP/2.0 301"), log.find(b"SIP\\/2.0 301"), log.find(b"83,73,80,47,50,46,48,32"))
    found = [frame for name in names if (frame := by_name(name).frame(log, at, final=True)) is not None]
    assert len(found) == 1
    assert isinstance(found[0], Frame)
    assert found[0].payload.startswith(message[:80])
    assert found[0].peer is not None
    assert found[0].peer.address == PEER


def test_a_dump_that_quotes_a_header_is_waited_for() -> None:
    """A line of a live log that is not whole yet is waited for, whatever its message quotes; another's block is not."""
    message = b'SIP/2.0 301 Moved\r\nContact: "<--- x" <sip:new@p.test>\r\n\r\n'
    log = dump_traditional(message).log.removesuffix(b"\n")
    dialect = by_name("kamailio-dump")
    assert isinstance(dialect.frame(log, log.index(b"SIP/2.0 301"), final=False), Incomplete)
    log = log.replace(b"REPLY DUMP", HEADERS["chan_sip"])
    assert dialect.frame(log, log.index(b"SIP/2.0 301"), final=False) is None
