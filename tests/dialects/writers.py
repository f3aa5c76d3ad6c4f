"""Slow, obvious writers: how each program puts a SIP message into its log, written apart from the readers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

PEER, PORT = "192.0.2.7", 5062


@dataclass(frozen=True)
class Written:
    """A log entry, and the message that a reader must find in it."""

    log: bytes
    payload: bytes


def octal(text: bytes) -> bytes:
    """As rsyslog escapes what it receives; a final LF is taken away."""
    out = b""
    for byte in text.removesuffix(b"\n"):
        out += b"#%03o" % byte if byte < 32 or byte == 127 else bytes((byte,))
    return out


def pjsip_block(message: bytes) -> bytes:
    kind = b"response" if message.startswith(b"SIP/2.0") else b"request"
    return b"<--- Received SIP %s (%d bytes) from UDP:192.0.2.7:5062 --->\n%s\n" % (kind, len(message), message)


def pjsip(message: bytes) -> Written:
    return Written(b"[Nov 22 16:26:03] VERBOSE[2630] res_pjsip_logger.c: " + pjsip_block(message), message)


def pjsip_plain(message: bytes) -> Written:
    head = b"[2026-11-22 16:37:01.426] VERBOSE[2630]: res_pjsip_logger.c:354 logging_on_rx_msg: "
    return Written(head + pjsip_block(message), message)


def pjsip_syslog(message: bytes) -> Written:
    head = b"Nov 22 16:40:33 vm asterisk[16029]: VERBOSE[16073]: res_pjsip_logger.c:354 in logging_on_rx_msg: "
    return Written(head + octal(pjsip_block(message)) + b"\n", message)


def pjsip_syslog_raw(message: bytes) -> Written:
    head = b"Nov 22 16:40:33 vm asterisk[16029]: VERBOSE[16073]: res_pjsip_logger.c:354 in logging_on_rx_msg: "
    return Written(head + pjsip_block(message), message)


def pjsip_json(message: bytes) -> Written:
    entry = {
        "hostname": "",
        "timestamp": "2026-11-22 16:37:01.209",
        "identifiers": {"lwp": 2630, "callid": ""},
        "logmsg": {
            "location": {"filename": "res_pjsip_logger.c", "function": "logging_on_rx_msg", "line": 354},
            "level": "VERBOSE",
            "message": pjsip_block(message).decode(),
        },
    }
    return Written(json.dumps(entry, separators=(",", ":")).encode() + b"\n", message)


def console(message: bytes) -> Written:
    return Written(b"\r\x1b[Kvm*CLI> \r\x1b[0K" + pjsip_block(message).replace(b"\n", b"\r\n"), message)


def console_dated(message: bytes) -> Written:
    lines = pjsip_block(message).split(b"\n")[:-1]
    return Written(b"".join(b"[Nov 22 16:41:12] %s\n" % line for line in lines), message)


def chan_sip_received(message: bytes) -> Written:
    text = message.replace(b"\r\n", b"\n").removesuffix(b"\n")
    head = b"[Nov 22 16:26:16] VERBOSE[2568] chan_sip.c: \n<--- SIP read from UDP:192.0.2.7:5062 --->\n"
    return Written(head + text + b"\n<------------->\n", text)


def chan_sip_without_transport(message: bytes) -> Written:
    """As up to Asterisk 14, where the head names no transport."""
    made = chan_sip_received(message)
    return replace(made, log=made.log.replace(b"SIP read from UDP:", b"SIP read from ", 1))


def chan_sip_sent(message: bytes) -> Written:
    head = b"[Nov 22 16:26:16] VERBOSE[3628][C-00000014] chan_sip.c: Retransmitting #1 (no NAT) to 192.0.2.7:5062:\n"
    return Written(head + message + b"\n---\n", message)


def dump_text(message: bytes) -> bytes:
    return b"INFO: <script>: REPLY DUMP from 192.0.2.7:5062\n" + message + b"\n"


def dump_traditional(message: bytes) -> Written:
    return Written(b"Nov 22 16:37:39 vm kamailio[14390]: " + octal(dump_text(message)) + b"\n", message)


def dump_c_style(message: bytes) -> Written:
    """rsyslog with parser.escapeControlCharactersCStyle; it leaves a backslash of the message as it is."""
    text = dump_text(message).replace(b"\r", b"\\r").replace(b"\n", b"\\n")
    return Written(b"Nov 22 16:37:39 vm kamailio[14390]: " + text + b"\n", message)


def dump_iso(message: bytes) -> Written:
    head = b"2026-11-22T16:37:39.123456+00:00 vm kamailio[14390]: "
    return Written(head + octal(dump_text(message)) + b"\n", message)


def dump_rfc5424(message: bytes) -> Written:
    head = b"<134>1 2026-11-22T16:37:39.123456+00:00 vm kamailio 14390 - -  "
    return Written(head + octal(dump_text(message)) + b"\n", message)


def dump_rsyslog_json(message: bytes) -> Written:
    text = b" " + octal(dump_text(message))
    text = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"/", b"\\/")
    line = b'{"@timestamp":"2026-11-22T16:37:35.077168+00:00", "host":"vm", "message":"%s"}\n' % text
    return Written(line, message)


def dump_syslog_raw(message: bytes) -> Written:
    return Written(b"Nov 22 16:37:39 vm kamailio[14390]: " + dump_text(message), message)


def stderr(message: bytes) -> Written:
    return Written(b" 2(17408) " + dump_text(message), message)


def stderr_color(message: bytes) -> Written:
    return Written(b"\x1b[0;36;49m 2(17408) " + dump_text(message) + b"\x1b[0;39;49m", message)


def log_prefix(message: bytes) -> Written:
    text = b"INFO: {2 1 INVITE 1-17295@192.0.2.1} <script>: dump received from 192.0.2.7:5062: " + message + b"\n"
    return Written(b" 2(17408) " + text, message)


def engine_json(message: bytes) -> Written:
    text = json.dumps(dump_text(message)[len(b"INFO: <script>: ") :].decode("latin-1"), ensure_ascii=False)
    line = (
        b'{"time":"2026-11-22T16:40:17.9Z","proc":{"id":"1"},"pri":"INFO","subsys":"xlog",'
        b'"native":{"function":""},"msg":%s,"pname":"kamailio"}\n'
    )
    return Written(line % text.encode("latin-1"), message)


def engine_cee(message: bytes) -> Written:
    return Written(b"@cee: " + engine_json(message).log, message)


def engine_invalid(message: bytes) -> Written:
    """`json:a` of Kamailio 5.6.3: the function's quotes are not closed, so no JSON reader takes the line."""
    text = json.dumps(dump_text(message)[len(b"INFO: <script>: ") :].decode("latin-1"), ensure_ascii=False)
    line = (
        b'{ "kamailio.idx": 1, "kamailio.pid": 8023, "kamailio.level": "NOTICE", "kamailio.module": "xlog", '
        b'"kamailio.function": """, "kamailio.logprefix": "", "kamailio.message": %s }\n'
    )
    return Written(line % text.encode("latin-1"), message)


def engine_nested(message: bytes) -> Written:
    """`json:j`: the message is an object of its own."""
    text = json.dumps(dump_text(message)[len(b"INFO: <script>: ") :].decode("latin-1"), ensure_ascii=False)
    line = b'{ "idx": 1, "level": "NOTICE", "function": "", "logprefix": { "text": "" }, "message": { "text": %s } }\n'
    return Written(line % text.encode("latin-1"), message)


def engine_one_line(message: bytes) -> Written:
    """`json:N`: no line end between the objects."""
    other = b'{ "idx": 0, "level": "INFO", "function": "f", "logprefix": "", "message": "signal 15 received" }'
    text = json.dumps(dump_text(message)[len(b"INFO: <script>: ") :].decode("latin-1"), ensure_ascii=False)
    line = b'{ "idx": 1, "level": "NOTICE", "function": "", "logprefix": "", "message": %s }'
    return Written(other + line % text.encode("latin-1") + other + b"\n", message)


def journal(message: bytes) -> Written:
    numbers = b",".join(b"%d" % byte for byte in dump_text(message))
    line = b'{"__CURSOR":"s=1","MESSAGE":[%s],"__REALTIME_TIMESTAMP":"1795365767101508"}\n' % numbers
    return Written(line, message)


def sipdump(message: bytes) -> Written:
    head = (
        b"====================\ntag: rcv\npid: 1\nprocess: 2\ntime: 1795365848.714036\n"
        b"date: Sun Nov 22 16:44:08 2026\nproto: udp ipv4\nsrcip: 192.0.2.7\nsrcport: 5062\n"
        b"dstip: 192.0.2.1\ndstport: 5060\n~~~~~~~~~~~~~~~~~~~~\n"
    )
    return Written(head + message + b"||||||||||||||||||||\n", message)


def chunk(kind: int, value: bytes) -> bytes:
    return b"\0\0" + kind.to_bytes(2, "big") + (len(value) + 6).to_bytes(2, "big") + value


def hep(message: bytes, payload_chunk: bytes | None = None) -> bytes:
    """A HEPv3 datagram with all the usual chunks, a password among them."""
    body = b"".join(
        (
            chunk(1, b"\x02"),
            chunk(2, b"\x11"),
            chunk(3, bytes((192, 0, 2, 7))),
            chunk(4, bytes((192, 0, 2, 1))),
            chunk(7, PORT.to_bytes(2, "big")),
            chunk(8, (5060).to_bytes(2, "big")),
            chunk(9, (1795365767).to_bytes(4, "big")),
            chunk(10, (101508).to_bytes(4, "big")),
            chunk(11, b"\x01"),
            chunk(14, b"secret"),
            chunk(15, message) if payload_chunk is None else payload_chunk,
        )
    )
    return b"HEP3" + (len(body) + 6).to_bytes(2, "big") + body


def hep_hex(message: bytes) -> Written:
    datagram = hep(message)
    return Written(b"%08x\n%s\n" % (len(datagram), datagram), message)


def hep_binary(message: bytes) -> Written:
    datagram = hep(message)
    return Written(len(datagram).to_bytes(4, "big") + datagram, message)


def sngrep(message: bytes) -> Written:
    head = b"2026/11/22 16:24:29.123456 192.0.2.7:5062 -> 192.0.2.1:5060\n"
    return Written(head + message + b"\n\n", message)


def ngrep(message: bytes) -> Written:
    head = b"U 2026/11/22 16:24:29.123456 192.0.2.7:5062 -> 192.0.2.1:5060 #12\n"
    return Written(head + message.replace(b"\r", b".") + b"\n\n", message)


Writer = Callable[[bytes], Written]

WRITERS: dict[str, tuple[Writer, ...]] = {
    "asterisk-pjsip": (pjsip, pjsip_plain),
    "asterisk-json": (pjsip_json,),
    "asterisk-syslog": (pjsip_syslog, pjsip_syslog_raw),
    "asterisk-console": (console, console_dated),
    "asterisk-chan-sip": (chan_sip_received, chan_sip_without_transport, chan_sip_sent),
    "kamailio-dump": (dump_traditional, dump_iso, dump_rfc5424, dump_rsyslog_json, dump_syslog_raw),
    "kamailio-stderr": (stderr, stderr_color, log_prefix),
    "kamailio-json": (engine_json, engine_cee, engine_invalid, engine_nested, engine_one_line),
    "kamailio-journal": (journal,),
    "sipdump": (sipdump,),
    "hep": (hep_hex, hep_binary),
    "sngrep": (sngrep,),
    "ngrep": (ngrep,),
}
CASES = [(name, writer) for name, writers in WRITERS.items() for writer in writers]
NOISE: dict[str, bytes] = {
    "asterisk": b'[Nov 22 16:26:01] VERBOSE[1] pbx.c: Executing [s@x:1] NoOp("a", "b") in new stack\n',
    "kamailio": b"Nov 22 16:37:38 vm kamailio[14390]: NOTICE: <script>: reply 100 Trying from 192.0.2.9:5060\n",
}
