"""Text from the network: reversible decoding, safe printing, percent-escapes, folded lines.

Logs and messages are bytes that nobody promised to be UTF-8 (R25). They become ``str`` by `to_text`
and go back by `to_bytes`; nothing of them is printed, logged or stored but through `printable`.
"""

import re
from unicodedata import bidirectional, category
from urllib.parse import unquote_to_bytes

UNRESERVED = "A-Za-z0-9\\-_.!~*'()"
"""RFC 3261 25.1 `unreserved`, as the inside of a regular expression's character class."""

_CONTROLS = frozenset({"Cc", "Cf", "Zl", "Zp"})
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED_CHAR = re.compile(f"[{UNRESERVED}]")
_FOREIGN_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def to_text(raw: bytes) -> str:
    """Decode UTF-8; a byte that is not UTF-8 becomes a lone surrogate, which `to_bytes` undoes."""
    return raw.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """Undo `to_text`.

    Surrogates that `to_text` never makes (a JSON log can hold ``\\ud800``) become U+FFFD: they have
    no byte behind them, and this function must not raise on hostile text.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _FOREIGN_SURROGATE.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def printable(text: str, limit: int = 2000) -> str:
    """Give `text` in a form safe for terminals, log lines and databases, of at most `limit` characters.

    Whatever Unicode calls not printable is shown by number: C0 and DEL as ``\\x1b``, an undecodable
    byte as ``\\xe9``, everything else (C1, bidi overrides, line separators, lone surrogates) as
    ``\\u202e`` or ``\\U000e0001``. Text that was cut ends in ``...``. Not reversible, since a
    backslash is not doubled.
    """
    if len(text) <= limit and text.isprintable():
        return text
    head = text[: limit + 1]
    shown = [char if char.isprintable() else _by_number(ord(char)) for char in head]
    if len(text) <= limit and sum(map(len, shown)) <= limit:
        return "".join(shown)
    room = limit - 3
    kept: list[str] = []
    for piece in shown:
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + "..."[: max(limit, 0)]


def _by_number(code: int) -> str:
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


HEAD, TAIL = 60, 30
"""Characters that are shown of either end of a part of a URI that is longer than both."""

_MOVES_OTHERS = frozenset({"R", "AL", "AN"})
"""Bidirectional classes of letters that a terminal may show in another order than they are written in (UAX 9)."""


def shown(text: str, limit: int = 2000) -> str:
    """Text from the network as a reviewer sees it: what reorders or overlays other characters is shown by number.

    `printable` does so with controls; letters written from right to left and combining marks are its equals here,
    since a person decides by what a URI looks like.
    """
    safe = printable(text, limit)
    return safe if safe.isascii() else "".join(map(_in_place, safe))


def _in_place(char: str) -> str:
    moves = bidirectional(char) in _MOVES_OTHERS or category(char).startswith("M")
    if not moves:
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def elided(text: str) -> str:
    """Both ends of a long text, and how much is left out between them."""
    if len(text) <= HEAD + TAIL + 20:
        return text
    return f"{text[:HEAD]}...[{len(text) - HEAD - TAIL} characters]...{text[-TAIL:]}"


def unescape_percent(text: str) -> str:
    """Decode every ``%HH`` to its byte and the bytes to text; a ``%`` without two hex digits stays."""
    if "%" not in text:
        return text
    return to_text(unquote_to_bytes(to_bytes(text)))


def normalize_escapes(text: str) -> str:
    """Undo escapes of unreserved characters and write the others in upper case (RFC 3261 19.1.4).

    Two texts are equivalent by 19.1.4's escaping rule if, and only if, this form of them is the same:
    ``%61`` is ``a``, but ``%2b`` is not ``+``, since ``+`` is reserved.
    """
    if "%" not in text:
        return text
    return _ESCAPE.sub(_normalize_one, text)


def _normalize_one(match: re.Match[str]) -> str:
    char = chr(int(match[0][1:], 16))
    return char if _UNRESERVED_CHAR.match(char) else match[0].upper()


def has_bad_escape(text: str) -> bool:
    """Say if a ``%`` in `text` is not followed by two hex digits."""
    return "%" in text and _BAD_ESCAPE.search(text) is not None


def control_escape(text: str) -> str | None:
    """Name the first control character that `text`'s escapes decode to, as ``U+000D``; None if there is none.

    Controls are C0, DEL, C1, Unicode's format characters (bidi overrides, zero-width) and its line
    separators. Undecodable bytes are not counted: ``%E9`` is Latin-1, not an attack.
    """
    if "%" not in text:
        return None
    for char in unescape_percent(text):
        if not char.isprintable() and category(char) in _CONTROLS:
            return f"U+{ord(char):04X}"
    return None


def unfold(text: str) -> str:
    """Replace each folded line end (and the blanks around it) by one space (RFC 3261 7.3.1).

    A line end that no blank follows is not a fold and stays, except at the very end of `text`.
    """
    if "\n" not in text and "\r" not in text:
        return text
    lines = text.rstrip("\r\n").split("\n")
    parts = [lines[0].rstrip("\r")]
    for line in lines[1:]:
        rest = line.rstrip("\r")
        if rest[:1] in {" ", "\t"}:
            parts[-1] = parts[-1].rstrip(" \t")
            parts.append(" ")
            parts.append(rest.lstrip(" \t"))
        else:
            parts.append("\n")
            parts.append(rest)
    return "".join(parts)


_USERINFO = re.compile(r"(://[^:@/\s]*+):[^@\s]*+@")
_PARAMETER = re.compile(r"([?&][^=&\s]*+=)[^&\s]*+")


def mask_url(url: str) -> str:
    """A URL with its passwords, before the host and in the query, shown as ***."""
    return _PARAMETER.sub(_mask_parameter, _USERINFO.sub(r"\1:***@", url))


def _mask_parameter(found: re.Match[str]) -> str:
    name = found[1].casefold()
    return f"{found[1]}***" if name.endswith(("passwd=", "password=")) else found[0]
