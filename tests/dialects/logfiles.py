"""A whole log of each dialect in the registry, from the messages that a host sent and received."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

from redirectd.dialects.envelope import spell_array
from tests.dialects import writers
from tests.dialects.test_captures import ipv4, link, pcap, udp
from tests.dialects.test_sip_text import drachtio, freeswitch
from tests.dialects.test_whole_files import ngrep, printed, table
from tests.dialects.writers import Writer


@dataclass(frozen=True)
class Logged:
    """A message, and whether the host that writes the log sent it."""

    message: bytes
    was_sent: bool = False


Log = Callable[[Sequence[Logged]], bytes]

_AS_SENT = (
    (b"Received SIP", b"Transmitting SIP"),
    (b" bytes) from ", b" bytes) to "),
    (b"REPLY DUMP from ", b"DUMP sent to "),
    (b"dump received from ", b"dump sent to "),
    (spell_array(b"REPLY DUMP from "), spell_array(b"DUMP sent to ")),
    (b"tag: rcv", b"tag: snd"),
)


def entry(writer: Writer, logged: Logged) -> bytes:
    """One entry of a log; the first of each mark is its head's."""
    log = writer(logged.message).log
    if logged.was_sent:
        for received, sent in _AS_SENT:
            log = log.replace(received, sent, 1)
    return log


def lines(writer: Writer) -> Log:
    """A log whose entries follow each other."""
    return lambda all_logged: b"".join(entry(writer, one) for one in all_logged)


def chan_sip(all_logged: Sequence[Logged]) -> bytes:
    """What chan_sip sends has a form of its own; behind what it received it says how many lines the body has."""
    return b"".join(
        writers.chan_sip_sent(one.message).log if one.was_sent else _chan_sip_read(one.message) for one in all_logged
    )


def _chan_sip_read(message: bytes) -> bytes:
    head, _, body = message.replace(b"\r\n", b"\n").partition(b"\n\n")
    lines = body.count(b"\n") + (body != b"" and not body.endswith(b"\n"))
    counted = b"[Nov 22 16:26:16] VERBOSE[2568] chan_sip.c: --- (%d headers %d lines) ---\n"
    return writers.chan_sip_received(message).log + counted % (head.count(b"\n"), min(lines, 256))


def _value(message: bytes, name: bytes) -> bytes:
    match = re.search(rb"\n" + name + rb": ([^\r\n]*)", message)
    return match[1] if match else b""


def _answers(all_logged: Sequence[Logged]) -> list[tuple[bytes, bytes]]:
    """Each 301 or 183 that was received, with the URI that was asked."""
    asked: dict[bytes, bytes] = {}
    found = []
    for one in all_logged:
        call = _value(one.message, b"Call-ID")
        if not one.message.startswith(b"SIP/2.0 "):
            asked[call] = one.message.split(b" ")[1]
        elif one.message.startswith((b"SIP/2.0 301", b"SIP/2.0 183")):
            found.append((one.message, asked.get(call, b"sip:unknown@gw.test")))
    return found


def quoted(text: bytes) -> bytes:
    """As Kamailio's `{s.escape.param}` writes a value."""
    return quote_from_bytes(text, safe="").encode()


def record_line(message: bytes, uri: bytes) -> bytes:
    """The one-line record of an answer, without proof."""
    contact = _value(message, b"Contact")
    return (
        b"Nov 22 16:26:03 vm kamailio[2630]: NOTICE: <script>: REDIRECTD v=1 ev=%b ts=1795364763.123456 m=INVITE "
        b"ci=%b cseq=1 br=0 src=udp/192.0.2.7/5062 ouri=%b buri=%b nct=1 ctlen=%d ct=%b end=1\n"
    ) % (message[8:11], quoted(_value(message, b"Call-ID")), quoted(uri), quoted(uri), len(contact), quoted(contact))


def acc_line(message: bytes, uri: bytes) -> bytes:
    """Kamailio's accounting, with the URI that was asked."""
    return (
        b"Nov 22 16:26:03 vm kamailio[2630]: NOTICE: acc [acc.c:279]: acc_log_request(): ACC: call missed: "
        b"timestamp=1795364763;method=INVITE;from_tag=f1;to_tag=t1;call_id=%b;code=%b;reason=Moved;ruri=%b\n"
    ) % (_value(message, b"Call-ID"), message[8:11], uri)


def own_line(message: bytes, _uri: bytes) -> bytes:
    """A script author's own words."""
    return b"Nov 22 16:26:03 vm kamailio[2630]: NOTICE: <script>: reply %b Moved from 192.0.2.7:5062 ci=%b\n" % (
        message[8:11],
        _value(message, b"Call-ID"),
    )


def answers(write: Callable[[bytes, bytes], bytes]) -> Log:
    """A log that has a line for each answer."""
    return lambda all_logged: b"".join(write(*one) for one in _answers(all_logged))


def _rows(write: Callable[[list[tuple[bytes, str, str]]], bytes]) -> Log:
    us, them = "udp:192.0.2.1:5060", "udp:192.0.2.7:5062"
    return lambda all_logged: write(
        [(one.message, us, them) if one.was_sent else (one.message, them, us) for one in all_logged]
    )


def _packets(all_logged: Sequence[Logged]) -> bytes:
    return pcap([link(ipv4(udp(one.message), 17)) for one in all_logged])


def _text(write: Callable[..., bytes]) -> Log:
    return lambda all_logged: b"".join(write(one.message, was_received=not one.was_sent) for one in all_logged)


LOGS: dict[str, tuple[Log, ...]] = {
    **{name: tuple(map(lines, each)) for name, each in writers.WRITERS.items()},
    "asterisk-chan-sip": (chan_sip,),
    "kamailio-record": (answers(record_line),),
    "kamailio-acc": (answers(acc_line),),
    "kamailio-text": (answers(own_line),),
    "pcap": (_packets,),
    "siptrace": (_rows(table),),
    "siptrace-rows": (_rows(printed),),
    "ngrep-wrapped": (_rows(ngrep),),
    "sip-text": (_text(freeswitch), _text(drachtio)),
}
"""By a dialect's name: each way in which its programs write a log."""
