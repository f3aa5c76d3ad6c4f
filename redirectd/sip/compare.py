"""When two URIs are the same: RFC 3261 19.1.4 for sip and sips, RFC 3966 for tel (R24), and the route key.

The relation is not transitive (an unknown parameter in one URI only is ignored), so it can key nothing; the
route key can: the part of a SIP URI that routing matches on, and the store's key.
"""

from typing import NamedTuple

from redirectd.sip.text import normalize_escapes
from redirectd.sip.uri import VISUAL_SEPARATORS, OtherUri, SipUri, TelUri, Uri, canonical_host, param_name, params_text

_NEVER_IGNORED = frozenset({"user", "ttl", "method", "maddr", "transport"})
"""URI parameters that, standing in one URI only, make the two differ."""


def equal(a: Uri, b: Uri) -> bool:
    """Say if two URIs are equivalent.

    Beyond the letter of 19.1.4, a host name with and without its trailing dot is one name, and IPv6
    addresses compare by value (RFC 5954 section 4.1). Other schemes compare by their text.
    """
    if isinstance(a, SipUri) and isinstance(b, SipUri):
        return _equal_sip(a, b)
    if isinstance(a, TelUri) and isinstance(b, TelUri):
        return _equal_tel(a, b)
    return isinstance(a, OtherUri) and a == b


def _equal_sip(a: SipUri, b: SipUri) -> bool:
    return (
        a.scheme == b.scheme
        and a.port == b.port
        and canonical_host(a.host) == canonical_host(b.host)
        and _escaped(a.user) == _escaped(b.user)
        and _escaped(a.password) == _escaped(b.password)
        and _equal_params(_params(a), _params(b))
        and _headers(a.headers) == _headers(b.headers)
    )


def _escaped(text: str | None) -> str | None:
    return None if text is None else normalize_escapes(text)


def _params(uri: SipUri | TelUri) -> dict[str, str | None]:
    return {param_name(name): None if value is None else normalize_escapes(value).lower() for name, value in uri.params}


def _equal_params(a: dict[str, str | None], b: dict[str, str | None]) -> bool:
    in_one_only = a.keys() ^ b.keys()
    if in_one_only & _NEVER_IGNORED:
        return False
    return all(_equal_value(name, a[name], b[name]) for name in a.keys() & b.keys())


def _equal_value(name: str, a: str | None, b: str | None) -> bool:
    if name == "maddr" and a is not None and b is not None:
        return canonical_host(a) == canonical_host(b)
    return a == b


def _headers(text: str | None) -> list[tuple[str, str]]:
    """Headers are never ignored and their order means nothing; a body alone is compared by case."""
    if text is None:
        return []
    pairs = []
    for item in text.split("&"):
        name, _, value = item.partition("=")
        key = normalize_escapes(name).lower()
        value = normalize_escapes(value)
        pairs.append((key, value if key == "body" else value.lower()))
    return sorted(pairs)


def _equal_tel(a: TelUri, b: TelUri) -> bool:
    return a.digits.lower() == b.digits.lower() and _tel_params(a) == _tel_params(b)


def _tel_params(uri: TelUri) -> dict[str, str | None]:
    params = _params(uri)
    extension = params.get("ext")
    if extension:
        params["ext"] = extension.translate(VISUAL_SEPARATORS)
    context = params.get("phone-context")
    if context:
        number = context.startswith("+")
        params["phone-context"] = context.translate(VISUAL_SEPARATORS) if number else canonical_host(context)
    return params


class RouteKey(NamedTuple):
    """Scheme, user, host, port and transport of a SIP URI in canonical form; an equivalence, unlike 19.1.4.

    `user` has its unreserved escapes undone, the others in upper case, and keeps its case; `host` is
    lower case, IPv6 by RFC 5952 in brackets, without a trailing dot; `port` and `transport` (lower case) are
    None where the URI does not name them: no default is filled in.

    Left out are all other parameters (``user=phone``, ``maddr`` and unknown ones), the headers, and the
    password: 19.1.4 counts the password as identity, but it is deprecated (19.1.1), no routing matches on it,
    and a key goes into files and logs where a password must not be. URIs that differ in it share a key.

    Keys sort by host, then user, so that a gateway's remaps are together in a list.
    """

    scheme: str
    user: str | None
    host: str
    port: int | None = None
    transport: str | None = None

    def __str__(self) -> str:
        """Write the key as a SIP URI; `route_key` of that URI is this key again."""
        at = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        transport = "" if self.transport is None else f";transport={self.transport}"
        return f"{self.scheme}:{at}{self.host}{port}{transport}"

    def __lt__(self, other: tuple[object, ...]) -> bool:
        return self._order < other._order if isinstance(other, RouteKey) else NotImplemented

    def __le__(self, other: tuple[object, ...]) -> bool:
        return self._order <= other._order if isinstance(other, RouteKey) else NotImplemented

    def __gt__(self, other: tuple[object, ...]) -> bool:
        return self._order > other._order if isinstance(other, RouteKey) else NotImplemented

    def __ge__(self, other: tuple[object, ...]) -> bool:
        return self._order >= other._order if isinstance(other, RouteKey) else NotImplemented

    @property
    def without_user(self) -> "RouteKey":
        """The key of the host, port and transport alone."""
        return self if self.user is None else self._replace(user=None)

    @property
    def uri(self) -> SipUri:
        """The key as a URI."""
        params = () if self.transport is None else (("transport", self.transport),)
        return SipUri(self.scheme, self.user, None, self.host, self.port, params)

    @property
    def _order(self) -> tuple[str, bool, str, int, str, str]:
        user = self.user
        return self.host, user is not None, user or "", self.port or 0, self.transport or "", self.scheme


def route_key(uri: SipUri) -> RouteKey:
    """Give the key of a URI that `redirectd.sip.uri.parse_uri` accepted."""
    return RouteKey(
        uri.scheme,
        None if uri.user is None else normalize_escapes(uri.user),
        canonical_host(uri.host),
        uri.port,
        uri.transport if uri.params else None,
    )


Piece = tuple[str, bool]


def pieces(uri: SipUri, other: SipUri) -> list[Piece]:
    """The parts of a URI, each with whether it differs from the same part of `other`."""
    user = "" if uri.user is None else f"{uri.user}{'' if uri.password is None else ':' + uri.password}"
    same_user = normalize_escapes(uri.user or "") == normalize_escapes(other.user or "")
    found = [(f"{uri.scheme}:", uri.scheme != other.scheme)]
    if uri.user is not None:
        found += [(user, not same_user or uri.password != other.password), ("@", other.user is None)]
    found.append((uri.host, canonical_host(uri.host) != canonical_host(other.host)))
    if uri.port is not None:
        found.append((f":{uri.port}", uri.port != other.port))
    theirs = {(name.lower(), value) for name, value in other.params}
    found += [(params_text(((name, value),)), (name.lower(), value) not in theirs) for name, value in uri.params]
    if uri.headers is not None:
        found.append((f"?{uri.headers}", uri.headers != other.headers))
    return found
