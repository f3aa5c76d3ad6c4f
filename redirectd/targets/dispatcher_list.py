"""Kamailio's dispatcher list, read as the dispatcher module of 5.6 reads it.

``setid URI [flags [priority [attrs]]]`` between blanks; ``#`` ends what is read, even inside a URI, but not inside
attrs. Lines come in pieces of 1,023 bytes, and what is left of a longer one is read as a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from redirectd.plan.target import TargetError
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri, UriError, parse_uri

MAX_LINE = 1023
"""Bytes that Kamailio reads at once; the rest of a longer line becomes a line of its own."""

_MAX_SET = 2**31 - 1
_WORD = re.compile(rb"[^ \t\r\n#]*+")
_ATTRS = re.compile(rb"[^ \t\r\n]*+")
_DIGITS = re.compile(rb"[0-9]*+")
_SPACE = re.compile(rb"[ \t\r\n]*+")
_PARAM = rb"""[^;=]*+(?:=(?:"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|(?!["'])[^;]*+))?+"""
_ATTRS_SOUND = re.compile(rb"%b(?:;%b)*+" % (_PARAM, _PARAM))
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination: `uri` as it is written, at `content[start:end]`.

    `room` are the bytes its line can still grow by, negative where the line is too long already.
    """

    line: int
    set_id: int
    uri: str
    flags: int
    priority: int
    attrs: str
    start: int
    end: int
    room: int


def destinations(content: bytes) -> Iterator[Destination]:
    """Give the destinations in order; TargetError names the line of anything Kamailio refuses or reads differently."""
    if content.startswith(_BOM):
        raise TargetError("line 1: starts with a byte order mark, and Kamailio would skip the line")
    if (at := content.find(b"\0")) >= 0:
        raise TargetError(f"line {_line_of(content, at)}: a NUL byte, behind which Kamailio does not read")
    offset = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        whole = line + b"\n"
        for begin in range(0, len(whole), MAX_LINE):
            found = _destination(number, whole[begin : begin + MAX_LINE], offset + begin, len(line))
            if found:
                yield found
        offset += len(whole)


def sip_uri(found: Destination) -> SipUri:
    """Read a destination's URI; TargetError where Kamailio would skip the line and still say Ok."""
    try:
        uri = parse_uri(found.uri)
    except UriError as error:
        raise TargetError(f"line {found.line}: {error.why}; Kamailio would skip this destination") from None
    if not isinstance(uri, SipUri):
        raise TargetError(f"line {found.line}: no SIP URI; Kamailio would skip this destination")
    return uri


def _destination(line: int, piece: bytes, offset: int, length: int) -> Destination | None:
    at = _skip(_SPACE, piece, 0)
    if _at_end(piece, at):
        return None
    digits_end = _skip(_DIGITS, piece, at)
    set_id = int(piece[at:digits_end][:20] or b"0")
    if set_id > _MAX_SET:
        raise TargetError(f"line {line}: the set id is over {_MAX_SET}, and Kamailio would take another")
    start = _skip(_SPACE, piece, digits_end)
    end = _skip(_WORD, piece, start)
    if start == end:
        raise TargetError(f"line {line}: no URI behind the set id, and Kamailio would refuse the whole list")
    flags, at = _number(piece, end)
    priority, at = _number(piece, at)
    at = _skip(_SPACE, piece, at)
    attrs = b"" if _at_end(piece, at) else piece[at : _skip(_ATTRS, piece, at)]
    if not _ATTRS_SOUND.fullmatch(attrs):
        raise TargetError(
            f"line {line}: the attrs have a quote that is not closed before the next blank or semicolon, and "
            f"Kamailio would skip this destination"
        )
    return Destination(
        line,
        set_id,
        _text(piece[start:end]),
        flags,
        priority,
        _text(attrs),
        offset + start,
        offset + end,
        MAX_LINE - length,
    )


def _number(piece: bytes, at: int) -> tuple[int, int]:
    # A word that is not a number is left for what comes next: Kamailio takes it for the attrs.
    at = _skip(_SPACE, piece, at)
    end = _skip(_DIGITS, piece, at)
    return int(piece[at:end][:20] or b"0"), end


def _skip(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
    found = pattern.match(piece, at)
    assert found  # each pattern matches the empty text
    return found.end()


def _at_end(piece: bytes, at: int) -> bool:
    return piece[at : at + 1] in {b"", b"#"}


def _text(word: bytes) -> str:
    return printable(word.decode("utf-8", "surrogateescape"), MAX_LINE)


def _line_of(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1
