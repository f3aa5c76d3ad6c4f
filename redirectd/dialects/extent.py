"""Where a SIP message in running text begins and ends, by its start line and Content-Length (RFC 3261 18.3, 20.14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from redirectd.dialects.framing import ahead, find_ahead
from redirectd.dialects.window import REACH, Window

_STATUS_LINE = re.compile(rb"SIP/2\.0 [1-6]\d\d[ \r\n]")
_REQUEST_LINE = re.compile(rb" SIP/2\.0\r?\n")
_METHOD_URI = re.compile(rb"[A-Z][A-Z0-9_-]{1,31} [a-zA-Z][a-zA-Z0-9+.-]{1,31}:[^ \r\n]*+")
_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:\s*(\d{1,64})[ \t]*\r?\n", re.IGNORECASE)

_HEADER_LINES = re.compile(
    rb"(?:[!-9;-~]{1,64}+[ \t]*+:[^\n]*+\n|[ \t][^\n]*+\n)*+(?:[!-9;-~]{1,64}+[ \t]*+:[^\n]*+\Z)?"
)

_LONGEST = 10**9
"""What a longer Content-Length counts as: it reaches over everything either way."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What a message's own headers say of its end: `body` is where its body begins (-1: the headers do not end).

    `end` is the end by Content-Length, which may lie beyond the text; None where no length is given.
    """

    body: int
    end: int | None


def find_message(text: Window, start: int = 0, stop: int | None = None) -> int:
    """Position of the first start line (RFC 3261 7.1, 7.2) that ends in `text[start:stop]`, or -1.

    The line may come after other text on the same line, as in an operator's own `reply: $mb`.
    """
    limit = len(text) if stop is None else stop
    status = _STATUS_LINE.search(text, start, limit)
    request = _first_request(text, start, status.start() if status else limit)
    if request >= 0:
        return request
    return status.start() if status else -1


def _first_request(text: Window, start: int, limit: int) -> int:
    for match in _REQUEST_LINE.finditer(text, start, limit):
        begin = request_line_start(text, match.start(), start)
        if begin >= 0:
            return begin
    return -1


def request_line_start(text: Window, version: int, low: int = 0) -> int:
    """Start of the request line whose ` SIP/2.0` is at `version`, or -1 if it is not one."""
    low = max(low, version - REACH, text.rfind(b"\n", max(low, version - REACH), version) + 1)
    gap = text.rfind(b" ", low, version)
    if gap < 0:
        return -1
    begin = text.rfind(b" ", low, gap) + 1 or low
    match = _METHOD_URI.fullmatch(text, begin, version)
    if match is None:
        return -1
    return begin


def measure(text: Window, start: int, stop: int | None = None) -> Extent:
    """Body and end of the message that begins at `start`, from the headers found before `stop`."""
    limit = len(text) if stop is None else stop
    body = head_end(text, start, limit)
    if body < 0:
        return Extent(-1, None)
    length = ahead(text, _LENGTH, start, body)
    return Extent(body, body + min(int(length[1]), _LONGEST) if length else None)


def said_end(extent: Extent) -> int:
    """Where a message says itself that it ends, by its headers alone where it gives no length; -1 if they do not end.

    A writer that neither counts nor escapes puts its own mark there. Where something else is, a peer sent more than he
    said (R40): then the next mark can be his own text, as can all that follows within the size of a datagram.
    """
    return extent.body if extent.end is None else extent.end


def headers_end(window: Window, begin: int, limit: int) -> int:
    """End of what can be a message whose headers do not end: other text behind them belongs to others."""
    line = window.find(b"\n", begin, limit) + 1
    headers = _HEADER_LINES.match(window, line, limit) if line else None
    return headers.end() if headers is not None else limit


def open_end(window: Window, begin: int, limit: int, extent: Extent) -> int:
    """End of a message behind which its writer's mark is missing: by its own headers alone (R40).

    A length that reaches to nothing hides what others wrote there.
    """
    headers = headers_end(window, begin, limit)
    if not headers <= extent.body <= headers + 2:
        return headers
    return extent.body if extent.end is None or extent.end > limit else extent.end


def head_end(text: Window, start: int, limit: int) -> int:
    """Position behind the empty line that ends the headers, or -1; some logs have taken the CRs away."""
    double = find_ahead(text, b"\r\n\r\n", start, limit)
    bare = find_ahead(text, b"\n\n", start, limit if double < 0 else double)
    if bare > start and text[bare - 1] != 0x0D:
        return bare + 2
    return double + 4 if double >= 0 else -1


def carve(text: bytes, start: int, *, stripped: bool = False) -> tuple[bytes, bool]:
    r"""The message at `start` of a log entry's text, and whether it was cut off.

    What an author wrote behind the message is left out where Content-Length gives its end. A final LF that
    syslog took away is put back; `stripped` says that the log takes away all white space at an entry's end
    (journald), so that the end of the text is the end of the last header or line.
    """
    message = text[start:]
    for missing in (b"", b"\n", b"\r\n", b"\r\n\r\n", b"\n\r\n")[: 5 if stripped else 2]:
        extent = measure(message + missing, 0)
        if extent.body < 0:
            continue
        if extent.end is None:
            return message + missing, False
        if extent.end <= len(message) + len(missing):
            return (message + missing)[: extent.end], False
    return message, True
