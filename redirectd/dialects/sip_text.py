"""`sip-text`: SIP as text from any other program (FreeSWITCH, OpenSIPS, sipp, snom, pjsua, Cisco, AudioCodes, Homer).

Asked only where no other dialect framed the place. No such text has a frame that is sure: what a body or a header's
value holds can look the same, so that everything read here is `UNPROVEN` (R40).
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import ClassVar

from redirectd.dialects.frame import Authenticity, Direction, Frame, Framed, Incomplete, Peer
from redirectd.dialects.window import Window

_LONGEST = 16_384
"""Bytes of a message's headers that are looked at, and of the SDP behind them."""

_BACK_LINES, _BACK = 96, 8_192
"""Lines, and bytes, that are gone back from a header to its start line."""

_LEAD = 400
"""Bytes before a start line in which its program says where the message came from."""

_STATUS_LINE = re.compile(rb"([ \t]{0,8})SIP/2\.0 [1-6]\d\d(?: [^\r\n]{0,512})?\r?\n")
_START_LINE = re.compile(
    rb"([ \t]{0,8})(?:SIP/2\.0 [1-6]\d\d(?: [^\r\n]{0,512})?"
    rb"|[A-Z]{3,16} [a-zA-Z][a-zA-Z0-9+.-]{1,31}:[^ \r\n]{1,2048} SIP/2\.0)[ \t]{0,8}\r?\n"
)
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9_-]{0,40}[ \t]{0,8}:[^\r\n]*+\r?\n")
_FOLDED = re.compile(rb"[ \t][^\r\n]*+\r?\n")
_BLANK = re.compile(rb"[ \t]{0,8}\r?\n")
_SDP_LINE = re.compile(rb"[a-z]=[^\r\n]*+(?:\r?\n|\Z)")
_NAMES = re.compile(rb"\n(?:(call-id|i)|(cseq))[ \t]*:", re.IGNORECASE)
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*(\d{1,5})[ \t]*\r?\n", re.IGNORECASE)

_RECEIVED = re.compile(rb"\b(?:recv|received|receiving|rx|incoming|rcvd)\b", re.IGNORECASE)
_SENT = re.compile(rb"\b(?:send|sent|sending|tx|outgoing)\b", re.IGNORECASE)
_ADDRESS = (
    rb"(?:(udp|tcp|tls|wss?|sctp)[ /:]{1,2})?(\[[0-9a-f:.]{2,45}\]|\d{1,3}(?:\.\d{1,3}){3})(?::(\d{1,5}))?(?![\w.])"
)
_FROM_TO = re.compile(rb"\b(?:from|to)[ :]{1,2}" + _ADDRESS, re.IGNORECASE)
_WAY = re.compile(_ADDRESS + rb" {1,2}-{1,3}> {1,2}" + _ADDRESS, re.IGNORECASE)
_STAMP = re.compile(
    rb"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
    rb"|[A-Z][a-z]{2} [ \d]\d (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d{1,9})?"
)


class SipText:
    """Start line, headers and an SDP body, at a line's start or indented; the lines before say sender and time."""

    name: ClassVar[str] = "sip-text"
    literals: ClassVar[tuple[bytes, ...]] = (b"SIP/2.0 %d",)

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """See `Dialect.frame`."""
        start = _start_of(window, at)
        if start < 0:
            return None
        first = _START_LINE.match(window, start)
        if first is None:
            return None
        indent = first[1]
        text, end, ended = _headers(window, first.end(), indent)
        if not ended and not final and end >= len(window):
            return Incomplete(start)
        if at >= end or {bool(match[1]) for match in _NAMES.finditer(b"\n" + text)} != {True, False}:
            return None
        message = first[0].strip(b" \t\r\n") + b"\r\n" + text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
        body, end, torn = _body(window, end, indent, text)
        if torn and not final:
            return Incomplete(start)
        lead = bytes(window[max(0, start - _LEAD) : start])
        direction, peer, local = _sides(lead)
        return Frame(
            start=start,
            end=end,
            payload=message + body,
            dialect=self.name,
            direction=direction,
            peer=peer,
            local=local,
            stamp=_stamp(lead),
            authenticity=Authenticity.UNPROVEN,
        )

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped here."""
        return text


def _start_of(window: Window, at: int) -> int:
    """The line of the start line that `at` lies in or that comes before its headers; -1 where there is none near."""
    line = window.rfind(b"\n", max(0, at - _BACK), at) + 1
    if line == 0 and at > _BACK:
        return -1
    if _START_LINE.match(window, line):
        return line
    if window[at : at + 8] == b"SIP/2.0 " and not window[line:at].endswith(b" "):
        return -1  # a status in the middle of a line
    low = max(0, at - _BACK)
    for _ in range(_BACK_LINES):
        if not line or _BLANK.match(window, line):
            return -1
        line = window.rfind(b"\n", low, line - 1) + 1
        if line <= low and low:
            return -1
        if _START_LINE.match(window, line):
            return line
    return -1


def _headers(window: Window, begin: int, indent: bytes) -> tuple[bytes, int, bool]:
    """The header lines from `begin` on without their indentation, where they end, and whether something follows."""
    lines: list[bytes] = []
    position, limit = begin, min(len(window), begin + _LONGEST)
    while position < limit:
        if not window.startswith(indent, position):
            break
        inner = position + len(indent)
        line = _HEADER.match(window, inner, limit) or (_FOLDED.match(window, inner, limit) if lines else None)
        if line is None or _BLANK.fullmatch(line[0]):
            break
        lines.append(line[0])
        position = line.end()
    newline = window.find(b"\n", position, limit)
    return b"".join(lines), position, newline >= 0 or position >= begin + _LONGEST


def _body(window: Window, position: int, indent: bytes, headers: bytes) -> tuple[bytes, int, bool]:
    """The SDP behind the empty line, as far as Content-Length says; where it ends; whether the window's end cuts it."""
    blank = _BLANK.match(window, position)
    if blank is None:
        return b"", position, False
    length = _LENGTH.search(b"\n" + headers)
    left = int(length[1]) if length else 0
    lines: list[bytes] = []
    position = blank.end()
    while left > 0 and window.startswith(indent, position):
        line = _SDP_LINE.match(window, position + len(indent))
        if line is None:
            return b"".join(lines), position, position >= len(window)
        text = line[0].rstrip(b"\r\n") + b"\r\n"
        lines.append(text)
        left -= len(text)
        position = line.end()
    return b"".join(lines), position, left > 0 and position >= len(window)


def _sides(lead: bytes) -> tuple[Direction, Peer | None, Peer | None]:
    """Direction, other side and this side, as the last lines before a message say; sender and receiver for an arrow."""
    lines = lead.split(b"\n")[-4:]
    for line in reversed(lines):
        way = _WAY.search(line)
        if way is not None:
            return Direction.UNKNOWN, _peer(way[1], way[2], way[3]), _peer(way[4], way[5], way[6])
        received, sent = _RECEIVED.search(line), _SENT.search(line)
        if bool(received) is not bool(sent):
            place = _FROM_TO.search(line)
            peer = _peer(place[1], place[2], place[3]) if place else None
            return Direction.RECEIVED if received else Direction.SENT, peer, None
    return Direction.UNKNOWN, None, None


def _peer(transport: bytes | None, address: bytes, port: bytes | None) -> Peer | None:
    try:
        host = str(ip_address(address.decode().strip("[]")))
    except ValueError:
        return None
    number = int(port) if port else None
    if number is not None and number > 65_535:
        number = None
    return Peer((transport or b"").decode().lower(), host, number)


def _stamp(lead: bytes) -> str:
    """The last date in the lines before a message."""
    found = [match[0] for line in lead.split(b"\n")[-4:] for match in _STAMP.finditer(line)]
    return found[-1].decode("ascii", "replace") if found else ""
