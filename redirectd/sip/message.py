"""A SIP message as a log has it: read tolerantly, header values on demand (RFC 3261 7, RFC 4475).

With it the names of headers, and the two that name a transaction: CSeq and Via (17.1.3). What is tolerated: line ends
CR LF, LF, CR CR LF or a mix; folded headers; compact names in any case, blanks before the colon; bytes that are not
UTF-8; lines that are no header; a cut anywhere behind the first line.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from redirectd.sip.contact import header_params, parse_address, split_commas
from redirectd.sip.text import printable, to_text
from redirectd.sip.uri import MAX_URI, Params

COMPACT_NAMES = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
"""Compact header names (RFC 3261 7.3.3 and IANA's registry) and the full names they stand for."""

_USUAL_SPELLINGS = """
    Via From To Call-ID Call-Id CSeq Contact Max-Forwards Content-Length Content-Type User-Agent
    Server Allow Supported Require Expires Record-Route Route Reason Subject Date RSeq RAck
    P-Asserted-Identity Diversion Allow-Events History-Info
"""

KNOWN_NAMES = COMPACT_NAMES | {name: name.lower() for name in _USUAL_SPELLINGS.split()}
"""Spellings met most, and the names they stand for: a fixed table, since names come from the network."""

METHOD = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]{1,64}")
"""A method: a token, bounded."""

_CSEQ_NUMBER = re.compile(r"[0-9]{1,10}")


class CSeq(NamedTuple):
    """A CSeq header: sequence number (below 2**32) and method as written."""

    number: int
    method: str


class Via(NamedTuple):
    """One Via: `transport` in upper case, `sent_by` as written without blanks, `branch` as written."""

    transport: str
    sent_by: str
    branch: str | None
    params: Params


def full_name(name: str) -> str:
    """Give a header's full name in lower case, whatever case or compact form it was written in."""
    name = name.strip().lower()
    return COMPACT_NAMES.get(name, name)


@lru_cache(maxsize=256)  # an answer is asked for it several times, and its request has the same
def parse_cseq(value: str) -> CSeq | None:
    """Read a CSeq; None where it is none."""
    words = value.split(None, 1)
    if len(words) != 2:
        return None
    number, method = words
    if not (_CSEQ_NUMBER.fullmatch(number) and METHOD.fullmatch(method)):
        return None
    sequence = int(number)
    return CSeq(sequence, method) if sequence < 2**32 else None


@lru_cache(maxsize=256)
def parse_via(entry: str) -> Via | None:
    """Read one Via (no commas), with or without blanks around ``/ : ; =``; None where it is none."""
    head, _, rest = entry.partition(";")
    protocol, _, tail = head.partition("/")
    version, slash, tail = tail.partition("/")
    if not slash or protocol.strip().upper() != "SIP" or version.strip() != "2.0":
        return None
    words = tail.split(None, 1)
    if len(words) != 2:
        return None
    params = header_params(rest)
    branch = None
    for name, value in params:
        if name == "branch":
            branch = value
            break
    return Via(words[0].upper(), "".join(words[1].split()), branch, params)


def top_entry(value: str) -> str:
    """Give the first of a header value's comma-separated entries."""
    if "," not in value:
        return value
    entries = split_commas(value)
    return entries[0] if entries else ""


MAX_MESSAGE = 1 << 20
"""Largest message taken, in bytes."""

_HEAD_END = re.compile(rb"\n\r*+\n")
_FOLD = re.compile(r"\n[ \t]")
_BLANKS = " \t\r"
_DIGITS = re.compile(r"[0-9]{1,10}")


class MessageError(ValueError):
    """Bytes that are no SIP message; the text says why and is safe to print."""


class Message:
    """What requests and responses have in common. Made by `parse_message`."""

    __slots__ = ("_head_complete", "_headers", "_rest", "raw")

    def __init__(self, raw: bytes, lines: list[str], rest: bytes, *, head_complete: bool) -> None:
        self.raw = raw
        """The whole message, as it was given."""
        self._rest = rest
        self._head_complete = head_complete
        self._headers = _index(lines)

    def headers(self, name: str) -> list[str]:
        """All values of a header in their order, unfolded to one space; `name` is full and lower case."""
        return self._headers.get(name, [])

    def header(self, name: str) -> str | None:
        """The first value of a header, or None; `name` is full and lower case."""
        values = self._headers.get(name)
        return values[0] if values else None

    @property
    def header_names(self) -> list[str]:
        """The names of the headers that are there, full and lower case, each once."""
        return list(self._headers)

    @property
    def call_id(self) -> str | None:
        """The Call-ID; None where it is missing or empty."""
        return self.header("call-id") or None

    @property
    def cseq(self) -> CSeq | None:
        """The CSeq; None where it is missing or not readable."""
        value = self.header("cseq")
        return parse_cseq(value) if value else None

    @property
    def top_via(self) -> Via | None:
        """The first Via, which names the transaction (17.1.3); None where it is missing or not readable."""
        value = self.header("via")
        return parse_via(top_entry(value)) if value else None

    @property
    def vias(self) -> list[Via]:
        """All readable Vias, top first."""
        entries = (parse_via(entry) for value in self.headers("via") for entry in split_commas(value))
        return [via for via in entries if via]

    @property
    def to_tag(self) -> str | None:
        """The tag of To: in a request, the mark of a dialog (R10)."""
        return self._tag("to")

    @property
    def from_tag(self) -> str | None:
        """The tag of From."""
        return self._tag("from")

    def _tag(self, name: str) -> str | None:
        value = self.header(name)
        if not value:
            return None
        return next((tag for key, tag in parse_address(value).params if key == "tag"), None)

    @property
    def content_length(self) -> int | None:
        """The Content-Length in bytes; None where it is missing or no number."""
        value = self.header("content-length")
        return int(value) if value and _DIGITS.fullmatch(value) else None

    @property
    def body(self) -> bytes:
        """What follows the headers, up to Content-Length where there is one; short where it was cut."""
        return self._rest[: self.content_length]

    @property
    def truncated(self) -> bool:
        """Say that something seems to be missing at the end.

        Either no blank line ends the headers, so that the last one may be cut in the middle of a value,
        or the body is shorter than Content-Length. Where a log turned CR LF to LF, each LF of the body
        counts twice.
        """
        if not self._head_complete:
            return True
        length = self.content_length or 0
        got = len(self._rest)
        return got < length and (b"\r" in self._rest or got + self._rest.count(b"\n") < length)


class Response(Message):
    """A response: `status` is the three-digit code, `reason` the phrase as sent (may be empty or hostile)."""

    __slots__ = ("reason", "status")

    status: int
    reason: str

    def __repr__(self) -> str:
        return f"<Response {self.status} {printable(self.call_id or '-', 80)}>"


class Request(Message):
    """A request: `method` as written, `uri_text` the Request-URI as written and not checked."""

    __slots__ = ("method", "uri_text")

    method: str
    uri_text: str

    def __repr__(self) -> str:
        return f"<Request {self.method} {printable(self.uri_text, 80)}>"


def parse_message(raw: bytes) -> Request | Response:
    """Read one message; blank lines before it are skipped (7.5), anything behind the headers is its body.

    Raises:
        MessageError: the first line is neither a request line nor a status line of SIP/2.0, or `raw` is
            longer than `MAX_MESSAGE`.
    """
    if len(raw) > MAX_MESSAGE:
        raise MessageError(f"a message of {len(raw)} bytes is too long")
    message = raw.lstrip(b"\r\n")
    end = _HEAD_END.search(message)
    if end:
        head, rest, complete = message[: end.start()], message[end.end() :], True
    else:
        # rsyslog strips the final LF of a dump: a line end and a bare CR are the blank line, too.
        head, rest, complete = message, b"", message.endswith(b"\n\r")
    lines = _lines(to_text(head))
    first = lines[0].rstrip("\r")
    if first[:8].upper() == "SIP/2.0 ":
        response = Response(raw, lines, rest, head_complete=complete)
        response.status, response.reason = _status_line(first)
        return response
    method, uri_text = _request_line(first)
    request = Request(raw, lines, rest, head_complete=complete)
    request.method, request.uri_text = method, uri_text
    return request


def _status_line(line: str) -> tuple[int, str]:
    code, space, reason = line[8:].partition(" ")
    if len(code) != 3 or not _DIGITS.fullmatch(code):
        raise MessageError(f"the status {printable(code, 20)!r} is not of three digits")
    return int(code), reason if space else ""


def _request_line(line: str) -> tuple[str, str]:
    method, _, rest = line.rstrip(" \t").partition(" ")
    uri_text, _, version = rest.rpartition(" ")
    if version.upper() != "SIP/2.0" or not METHOD.fullmatch(method):
        raise MessageError(f"the first line is neither a SIP request nor a status line: {printable(line, 60)!r}")
    uri_text = uri_text.strip(" \t")
    if not uri_text or len(uri_text) > MAX_URI:
        raise MessageError("the request line has no Request-URI of a possible length")
    return method, uri_text


def _lines(text: str) -> list[str]:
    """Split the head into lines, which may keep a CR; no other character than LF separates lines."""
    lines = text.split("\n")
    return _unfolded(lines) if _FOLD.search(text) else lines


def _unfolded(lines: list[str]) -> list[str]:
    """Join continuation lines to the header before them, the fold being one space (7.3.1)."""
    groups: list[list[str]] = [[lines[0]]]
    for line in lines[1:]:
        if line[:1] in {" ", "\t"}:
            groups[-1].append(line.strip(_BLANKS))
        else:
            groups.append([line])
    return [group[0] if len(group) == 1 else " ".join([group[0].rstrip(_BLANKS), *group[1:]]) for group in groups]


def _index(lines: list[str]) -> dict[str, list[str]]:
    """Sort the header lines by name; the start line and lines without a colon are passed over."""
    found: dict[str, list[str]] = {}
    known = KNOWN_NAMES
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            key = known.get(name) or full_name(name)
            if key in found:
                found[key].append(value.strip(_BLANKS))
            else:
                found[key] = [value.strip(_BLANKS)]
    return found
