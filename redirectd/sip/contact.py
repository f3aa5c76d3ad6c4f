"""Addresses and Contacts: `"Name" <URI>;parameters` (20.10, 20.31), and the header fields that are lists of them.

The functions on addresses take the text of one header value, go over it once, and never raise.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from redirectd.sip.text import unfold
from redirectd.sip.uri import Params, Uri, UriError, parse_uri

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
        return Address(display, uri_text, (), bracketed=True, fault="something comes after the '>'")
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


MAX_CONTACTS = 1000
"""More Contacts than this in one message are not read; a last one with a fault represents them."""

MAX_SECONDS = 2**32 - 1
"""Largest delta-seconds (RFC 3261 20.19)."""

_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_DELTA_SECONDS = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Contact:
    """One entry of the Contact headers.

    `raw` is the entry as written, unfolded. `uri` is None for ``*`` and where `fault` says why the entry
    could not be read. `params` are those of the header: names in lower case, values without quotes.
    """

    raw: str
    uri_text: str
    uri: Uri | None
    fault: str | None = None
    display: str | None = None
    params: Params = ()

    @property
    def is_star(self) -> bool:
        """Say if this is ``Contact: *``, which names no target."""
        return self.raw == "*"

    @property
    def q(self) -> float:
        """Preference from 0.0 to 1.0; 1.0 where it is missing or not readable (see `q_fault`)."""
        value = self.param("q")
        return float(value) if value is not None and _QVALUE.fullmatch(value) else 1.0

    @property
    def q_fault(self) -> str | None:
        """Say that a q is there and is not a number from 0 to 1 with at most three decimals."""
        if not self.has_param("q") or _QVALUE.fullmatch(self.param("q") or ""):
            return None
        return "the q of the Contact is not readable and counts as 1.0"

    @property
    def expires(self) -> int | None:
        """Lifetime in seconds; None where it is missing or not readable (see `expires_fault`)."""
        return parse_delta_seconds(self.param("expires"))

    @property
    def expires_fault(self) -> str | None:
        """Say that a lifetime is there and is not a number of seconds: a finite one was meant, not none."""
        if not self.has_param("expires") or self.expires is not None:
            return None
        return "the expires of the Contact is not a number of seconds"

    def param(self, name: str) -> str | None:
        """Give the first header parameter of that name; None where it is missing or has no value."""
        return next((value for key, value in self.params if key == name), None)

    def has_param(self, name: str) -> bool:
        """Say if a header parameter is there, with or without a value."""
        return any(key == name for key, _ in self.params)


def parse_delta_seconds(value: str | None) -> int | None:
    """Read a delta-seconds (``;expires=``, the Expires header); None where it is none or beyond 2**32-1."""
    if value is None or not _DELTA_SECONDS.fullmatch(value):
        return None
    seconds = int(value)
    return seconds if seconds <= MAX_SECONDS else None


def parse_contacts(values: Iterable[str]) -> tuple[Contact, ...]:
    """Read all Contacts of a message, in order, from its header values (folded or not).

    Never raises: what cannot be read is a Contact with a fault, and takes no other header value with it.
    """
    contacts: list[Contact] = []
    for value in values:
        for entry in split_commas(unfold(value)):
            if len(contacts) == MAX_CONTACTS:
                contacts.append(Contact("", "", None, f"more than {MAX_CONTACTS} Contacts; the rest was not read"))
                return tuple(contacts)
            contacts.append(_parse_contact(entry))
    return tuple(contacts)


def _parse_contact(entry: str) -> Contact:
    if entry == "*":
        return Contact(entry, entry, None)
    address = parse_address(entry)
    uri: Uri | None = None
    fault = address.fault
    if not fault:
        try:
            uri = parse_uri(address.uri_text)
        except UriError as error:
            fault = error.why
    if uri is not None and not address.bracketed and "?" in address.uri_text:
        uri, fault = None, "a URI with '?' must be in <>"  # 20.10
    return Contact(entry, address.uri_text, uri, fault, address.display, address.params)
