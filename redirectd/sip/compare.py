"""When two URIs are the same: RFC 3261 19.1.4 for sip and sips, RFC 3966 for tel (R24).

The relation is not transitive (an unknown parameter in one URI only is ignored), so it can key nothing;
see `redirectd.sip.routekey` for what can.
"""

from redirectd.sip.host import canonical_host
from redirectd.sip.text import normalize_escapes
from redirectd.sip.uri import VISUAL_SEPARATORS, OtherUri, SipUri, TelUri, Uri, param_name

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
