"""Header values that hold an address: name-addr or addr-spec, then parameters (RFC 3261 20.10, 25.1).

Every function takes text of one header value, goes over it once, and never raises.
"""

import re
from typing import NamedTuple

from redirectd.sip.uri import Params

_SEPARATOR = re.compile(r'[",;<]')
_QUOTE_STOP = re.compile(r'["\\]')


class Address(NamedTuple):
    """An address as written: the URI is not parsed yet; `fault` says why there is none to be had."""

    display: str | None
    uri_text: str
    params: Params
    bracketed: bool
    fault: str | None = None


def split_commas(text: str) -> list[str]:
    """Split a header value at the commas outside quotes and ``<>``; the entries are stripped.

    Empty entries are dropped. Behind an unclosed quote or ``<`` nothing is split.
    """
    return [entry for entry in (part.strip() for part in split_outside(text, ",")) if entry]


def split_outside(text: str, separator: str) -> list[str]:
    """Split at `separator` (comma or semicolon) outside quoted strings and ``<>``."""
    if '"' not in text and "<" not in text:
        return text.split(separator)
    parts: list[str] = []
    start = position = 0
    while found := _SEPARATOR.search(text, position):
        char = found[0]
        position = found.end()
        if char == separator:
            parts.append(text[start : found.start()])
            start = position
        elif char in '"<':
            position = _end_of_quoted(text, position) if char == '"' else text.find(">", position) + 1
            if not position:
                break
    parts.append(text[start:])
    return parts


def _end_of_quoted(text: str, position: int) -> int:
    """Find the index behind the closing quote; `position` is behind the opening one. 0: it is not closed."""
    while found := _QUOTE_STOP.search(text, position):
        if found[0] == '"':
            return found.end()
        position = found.end() + 1  # a backslash and what it escapes
    return 0


def parse_address(entry: str) -> Address:
    """Take one entry of a Contact, From, To or the like apart.

    Without ``<>``, what follows the first ``;`` are parameters of the header, not of the URI (R14).
    """
    opening = _find_bracket(entry)
    if opening == _UNCLOSED_QUOTE:
        return Address(None, entry, (), bracketed=False, fault="a quoted string is not closed")
    if opening == _NO_BRACKET:
        uri_text, semicolon, rest = entry.partition(";")
        return Address(None, uri_text.strip(), header_params(rest) if semicolon else (), bracketed=False)
    closing = entry.find(">", opening)
    if closing < 0:
        return Address(None, entry[opening + 1 :].strip(), (), bracketed=True, fault="a '<' is not closed")
    display = unquote(entry[:opening].strip()) or None
    uri_text = entry[opening + 1 : closing].strip()
    rest = entry[closing + 1 :].strip()
    if rest and rest[0] != ";":
        return Address(display, uri_text, (), bracketed=True, fault="something stands behind the '>'")
    return Address(display, uri_text, header_params(rest[1:]) if rest else (), bracketed=True)


_NO_BRACKET = -1
_UNCLOSED_QUOTE = -2


def _find_bracket(entry: str) -> int:
    """Find the first ``<`` outside quotes."""
    position = 0
    while found := _SEPARATOR.search(entry, position):
        if found[0] == "<":
            return found.start()
        position = found.end()
        if found[0] == '"':
            position = _end_of_quoted(entry, position)
            if not position:
                return _UNCLOSED_QUOTE
    return _NO_BRACKET


def header_params(text: str) -> Params:
    """Read ``name=value;name;...``: names in lower case, quoted values without their quotes."""
    if not text:
        return ()
    params: list[tuple[str, str | None]] = []
    for item in split_outside(text, ";"):
        name, equals, value = item.partition("=")
        name = name.strip().lower()
        if name:
            params.append((name, unquote(value.strip()) if equals else None))
    return tuple(params)


def unquote(text: str) -> str:
    """Take off the quotes of a quoted string and undo its backslashes; other text comes back as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    pieces: list[str] = []
    start = 0
    while (slash := inner.find("\\", start)) >= 0:
        pieces.append(inner[start:slash])
        pieces.append(inner[slash + 1 : slash + 2])
        start = slash + 2
    pieces.append(inner[start:])
    return "".join(pieces)
