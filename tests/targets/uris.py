"""URIs and routes for property tests: proper ones, and ones that no parser made."""

from __future__ import annotations

from hypothesis import strategies as st

from redirectd.plan.route import Route, RouteKind
from redirectd.sip.uri import SipUri, UriError, parse_uri

_LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
HOSTS = st.one_of(
    st.lists(_LABEL, min_size=1, max_size=3).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map("[{}]".format),
    st.just("EXAMPLE.Net."),
)
_ESCAPE = st.integers(0, 255).map("%{:02x}".format)
_USER_CHAR = st.one_of(st.sampled_from("abZ09-_.!~*'()&=+$,;?/"), _ESCAPE)
_PARAM_CHAR = st.one_of(st.sampled_from("abZ09-_.!~*'()[]/:&+$"), _ESCAPE)
USERS = st.lists(_USER_CHAR, min_size=1, max_size=12).map("".join)
_PARAMS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(["user", "lr", "transport", "maddr", "method", "x"])),
        st.one_of(
            st.none(), st.sampled_from(["tcp", "phone"]), st.lists(_PARAM_CHAR, min_size=1, max_size=6).map("".join)
        ),
    ),
    max_size=3,
    unique_by=lambda item: item[0],
).map(tuple)
PORTS = st.one_of(st.none(), st.integers(1, 65535))


def _grammatical(uri: SipUri) -> bool:
    try:
        return parse_uri(str(uri)) == uri
    except UriError:
        return False


PROPER = st.builds(
    SipUri, st.sampled_from(["sip", "sips"]), st.one_of(st.none(), USERS), st.none(), HOSTS, PORTS, _PARAMS, st.none()
).filter(_grammatical)
"""URIs that the parser accepts, with every character and escape the grammar has."""

_ANY = st.text(
    st.one_of(st.sampled_from("\n\r\t\0 ;,&${}[]\\:#\"'_%@/=()<>a1\ufeff\udcff"), st.characters()), max_size=12
)
HOSTILE = st.builds(
    SipUri,
    st.one_of(st.sampled_from(["sip", "sips", "tel"]), _ANY),
    st.one_of(st.none(), _ANY),
    st.one_of(st.none(), _ANY),
    st.one_of(HOSTS, _ANY),
    st.one_of(PORTS, st.integers(-5, 70000)),
    st.lists(st.tuples(_ANY, st.one_of(st.none(), _ANY)), max_size=2).map(tuple),
    st.one_of(st.none(), _ANY),
)
"""Anything a `SipUri` can hold, most of it no URI."""

URIS = st.one_of(PROPER, HOSTILE)


def route(number: int, old: SipUri | str, new: SipUri | str, kind: RouteKind = "user", **extra: object) -> Route:
    """Make a route; texts are parsed."""
    return Route((number,), kind, _uri(old), _uri(new), **extra)  # type: ignore[arg-type] # incoming, incoming_forked


def _uri(text: SipUri | str) -> SipUri:
    uri = parse_uri(text) if isinstance(text, str) else text
    assert isinstance(uri, SipUri)
    return uri


def routes(kind: RouteKind = "user") -> st.SearchStrategy[list[Route]]:
    """Give lists of routes, numbered from 1, of any URIs."""
    pairs = st.lists(st.tuples(URIS, URIS), max_size=6)
    return pairs.map(lambda found: [route(i, old, new, kind) for i, (old, new) in enumerate(found, 1)])
