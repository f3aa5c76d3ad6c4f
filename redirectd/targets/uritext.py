"""Writing a URI into a routing file: rebuilt from its parsed parts, by allow-list, never copied."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_letters, digits

from redirectd.plan.target import CannotCarryError
from redirectd.sip.text import normalize_escapes, printable
from redirectd.sip.uri import Params, SipUri, UriError, canonical_host, host_fault, param_name, params_text, parse_uri

MAX_WRITTEN = 1000
"""Longest URI written, in characters. Kamailio's own bound for a Request-URI is 1,024."""

TRANSPORTS = frozenset({"udp", "tcp", "tls", "sctp", "ws", "wss"})
"""Transports that Kamailio or Asterisk can send by; any other makes the request fail."""

_ALNUM = ascii_letters + digits
_ESCAPED_BYTE = re.compile(r"%([0-9A-Fa-f]{2})")
_ELSEWHERE = frozenset({"maddr", "ttl"})
_SCHEMES = frozenset({"sip", "sips"})
_PLAIN_USER = re.compile(r"[A-Za-z0-9_.+\-]{1,64}")
_PLAIN_PARAMS = frozenset({*((("transport", name),) for name in TRANSPORTS), (("user", "phone"),)})
_DROPPED = frozenset({"method"})  # R16


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The characters that a file's grammar takes literally in a URI's user and in its parameters.

    Everything else that the URI grammar allows there is percent-escaped.
    """

    user: frozenset[str]
    params: frozenset[str]


KAMAILIO = Alphabet(frozenset(_ALNUM + "-_.!~*'()&=+$,;?/"), frozenset(_ALNUM + "-_.!~*'()[]/:&+$"))
"""All that RFC 3261 25.1 allows: a Kamailio value is data, nothing in it is read as a language."""

ASTERISK = Alphabet(frozenset(_ALNUM + "-_.~*+;="), frozenset(_ALNUM + "-_.~*+[]:"))
"""What no reader between extensions.conf and Dial() gives a meaning to, `;` being written as ``\\;``.

Out are ``$ & , ( ) ' ! ? /``, which the dialplan, Dial() and Return() would read.
"""


def checked(uri: SipUri) -> SipUri:
    """Give back a URI that is one by the grammar and hides nothing in its escapes.

    Raises CannotCarryError for anything else. A `SipUri` need not come from `parse_uri`, and a remap may be
    years old, so this asks the grammar again, unless nothing in its parts could separate them.
    """
    if is_plain(uri):
        return uri
    try:
        again = parse_uri(str(uri))
    except UriError as error:
        raise CannotCarryError(f"it is not a URI: {error.why}") from None
    if again != uri:
        raise CannotCarryError("a part of the URI holds a separator and would be read as another part")
    for part in (uri.user, params_text(uri.params)):
        _refuse_hidden_bytes(part or "")
    return uri


def is_plain(uri: SipUri) -> bool:
    """Whether the URI is of the kind that nearly all are, with no character that means anything to any reader.

    Its user has no escape and no character that any target's file would have to escape.
    """
    return (
        (uri.user is None or _PLAIN_USER.fullmatch(uri.user) is not None)
        and uri.password is None
        and uri.headers is None
        and _is_plain_address(uri.scheme, uri.host, uri.port, uri.params)
    )


@lru_cache(maxsize=4096)  # gateways and domains are few, and each is met often
def _is_plain_address(scheme: str, host: str, port: int | None, params: Params) -> bool:
    return (
        scheme in _SCHEMES
        and host_fault(host) is None
        and (port is None or 1 <= port <= 65535)
        and (not params or params in _PLAIN_PARAMS)
    )


def write_uri(uri: SipUri, alphabet: Alphabet, *, limit: int = MAX_WRITTEN) -> str:
    """Write the URI that routing shall send to, without `method` and headers (R16).

    Kept are scheme, user, host in canonical form, port, and all other parameters in their order. Refused by
    CannotCarryError are a password, `maddr` and `ttl` (they send the call elsewhere than to the host that was
    approved), transports nothing can send by, escapes of control or non-ASCII bytes, and what is over `limit`.
    """
    if is_plain(uri):
        user = "" if uri.user is None else f"{uri.user}@"
        text = f"{uri.scheme}:{user}{_plain_end(uri.host, uri.port, uri.params)}"
    else:
        text = _written(checked(uri), alphabet)
    if len(text) > limit:
        raise CannotCarryError(f"the new URI has {len(text)} characters; {limit} can be carried")
    return text


@lru_cache(maxsize=4096)
def _plain_end(host: str, port: int | None, params: Params) -> str:
    return f"{canonical_host(host)}{'' if port is None else f':{port}'}{params_text(params)}"


def _written(uri: SipUri, alphabet: Alphabet) -> str:
    if uri.password is not None:
        raise CannotCarryError("the new URI has a password, which does not belong into a routing file")
    user = "" if uri.user is None else _escape(uri.user, alphabet.user) + "@"
    port = "" if uri.port is None else f":{uri.port}"
    return f"{uri.scheme}:{user}{canonical_host(uri.host)}{port}{_params(uri, alphabet)}"


def _params(uri: SipUri, alphabet: Alphabet) -> str:
    kept: list[tuple[str, str | None]] = []
    for name, value in uri.params:
        canonical = param_name(name)
        if canonical in _DROPPED:
            continue
        if canonical in _ELSEWHERE:
            raise CannotCarryError(
                f"the parameter {canonical} of the new URI sends the call elsewhere than to its host"
            )
        if canonical == "transport":
            kept.append(("transport", _transport(uri)))
        else:
            kept.append((_escape(name, alphabet.params), value and _escape(value, alphabet.params)))
    return params_text(tuple(kept))


def _transport(uri: SipUri) -> str:
    transport = uri.transport or ""
    if transport not in TRANSPORTS:
        raise CannotCarryError(f"nothing can send by the transport {printable(transport, 40)}")
    return transport


def _escape(text: str, literal: frozenset[str]) -> str:
    if literal.issuperset(text):
        return text
    parts = _ESCAPED_BYTE.split(normalize_escapes(text))  # text, two hex digits, text, ...
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"%{part}"
        else:
            parts[i] = "".join(char if char in literal else f"%{ord(char):02X}" for char in part)
    return "".join(parts)


def _refuse_hidden_bytes(text: str) -> None:
    if "%" not in text:
        return
    for digits_ in _ESCAPED_BYTE.findall(text):
        byte = int(digits_, 16)
        if byte < 0x20 or byte == 0x7F:
            raise CannotCarryError(f"an escape in the URI stands for the control character %{digits_.upper()}")
        if byte > 0x7F:
            raise CannotCarryError(f"an escape in the URI stands for the non-ASCII byte %{digits_.upper()}")
