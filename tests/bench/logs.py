"""Logs made from a seed: what Asterisk and Kamailio write in a busy hour, and the worst that can be in one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

_NAMES = (
    b"Allow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, MESSAGE, REFER\r\n"
    b"Supported: 100rel, timer, replaces, norefersub, histinfo\r\nSession-Expires: 1800\r\nMax-Forwards: 70\r\n"
)
_SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 22216 RTP/AVP 0 101\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)
_CONTACT = b"Contact: <sip:x@192.0.2.31>\r\n"
_STAMP = b"Nov 22 16:26:03"
Maker = Callable[[random.Random, int], bytes]


def write(path: Path, size: int, maker: Maker, seed: int = 7) -> Path:
    """Fills `path` with at least `size` bytes of `maker`'s calls, numbered from 1."""
    chosen = random.Random(seed)
    written = number = 0
    with path.open("wb") as out:
        while written < size:
            number += 1
            written += out.write(maker(chosen, number))
    return path


def messages(chosen: random.Random, number: int) -> list[bytes]:
    """A call's messages: 0.8 % of calls (0.1 % of messages) end in a 301, two in five have a 183."""
    asked = _request(b"INVITE", number, _NAMES, _SDP)
    ending = chosen.random()
    if ending < 0.008:
        return [asked, _response(b"100 Trying", number), _moved(number)]
    early = [_response(b"183 Session Progress", number, _CONTACT, _SDP)] if ending < 0.4 else []
    answers = [_response(b"100 Trying", number), *early, _response(b"200 OK", number, _CONTACT, _SDP)]
    bye = [_request(b"BYE", number), _response(b"200 OK", number, method=b"BYE")]
    return [asked, *answers, _request(b"ACK", number), *bye]


def asterisk(chosen: random.Random, number: int) -> bytes:
    """A call in Asterisk's full log, with lines of its dialplan between request and answers."""
    noise = b'[%s] VERBOSE[3191][C-%08x] pbx.c: Executing [s@macro-dial:%d] NoOp("PJSIP/uac-%08x", "dialled")\n'
    asked, trying, *others = map(_block, messages(chosen, number))
    return b"".join([asked, trying, *(noise % (_STAMP, number, step, number) for step in range(6)), *others])


def kamailio(chosen: random.Random, number: int) -> bytes:
    """A call in Kamailio's syslog: lines of a script, and the one-line record of what was answered."""
    head = b"%s sip1 kamailio[2712]: " % _STAMP
    noise = b"%sINFO: <script>: route[%d] F=sip:a%d@one.test ci=%08x@192.0.2.1 M=INVITE src=192.0.2.1:5060\n"
    lines = [noise % (head, step, number, number) for step in range(24)]
    ending = chosen.random()
    status = 301 if ending < 0.008 else 183 if ending < 0.4 else 0
    if status:
        lines.append(record(number, status))
    return b"".join(lines)


def record(number: int, status: int = 301) -> bytes:
    """The one-line record of an answer."""
    contact = b"%%3Csip:n%d%%40192.0.2.30%%3E" % number
    return (
        b"%s sip1 kamailio[2712]: NOTICE: <script>: REDIRECTD v=1 ev=%d ts=1795364763.000000 m=INVITE "
        b"ci=%08x@192.0.2.1 cseq=1 br=0 src=udp/192.0.2.31/5060 ouri=sip:u%d@one.test buri=sip:u%d@two.test "
        b"nct=1 ctlen=%d ct=%s end=1\n"
    ) % (_STAMP, status, number, number % 5000, number % 5000, 22, contact)


def only_moves(_: random.Random, number: int) -> bytes:
    """Nothing but 301s of ever new calls."""
    return record(number)


def unpaired(_: random.Random, number: int) -> bytes:
    """301s whose requests are not in the log."""
    return _block(_moved(number))


def storm(_: random.Random, number: int) -> bytes:
    """One loop: the same 301 for the same URI in call after call, with its request."""
    return _block(_request(b"INVITE", number, _NAMES, _SDP, user=1)) + _block(_moved(number, user=1))


def one_line(_: random.Random, number: int) -> bytes:
    """A piece of a line that never ends, with what looks like an answer in it."""
    return b"x" * 65_000 + b"SIP/2.0 301 Moved " + b"%d" % number


def hostile(_: random.Random, number: int) -> bytes:
    """Text that makes a careless scanner go back: marks without end, half headers, quotes and angle brackets."""
    return (b"<--- Received SIP response (999999 bytes) from UDP:x\nSIP/2.0 301 " + b'Contact: "<,\\' * 20 + b"\n") * 4


def far_into_lines(_: random.Random, number: int) -> bytes:
    """What looks like an answer further into its line than any log's own head is long."""
    return b"x" * 1100 + b"SIP/2.0 301 Moved %d\n" % number


MAKERS: dict[str, Maker] = {
    "Asterisk, pjsip logger": asterisk,
    "Kamailio, one-line record": kamailio,
}


def _moved(number: int, user: int | None = None) -> bytes:
    who = number % 5000 if user is None else user
    contact = b"Contact: <sip:n%d@192.0.2.30:5060>\r\n" % who
    return _response(b"301 Moved Permanently", number, contact, user=who)


def _request(method: bytes, number: int, extra: bytes = b"", body: bytes = b"", user: int | None = None) -> bytes:
    who = number % 5000 if user is None else user
    return _message(b"%s sip:u%d@192.0.2.31:6003 SIP/2.0" % (method, who), number, method, b"", extra, body, who)


def _response(
    status: bytes,
    number: int,
    extra: bytes = b"",
    body: bytes = b"",
    method: bytes = b"INVITE",
    user: int | None = None,
) -> bytes:
    who = number % 5000 if user is None else user
    return _message(b"SIP/2.0 " + status, number, method, b";tag=3021", extra, body, who)


def _message(first: bytes, number: int, method: bytes, tag: bytes, extra: bytes, body: bytes, user: int) -> bytes:
    return b"".join([
        first,
        b"\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKPj%08x-2cce-4e00-9d1f-53f26670634e" % number,
        b"\r\nFrom: <sip:caller@192.0.2.1>;tag=978131bc\r\nTo: <sip:u%d@192.0.2.31>%s" % (user, tag),
        b"\r\nCall-ID: %08x-5d8e-4e2e-af3d-efb8f707acd6\r\nCSeq: 1229 %s\r\n" % (number, method),
        extra,
        b"Content-Length: %d\r\n\r\n" % len(body),
        body,
    ])  # fmt: skip


def _block(message: bytes) -> bytes:
    """A message in Asterisk's log, its requests sent and its responses received."""
    what, way = (
        (b"Received SIP response", b"from") if message.startswith(b"SIP/2.0") else (b"Transmitting SIP request", b"to")
    )
    head = b"[%s] VERBOSE[2630] res_pjsip_logger.c: <--- %s (%d bytes) %s UDP:192.0.2.31:6003 --->\n"
    return head % (_STAMP, what, len(message), way) + message + b"\n"
