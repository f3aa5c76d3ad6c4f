"""URIs in SIP: sip and sips (RFC 3261 19.1, 25.1) with their hosts, tel (RFC 3966), and any other scheme.

The parser goes once over the text from left to right, each part is one run of one character class,
and what the grammar forbids is an error: a URI that was accepted holds printable ASCII only.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from redirectd.sip.text import UNRESERVED, control_escape, has_bad_escape, normalize_escapes, printable

MAX_HOST = 255
"""Longest host taken, in characters (RFC 1035)."""

_HOST_CHARS = re.compile(r"[A-Za-z0-9.\-]++")
_ALPHA = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@lru_cache(maxsize=4096)  # hosts are few, and each is met often
def host_fault(host: str) -> str | None:
    """Say why `host` is not a hostname, IPv4 address or bracketed IPv6 address; None if it is one."""
    if not host:
        return "there is no host"
    if len(host) > MAX_HOST:
        return f"the host is longer than {MAX_HOST} characters"
    if host[0] == "[":
        return None if ip_address(host) else "the host is not an IPv6 address"
    if not _HOST_CHARS.fullmatch(host):
        return "the host holds a character that no host name has"
    return _name_fault(host)


def _name_fault(host: str) -> str | None:
    labels = host.removesuffix(".").split(".")
    for label in labels:
        if not label or len(label) > 63 or label[0] == "-" or label[-1] == "-":
            return "the host has an empty, too long or hyphen-edged label"
    if labels[-1][0] not in _ALPHA and not ip_address(host):
        return "the host is neither a host name nor an IPv4 address"
    return None


def ip_address(host: str) -> IPv4Address | IPv6Address | None:
    """Read a host that is a dotted IPv4 address or a bracketed IPv6 address; None for names and faults.

    A zone (``%eth0``) is not in RFC 3261's grammar and makes it a fault.
    """
    try:
        if host[:1] != "[":
            return IPv4Address(host)
        if host[-1] == "]" and "%" not in host:
            return IPv6Address(host[1:-1])
    except AddressValueError:
        pass
    return None


@lru_cache(maxsize=4096)
def canonical_host(host: str) -> str:
    """Write a valid host in the form that equal hosts share.

    Lower case, one trailing dot dropped (DNS calls both the same name), IPv6 by RFC 5952 in brackets.
    An IPv4-mapped address is written ``[::ffff:192.0.2.1]`` (RFC 5952 section 5); `str` of such an
    address differs between Python versions.
    """
    if host[:1] != "[":
        return host.lower().removesuffix(".")
    address = ip_address(host)
    if not isinstance(address, IPv6Address):
        return host.lower()
    mapped = address.ipv4_mapped
    return f"[::ffff:{mapped}]" if mapped else f"[{address}]"


def in_domains(host: str, domains: frozenset[str]) -> bool:
    """Whether a lower-case host is one of `domains`, where `*.example.net` takes every name below it."""
    if host in domains:
        return True
    while "." in host:
        host = host.partition(".")[2]
        if f"*.{host}" in domains:
            return True
    return False


MAX_URI = 8192
"""Longest URI taken, in characters. Longer ones are a fault, not cut."""

Params = tuple[tuple[str, str | None], ...]
"""Parameters in the order and spelling they were written; the value is None where there is no ``=``."""

# Each class holds "%", which is checked apart: a run of one class cannot backtrack.
_USER = re.compile(f"[{UNRESERVED}%&=+$,;?/]++")
_PASSWORD = re.compile(f"[{UNRESERVED}%&=+$,]*+")
_PARAM = re.compile(rf"[{UNRESERVED}%\[\]/:&+$]++")
_HEADER = re.compile(rf"[{UNRESERVED}%\[\]/?:+$]*+")
_TRANSPORT = re.compile(r"[A-Za-z0-9\-.!*_+'~]++")  # a token, of what a URI may contain unescaped
_DIGITS = re.compile(r"[0-9]{1,5}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*+")
_GLOBAL_NUMBER = re.compile(r"\+[0-9\-.()]++")
_LOCAL_NUMBER = re.compile(r"[0-9A-Fa-f*#\-.()]++")
_TEL_PARAM_NAME = re.compile(r"[A-Za-z0-9\-]++")
_OTHER_REST = re.compile(rf"[{UNRESERVED}%:/?#\[\]@$&+,;=]++")


_LAST_READ = 64
"""URIs kept as they were read: what is made of one answer reads the same few again and again."""

_SHARED = 1024
"""Hosts and parameters kept, since they come again and again: a million URIs at one gateway share them in memory."""


class UriError(ValueError):
    """A text that is not a URI; `why` says what is wrong, in words that are safe to print."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class SipUri:
    """A sip or sips URI, its parts as they were written.

    `user` and `password` are still percent-escaped; `host` keeps its case and its IPv6 brackets;
    `headers` is the text behind ``?``. `==` compares spelling; equality as SIP means it is
    `redirectd.sip.compare.equal`. `parse_uri` checks the grammar, the constructor does not.
    """

    scheme: str
    user: str | None
    password: str | None
    host: str
    port: int | None
    params: Params = ()
    headers: str | None = None

    def __str__(self) -> str:
        text = f"{self.scheme}:"
        if self.user is not None:
            text += self.user if self.password is None else f"{self.user}:{self.password}"
            text += "@"
        text += self.host if self.port is None else f"{self.host}:{self.port}"
        text += params_text(self.params)
        return text if self.headers is None else f"{text}?{self.headers}"

    @property
    def transport(self) -> str | None:
        """The transport parameter, unescaped and in lower case; None where it is missing."""
        value = self.param("transport")
        return normalize_escapes(value).lower() if value is not None else None

    def param(self, name: str) -> str | None:
        """Give a parameter's value as written; None where it is missing or has no value."""
        return _find(self.params, name)

    def has_param(self, name: str) -> bool:
        """Say if a parameter is there, with or without a value."""
        return bool(self.params) and any(param_name(key) == name.lower() for key, _ in self.params)

    def without(self, params: Collection[str] = (), *, headers: bool = False) -> "SipUri":
        """Drop the named parameters, and with `headers` the headers too (8.1.3.4, R16)."""
        if not self.params and not (headers and self.headers is not None):
            return self
        unwanted = {name.lower() for name in params}
        kept = tuple(item for item in self.params if param_name(item[0]) not in unwanted)
        return replace(self, params=kept, headers=None if headers else self.headers)

    @property
    def forbidden_escapes(self) -> str | None:
        """Say which part has an escape of a control character (CR, LF, NUL, bidi override...), or None.

        Such a URI is within the grammar and yet a way to smuggle lines into whatever unescapes it (R27).
        """
        parts = [("user", self.user), ("password", self.password)]
        parts += [("parameters", params_text(self.params)), ("headers", self.headers)]
        for name, text in parts:
            found = control_escape(text) if text else None
            if found:
                return f"an escape in the {name} of the URI decodes to the control character {found}"
        return None


@dataclass(frozen=True, slots=True)
class TelUri:
    """A tel URI (RFC 3966): `number` with its visual separators as written, and the parameters.

    A local number without ``phone-context`` is taken too: RFC 3966 demands the context, phones omit it.
    """

    number: str
    params: Params = ()

    def __str__(self) -> str:
        return f"tel:{self.number}{params_text(self.params)}"

    @property
    def is_global(self) -> bool:
        """Say if the number starts with ``+``."""
        return self.number.startswith("+")

    @property
    def digits(self) -> str:
        """The number without visual separators, with its ``+`` if it has one."""
        return self.number.translate(VISUAL_SEPARATORS)

    def param(self, name: str) -> str | None:
        """Give a parameter's value as written; None where it is missing or has no value."""
        return _find(self.params, name)

    def has_param(self, name: str) -> bool:
        """Say if a parameter is there, with or without a value."""
        return any(param_name(key) == name.lower() for key, _ in self.params)


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of any other scheme (mailto, http, urn...): `scheme` in lower case, `rest` as written."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


Uri = SipUri | TelUri | OtherUri

VISUAL_SEPARATORS = str.maketrans("", "", "-.()")
"""For `str.translate`: removes RFC 3966's visual separators."""


@lru_cache(maxsize=_LAST_READ)
def parse_uri(text: str) -> Uri:
    """Read a URI that fills `text` wholly.

    Raises:
        UriError: the text is not a URI by the grammar of its scheme.
    """
    if len(text) > MAX_URI:
        raise UriError(f"the URI is longer than {MAX_URI} characters")
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise UriError("there is no scheme")
    _match(_SCHEME, scheme, "scheme")
    scheme = scheme.lower()
    if has_bad_escape(rest):
        raise UriError("a percent sign is not followed by two hex digits")
    if scheme in {"sip", "sips"}:
        return _parse_sip("sips" if scheme == "sips" else "sip", rest)
    if scheme == "tel":
        return _parse_tel(rest)
    _match(_OTHER_REST, rest, f"part behind {scheme}:")
    return OtherUri(scheme, rest)


def _parse_sip(scheme: str, rest: str) -> SipUri:
    # The grammar allows a raw "@" only after the userinfo, so the only one is the separator.
    userinfo, at, after = rest.partition("@")
    user, password = _parse_userinfo(userinfo) if at else (None, None)
    address, mark, headers = (after if at else rest).partition("?")
    hostport, semicolon, params = address.partition(";")
    host, port = _parse_hostport(hostport)
    return SipUri(
        scheme,
        user,
        password,
        host,
        port,
        _parse_sip_params(params) if semicolon else (),
        _checked_headers(headers) if mark else None,
    )


def _parse_userinfo(userinfo: str) -> tuple[str, str | None]:
    user, colon, password = userinfo.partition(":")
    _match(_USER, user, "user")
    if not colon:
        return user, None
    _match(_PASSWORD, password, "password")
    return user, password


@lru_cache(maxsize=_SHARED)
def _parse_hostport(hostport: str) -> tuple[str, int | None]:
    end = hostport.find("]") + 1 if hostport[:1] == "[" else 0
    host, colon, port = hostport[end:].partition(":")
    host = hostport[:end] + host
    fault = host_fault(host)
    if fault:
        raise UriError(fault)
    if not colon:
        return host, None
    if not _DIGITS.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise UriError("the port is not a number from 1 to 65535")
    return host, int(port)


@lru_cache(maxsize=_SHARED)
def _parse_sip_params(text: str) -> Params:
    params = _parse_params(text, _PARAM)
    for name, value in params:
        if param_name(name) == "transport" and not _TRANSPORT.fullmatch(normalize_escapes(value or "")):
            raise UriError("the transport parameter has no proper value")
    return params


def _parse_tel(rest: str) -> TelUri:
    number, semicolon, params = rest.partition(";")
    _match(_GLOBAL_NUMBER if number[:1] == "+" else _LOCAL_NUMBER, number, "number")
    if not number.translate(VISUAL_SEPARATORS).removeprefix("+"):
        raise UriError("the number has no digit")
    return TelUri(number, _parse_params(params, _TEL_PARAM_NAME) if semicolon else ())


def _parse_params(text: str, name_class: re.Pattern[str]) -> Params:
    params: list[tuple[str, str | None]] = []
    seen: set[str] = set()
    for item in text.split(";"):
        name, equals, value = item.partition("=")
        _match(name_class, name, "name of a parameter")
        if equals:
            _match(_PARAM, value, "value of a parameter")
        key = param_name(name)
        if key in seen:  # 19.1.1: once only; two would be read differently by different programs
            raise UriError(f"the parameter {printable(key, 40)} is given twice")
        seen.add(key)
        params.append((name, value if equals else None))
    return tuple(params)


def _checked_headers(text: str) -> str:
    for item in text.split("&"):
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise UriError("a header of the URI is not written as name=value")
        _match(_HEADER, name, "name of a header")
        _match(_HEADER, value, "value of a header")
    return text


def _match(pattern: re.Pattern[str], text: str, what: str) -> None:
    if pattern.fullmatch(text):
        return
    found = pattern.match(text)
    if found is None:
        held = f"starts with '{printable(text[:1], 12)}'" if text else "is empty"
        raise UriError(f"the {what} of the URI {held}")
    held = printable(text[found.end()], 12)
    raise UriError(f"the {what} of the URI holds '{held}', which is not allowed there")


def param_name(name: str) -> str:
    """Give a parameter name in the form it is compared by: escapes undone, lower case."""
    return normalize_escapes(name).lower()


def params_text(params: Params) -> str:
    """Write parameters as in a URI, each with its ``;``."""
    if not params:
        return ""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params)


def _find(params: Params, name: str) -> str | None:
    if not params:
        return None
    wanted = name.lower()
    for key, value in params:
        if param_name(key) == wanted:
            return value
    return None
