"""Equality of URIs (R24) and the route key."""

from itertools import combinations, product

import pytest
from hypothesis import assume, given

from redirectd.sip.compare import RouteKey, equal, route_key
from redirectd.sip.uri import SipUri, parse_uri
from tests.sip.strategies import plain_sip_uris, sip_uris

# RFC 3261 19.1.4's own examples.
EQUAL = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    # by its rules
    ("sip:a@[2001:DB8:0:0:0:0:0:1]", "sip:a@[2001:db8::1]"),
    ("sip:a@[::ffff:192.0.2.1]", "sip:a@[::FFFF:C000:0201]"),
    ("sip:a%2b@h.example", "sip:a%2B@h.example"),
    ("sip:a@h.example;x=%41", "sip:a@h.example;X=a"),
    ("sip:a@h.example.", "sip:a@h.example"),
    ("sip:a@h.example;maddr=[::0:1]", "sip:a@h.example;maddr=[::1]"),
    ("mailto:a@b.example", "MAILTO:a@b.example"),
    # RFC 3966 section 4
    ("tel:+1-555-123-0016", "tel:+1.555.(123).0016"),
    ("tel:+358-555-1234567;ext=1-2;isub=3", "tel:+3585551234567;isub=3;ext=12"),
    ("tel:7042;phone-context=+1-914", "tel:70-42;phone-context=+1914"),
    ("tel:7042;phone-context=Example.COM", "tel:7042;Phone-Context=example.com"),
    ("tel:ab*;phone-context=a.example", "tel:AB*;phone-context=a.example"),
]

UNEQUAL = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    # by its rules
    ("sip:a@h.example", "sips:a@h.example"),
    ("sip:h.example", "sip:a@h.example"),
    ("sip:a@h.example", "sip:a:@h.example"),
    ("sip:a:p@h.example", "sip:a:P@h.example"),
    ("sip:a+b@h.example", "sip:a%2Bb@h.example"),
    ("sip:a@h.example", "sip:a@h.example;user=ip"),
    ("sip:a@h.example", "sip:a@h.example;ttl=1"),
    ("sip:a@h.example", "sip:a@h.example;method=INVITE"),
    ("sip:a@h.example", "sip:a@h.example;maddr=h.example"),
    ("sip:a@h.example;lr", "sip:a@h.example;lr=on"),
    ("sip:a@h.example?x=1", "sip:a@h.example?x=1&x=1"),
    ("sip:+1555@h.example;user=phone", "sip:+1-555@h.example;user=phone"),
    ("sip:+1555@h.example", "tel:+1555"),
    ("tel:+1555", "tel:1555"),
    ("tel:+1555", "tel:+1555;ext=1"),
    ("tel:7042;phone-context=a.example", "tel:7042;phone-context=b.example"),
    ("mailto:a@b.example", "mailto:A@b.example"),
]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_r24_equal(a: str, b: str) -> None:
    """R24: pairs that RFC 3261 19.1.4 and RFC 3966 call equivalent are, both ways round."""
    assert equal(parse_uri(a), parse_uri(b))
    assert equal(parse_uri(b), parse_uri(a))


@pytest.mark.parametrize(("a", "b"), UNEQUAL)
def test_r24_unequal(a: str, b: str) -> None:
    """R24: pairs that RFC 3261 19.1.4 and RFC 3966 call different are, both ways round."""
    assert not equal(parse_uri(a), parse_uri(b))
    assert not equal(parse_uri(b), parse_uri(a))


@given(sip_uris(), sip_uris())
def test_r24_reflexive_and_symmetric(a: str, b: str) -> None:
    """R24: a URI equals itself, and the order of a comparison means nothing."""
    assert equal(parse_uri(a), parse_uri(a))
    assert equal(parse_uri(a), parse_uri(b)) == equal(parse_uri(b), parse_uri(a))


def _key(text: str) -> RouteKey:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return route_key(uri)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sip:%61lice%2b@AtLanTa.CoM.;Transport=TCP;lr", "sip:alice%2B@atlanta.com;transport=tcp"),
        ("sips:Alice@[2001:DB8:0:0::1]:5061", "sips:Alice@[2001:db8::1]:5061"),
        ("sip:a@[::FFFF:C000:0201]", "sip:a@[::ffff:192.0.2.1]"),
        ("sip:a:secret@h.example?x=1", "sip:a@h.example"),
        ("sip:+1555@gw.example;user=phone;maddr=192.0.2.1", "sip:+1555@gw.example"),
        ("sip:gw.example:5060", "sip:gw.example:5060"),
    ],
)
def test_r24_route_key(text: str, key: str) -> None:
    """R24: the key has the canonical parts that routing matches on and nothing else, no password either."""
    assert str(_key(text)) == key


@given(sip_uris())
def test_r24_route_key_is_idempotent(text: str) -> None:
    """R24: the key of a key's own URI is that key."""
    key = _key(text)
    assert _key(str(key)) == key


@given(plain_sip_uris())
def test_r24_same_key_means_equal(text: str) -> None:
    """R24: a URI without what the key leaves out equals, by 19.1.4, the URI of its key."""
    assert equal(parse_uri(text), parse_uri(str(_key(text))))


def test_r24_equal_means_same_key() -> None:
    """R24: without what the key leaves out, equality and the key say the same of any two URIs."""
    users = ["", "a@", "A@", "%61@", "a%2b@", "a%2B@", "a+@"]
    hosts = ["h.example", "H.Example.", "[::1]", "[0:0::1]", "192.0.2.1"]
    ends = ["", ":5060", ";transport=udp", ";Transport=%55DP", ":5060;transport=udp"]
    uris = [parse_uri(f"sip:{user}{host}{end}") for user, host, end in product(users, hosts, ends)]
    keys = [route_key(uri) for uri in uris if isinstance(uri, SipUri)]
    assert len(set(keys)) == 5 * 3 * 4
    for (a, key_a), (b, key_b) in combinations(zip(uris, keys, strict=True), 2):
        assert equal(a, b) == (key_a == key_b), (str(a), str(b))


@given(sip_uris(), sip_uris())
def test_r24_keys_are_ordered(a: str, b: str) -> None:
    """R24: keys sort totally, with or without a user, a port and a transport."""
    one, two = _key(a), _key(b)
    assume(one != two)
    assert (one < two) != (two < one)
