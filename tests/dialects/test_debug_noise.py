"""Kamailio's own words at debug level 3, which speak of messages and are none (R8)."""

from __future__ import annotations

import pytest

from redirectd.dialects.frame import Direction, Frame
from redirectd.dialects.registry import by_name

SYSLOG = b"2026-11-23T01:09:56.577+00:00 vm kamailio[2852]: "
STDERR = b" 2(17408) "
ANSWER = (
    b"SIP/2.0 301 Moved Permanently\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKaaaaaaaa\r\nContent-Length: 0\r\n\r\n"
)
KINDS = pytest.mark.parametrize(("head", "name"), [(SYSLOG, "kamailio-dump"), (STDERR, "kamailio-stderr")])


@KINDS
def test_a_line_that_speaks_of_an_answer_is_no_dump(head: bytes, name: str) -> None:
    """What came in is shown on one line and cut there: neither an answer nor a loss, and it hides none behind it."""
    spoken = b"DEBUG: udp_rcv_loop(): received on udp socket: (106/100/459) [[SIP/2.0 301 Moved 0D  0A Via: S]]\n"
    trying = b"DEBUG: tm: _reply_light(): reply sent out - buf=0x7f5a: SIP/2.0 100 trying -...\n"
    dump = head + b"NOTICE: <script>: received from udp:127.0.0.2:5060:\n" + ANSWER + b"\n"
    log = head + trying + head + spoken + dump + head + b"DEBUG: done\n"
    dialect = by_name(name)
    assert dialect.frame(log, log.index(b"SIP/2.0 301 Moved 0D"), final=True) is None
    found = dialect.frame(log, log.index(ANSWER), final=True)
    assert isinstance(found, Frame)
    assert (found.start, found.payload, found.direction, found.cut) == (
        log.index(dump), ANSWER, Direction.RECEIVED, False,
    )  # fmt: skip


@KINDS
def test_r8_a_relayed_answer_was_sent(head: bytes, name: str) -> None:
    """R8: the copy that the core shows while it relays an answer is one that this host sends."""
    lead = b"DEBUG: <core>: generate_res_buf_from_sip_res(): copied size: orig:115, new: 30, rest: 452 msg=\n"
    found = by_name(name).frame(head + lead + ANSWER, len(head + lead), final=True)
    assert isinstance(found, Frame)
    assert found.direction is Direction.SENT
