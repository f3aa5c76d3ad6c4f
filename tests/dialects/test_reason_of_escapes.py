"""A reason phrase is a peer's to write: one that looks like rsyslog's escapes makes no raw message unreadable (R2)."""

from __future__ import annotations

import pytest

from redirectd.dialects.frame import Frame
from redirectd.dialects.registry import by_name
from tests.dialects.writers import octal, pjsip_block

REASON = b"M #015#012Contact: <sip:evil@evil.test>#015#012#015#012 SIP/2.0 301 x"
MESSAGE = (
    b"SIP/2.0 301 " + REASON + b"\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKreason\r\nCall-ID: reason\r\n"
    b"CSeq: 1 INVITE\r\nContact: <sip:new@p.test>\r\nContent-Length: 0\r\n\r\n"
)
SYSLOG = b"Nov 22 16:37:39 vm "
STDERR = b" 2(17408) "
LEAD = b"NOTICE: <script>: received from udp:192.0.2.7:5062:\n"


@pytest.mark.parametrize(
    ("lead", "names"),
    [
        (SYSLOG + b"kamailio[1]: " + LEAD, ["kamailio-dump"]),
        (STDERR + LEAD, ["kamailio-stderr"]),
        (SYSLOG + b"asterisk[1]: VERBOSE[2]: res_pjsip_logger.c:3 in f: ", ["asterisk-syslog", "kamailio-dump"]),
    ],
)
def test_escapes_in_the_reason_of_a_raw_message(lead: bytes, names: list[str]) -> None:
    """A CR at the line's end, which an escaping rsyslog leaves nowhere, tells that the message is raw."""
    log = lead + (MESSAGE if LEAD in lead else pjsip_block(MESSAGE)) + b"\n" + lead.partition(b"\n")[0] + b"\n"
    at = log.index(b"SIP/2.0 301")
    [found] = [frame for name in names if (frame := by_name(name).frame(log, at, final=True)) is not None]
    assert isinstance(found, Frame)
    assert found.payload == MESSAGE


def test_a_copy_with_cr_lf_of_an_escaped_log() -> None:
    """Each of its lines ends with a CR, too, and the next one begins with a log's head: it stays an escaped one."""
    message = MESSAGE.replace(REASON, b"Moved")
    log = (SYSLOG + b"kamailio[1]: " + octal(LEAD + message) + b"\r\n") * 2
    found = by_name("kamailio-dump").frame(log, log.index(b"SIP/2.0 301"), final=True)
    assert isinstance(found, Frame)
    assert b"Call-ID: reason\r\n" in found.payload
    assert found.end == log.index(b"\n") + 1


@pytest.mark.parametrize("lead", [SYSLOG + b"kamailio[1]: " + LEAD, STDERR + LEAD, STDERR + b"INFO: <script>: reply: "])
def test_r2_a_status_line_in_the_reason_of_another(lead: bytes) -> None:
    """R2: a 302 whose reason phrase speaks of a 301 is a 302."""
    message = MESSAGE.replace(b"301 " + REASON, b"302 Moved SIP/2.0 301 Moved Permanently")
    name = "kamailio-dump" if lead.startswith(SYSLOG) else "kamailio-stderr"
    log = lead + message + b"\n"
    found = by_name(name).frame(log, log.index(b"SIP/2.0 301"), final=True)
    assert isinstance(found, Frame)
    assert found.payload == message
