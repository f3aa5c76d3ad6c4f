"""Messages as nearly all programs write them, recognised by one regular expression instead of a parse.

Plain is a message with one Via, Call-ID and CSeq, in this order and in the usual spelling, no folded line among its
headers, and an empty line behind them. What is not plain is left to `redirectd.sip.message`; what is, comes to the
same there. No expression here can go back over what it has passed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_OTHERS = rb"(?:(?:[ABD-HJ-UW-Zabd-hj-uw-z][A-Za-z0-9_.-]*+|Con[A-Za-z-]*+|c)[ \t]*+:[^\n]*+\n)*+"
"""Headers that are none of the three: any that don't begin with C, I or V, and Contact, Content-... and `c`."""

_PARAMS = rb"(?:;(?!branch)[a-z]{1,32}+(?:=[A-Za-z0-9.:\[\]_-]{0,64}+)?+)*+"
_VIA = (
    rb"(?:Via|v)[ \t]*+:[ \t]*+SIP/2\.0/[A-Za-z]{2,8}+ [A-Za-z0-9.:\[\]_-]{1,255}+"
    + _PARAMS
    + rb";branch=([A-Za-z0-9.~!*_+-]{1,256}+)"
    + _PARAMS
    + rb"\r?+\n"
)
HEADERS = (
    _OTHERS
    + _VIA
    + _OTHERS
    + rb"(?:Call-ID|i)[ \t]*+:[ \t]*+([!-~]{1,256}+)\r?+\n"
    + _OTHERS
    + rb"CSeq[ \t]*+:[ \t]*+(\d{1,9}+) ([A-Z]{1,32}+)\r?+\n"
    + _OTHERS
    + rb"\r*+\n"
)
"""All headers of a plain message with the empty line: branch, Call-ID, CSeq number and method."""

REQUEST_LINE = rb"([A-Z]{1,32}+) ([!-~]{1,1024}+) SIP/2\.0\r?+\n"
STATUS_183_LINE = rb"SIP/2\.0 183(?: [^\n]*+|\r?+)\n"

_LONGEST = 16_384
"""Bytes of a message in which its headers must end."""

_FEATURES = re.compile(rb"\n(?:(?i:(content-type|c)|(require)|(content-length|l)))[ \t]*+:[ \t]*+([^\n]*+)")
_LENGTH = re.compile(rb"[0-9]{1,10}")

_RESPONSE_183 = re.compile(STATUS_183_LINE + HEADERS)
_REQUEST = re.compile(REQUEST_LINE + HEADERS)


class Identity(NamedTuple):
    """What names a transaction (17.1.3), as it is in a plain message."""

    branch: bytes
    call_id: bytes
    cseq: int
    method: bytes


class Plain(NamedTuple):
    """A plain message: its Request-URI (b'' of a response), what names it, and where its body begins."""

    uri: bytes
    identity: Identity
    body: int


NO_REQUEST = Plain(b"", Identity(b"", b"", 0, b""), 0)


def plain_183(message: bytes) -> Plain | None:
    """A 183 if it is plain, else None."""
    match = _RESPONSE_183.match(message, 0, _LONGEST)
    if match is None:
        return None
    branch, call_id, cseq, method = match.groups()
    return Plain(b"", Identity(branch, call_id, int(cseq), method), match.end())


def plain_request(message: bytes) -> Plain | None:
    """A request if it is plain and its CSeq names its method, else None."""
    match = _REQUEST.match(message, 0, _LONGEST)
    return request_of(match) if match else None


def request_of(match: re.Match[bytes]) -> Plain | None:
    """What an expression that begins with `REQUEST_LINE` and `HEADERS` has found, if the CSeq names the method."""
    named, uri, branch, call_id, cseq, method = match.groups()
    return Plain(uri, Identity(branch, call_id, int(cseq), method), match.end()) if named == method else None


def early_media(text: bytes | bytearray, start: int, body: int, end: int) -> tuple[bytes, bytes]:
    """What a plain 183 in `text[start:end]` says of early media (R3): its SDP, b'' for none, and what it requires."""
    kind: bytes | None = None
    length: bytes | None = None
    require: list[bytes] = []
    for is_kind, is_require, _, value in _FEATURES.findall(text, start, body):
        if is_require:
            require.append(value)
        elif is_kind:
            kind = value if kind is None else kind
        elif length is None:
            length = value.strip(b" \t\r")
    if kind is None or b"sdp" not in kind.lower():
        return b"", b",".join(require)
    claimed = body + int(length) if length and _LENGTH.fullmatch(length) else end
    return bytes(text[body : min(claimed, end)]), b",".join(require)
