"""URIs by their grammar (RFC 3261 25.1, RFC 3966, RFC 4475)."""

import string

import pytest
import sipmessage
from hypothesis import given
from hypothesis import strategies as st

from redirectd.sip.uri import MAX_URI, OtherUri, SipUri, TelUri, UriError, parse_uri
from tests.sip.strategies import hostile_text, sip_uris

VALID = [
    "sip:a=b&c+d$e,f;g?h/i@127.0.0.1:20001",
    "sip:us'er:pa'(ss)*!@127.0.0.1:20001",
    "sip:j%40hn%3A%22q%22%25%7C%2c@127.0.0.1:20001",
    "sip:+15551230011@127.0.0.1:20001;transport=tcp;user=phone",
    "sip:new12@127.0.0.1:20001?Subject=x%20y&Priority=urgent",
    "sip:new14@[2001:db8::1]:5060",
    "sips:new15@secure.example.com",
    "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
    "sip:sips%3Auser%40example.com@example.net",
    "sip:null-%00-null@example.com",
    "sip:user;par=u%40example.net@example.com",
    "sip:alice:@example.com",
    "sip:example.com",
    "sip:localhost:5060;lr",
    "sip:example.com.;maddr=[::1]?a=&b=?",
    "tel:+1-555-123-0016;phone-context=example.com",
    "tel:7042;phone-context=example.com",
    "tel:*31#",
    "urn:service:sos.police",
    "mailto:help@example.com",
    "http://example.com/moved?to=1#x",
]

INVALID = [
    "",
    "alice",
    "*",
    ":x",
    "sip:",
    "sip:@example.com",
    "sip::pw@example.com",
    "sip:a@b@example.com",
    "sip:a b@example.com",
    " sip:a@example.com",
    "sip:a@example.com ",
    "sip:a@example.com\n",
    "sip:a\r\nVia: x@example.com",
    "sip:a\x00@example.com",
    "sip:é@example.com",
    "sip:\udce9@example.com",
    'sip:a"b|c\\\\d@127.0.0.1:20001',
    "sip:<a>@example.com",
    "sip:a%zz@example.com",
    "sip:a%4@example.com",
    "sip:a@example.com:",
    "sip:a@example.com:0",
    "sip:a@example.com:65536",
    "sip:a@example.com:99999999999999999999",
    "sip:a@example.com:\u0665\u0660",
    "sip:a@[::zz",
    "sip:a@[::zz]",
    "sip:a@[::1",
    "sip:a@[fe80::1%25eth0]",
    "sip:a@[192.0.2.1]",
    "sip:a@[::1]x",
    "sip:a@::1",
    "sip:a@1.2.3",
    "sip:a@1.2.3.256",
    "sip:a@192.000.2.1",
    "sip:a@under_score.example",
    "sip:a@-x.example",
    "sip:a@x-.example",
    "sip:a@x..example",
    "sip:a@.",
    "sip:a@" + "x" * 64 + ".example",
    "sip:a@" + "x." * 127 + "example",
    "sip:a@example.com;",
    "sip:a@example.com;;lr",
    "sip:a@example.com;lr=",
    "sip:a@example.com;=x",
    'sip:a@example.com;x="y"',
    "sip:a@example.com;transport=udp;Transport=tcp",
    "sip:a@example.com;transport",
    "sip:a@example.com;transport=a/b",
    "sip:a@example.com;transport=%0d",
    "sip:a@example.com?",
    "sip:a@example.com?subject",
    "sip:a@example.com?=x",
    "sip:a@example.com?a=b&",
    "sip:a@example.com?a=b@c",
    "sip:" + "a" * MAX_URI + "@example.com",
    "tel:",
    "tel:+",
    "tel:--",
    "tel:+1 555",
    "tel:+1555;",
    "tel:+1555;x_y=1",
    "mailto:",
    "http://example.com/a|b",
    "9p:x",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_uri_comes_back_as_written(text: str) -> None:
    """R14: URIs that real systems and RFC 4475 send are read and written without a change."""
    assert str(parse_uri(text)) == text


@pytest.mark.parametrize("text", INVALID)
def test_r14_grammar_forbids(text: str) -> None:
    """R14: what the URI grammar forbids is refused, with a reason that is safe to print."""
    with pytest.raises(UriError) as caught:
        parse_uri(text)
    assert caught.value.why
    assert caught.value.why.isprintable()


def test_parts() -> None:
    """Each part stands where it belongs; the user ends at the only raw '@', the password at it too."""
    uri = parse_uri("SIP:a;b?c:p=w@[2001:DB8::1]:5070;Transport=%54CP;lr;maddr=192.0.2.1?Subject=x?y&a=")
    assert uri == SipUri(
        "sip",
        "a;b?c",
        "p=w",
        "[2001:DB8::1]",
        5070,
        (("Transport", "%54CP"), ("lr", None), ("maddr", "192.0.2.1")),
        "Subject=x?y&a=",
    )
    assert uri.transport == "tcp"
    assert uri.has_param("LR")
    assert uri.param("lr") is None
    assert uri.param("MADDR") == "192.0.2.1"
    assert not uri.has_param("user")


def test_r16_without_drops_only_what_is_named() -> None:
    """R16: method and headers can be dropped; everything else stays as written."""
    uri = parse_uri("sip:a@example.com;x=1;Method=INVITE;user=phone?Route=%3Csip:b%3E")
    assert isinstance(uri, SipUri)
    assert str(uri.without({"method"}, headers=True)) == "sip:a@example.com;x=1;user=phone"
    assert str(uri.without({"method"}, headers=False)) == "sip:a@example.com;x=1;user=phone?Route=%3Csip:b%3E"
    assert uri.without((), headers=False) == uri


def test_tel_and_other_schemes() -> None:
    """R20: tel keeps its number and parameters; other schemes are told apart by their scheme."""
    tel = parse_uri("TEL:+1-555-(123).0016;Phone-Context=example.com")
    assert tel == TelUri("+1-555-(123).0016", (("Phone-Context", "example.com"),))
    assert tel.is_global
    assert tel.digits == "+15551230016"
    assert tel.param("phone-context") == "example.com"
    assert parse_uri("MAILTO:a@b.example") == OtherUri("mailto", "a@b.example")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("sip:x%0d%0ay%00z@127.0.0.1:20001", "user"),
        ("sip:x:%1b@example.com", "password"),
        ("sip:x@example.com;a=%0a", "parameters"),
        ("sip:x@example.com?body=%0D%0A", "headers"),
    ],
)
def test_r27_escaped_control_characters_are_told(text: str, part: str) -> None:
    """R27: a URI that unescapes to a line end or the like says so, and in which part."""
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    assert uri.forbidden_escapes is not None
    assert part in uri.forbidden_escapes


def test_ordinary_escapes_are_not_forbidden() -> None:
    """Escapes of printable characters are ordinary."""
    uri = parse_uri("sip:j%40hn%3A%22q%22%25%7C%2c@127.0.0.1;x=%20")
    assert isinstance(uri, SipUri)
    assert uri.forbidden_escapes is None


@given(hostile_text, st.sampled_from(["", "sip:", "sip:a@b;", "sip:a@b?", "sip:a@[", "tel:", "tel:+1;", "x:"]))
def test_any_text_is_a_uri_or_a_fault(text: str, prefix: str) -> None:
    """Whatever comes, the parser gives a URI of printable ASCII that reads back the same, or a UriError."""
    try:
        uri = parse_uri(prefix + text)
    except UriError as error:
        why = error.why
    else:
        why = ""
        written = str(uri)
        assert written.isascii()
        assert not set(written) & set(' "<>\\^`{|}')
        assert parse_uri(written) == uri
    assert why.isprintable()


@given(sip_uris())
def test_round_trip(text: str) -> None:
    """Every URI within the grammar is read, and written as it was."""
    assert str(parse_uri(text)) == text


@given(sip_uris())
def test_parts_agree_with_another_parser(text: str) -> None:
    """An independent parser takes a URI apart at the same places."""
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    bare = str(uri.without((), headers=True))
    try:
        other = sipmessage.URI.parse(bare)
    except ValueError:
        return  # it does not know every IPv6 form, nor an empty password
    assert (other.scheme, other.host, other.port) == (uri.scheme, uri.host, uri.port)
    assert (other.user is None, other.password is None) == (uri.user is None, uri.password is None)
    assert len(other.parameters) == len(uri.params)


@given(st.sampled_from(sorted(set(string.printable) - set(string.ascii_letters + string.digits))))
def test_user_characters_are_those_of_the_grammar(char: str) -> None:
    """RFC 3261 25.1: of the punctuation, mark and user-unreserved may stand raw in a user, and no other."""
    allowed = set("-_.!~*'()" + "&=+$,;?/") | {":"}  # the colon begins the password
    try:
        parse_uri(f"sip:a{char}b@example.com")
        taken = True
    except UriError:
        taken = False
    assert taken == (char in allowed)
