"""The URI that is written: the same meaning as the approved one, in the characters of the file's alphabet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.plan.target import CannotCarryError
from redirectd.sip.compare import equal
from redirectd.sip.text import unescape_percent
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.uritext import ASTERISK, KAMAILIO, MAX_WRITTEN, checked, write_uri
from tests.targets.uris import PROPER, URIS, _uri


@given(URIS)
def test_kamailio_gets_an_equal_uri_or_none(uri: SipUri) -> None:
    """R16: what is written is equal by 19.1.4 to the approved URI without method and headers, or it is refused."""
    try:
        text = write_uri(uri, KAMAILIO)
    except CannotCarryError:
        return
    assert equal(parse_uri(text), uri.without({"method"}, headers=True))
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set(' "#\\<>{}|`')


@given(URIS)
def test_asterisk_gets_only_inert_characters(uri: SipUri) -> None:
    """Nothing that the dialplan, Dial() or Return() reads is in the text, and unescaped it is the approved URI."""
    try:
        text = write_uri(uri, ASTERISK)
    except CannotCarryError:
        return
    assert not set(text) & set("$&,()'\"!?/<>{}|\\ #`")
    found = parse_uri(text)
    assert isinstance(found, SipUri)
    assert (found.scheme, found.port, found.transport) == (uri.scheme, uri.port, uri.transport)
    assert unescape_percent(found.user or "") == unescape_percent(uri.user or "")


@given(PROPER)
def test_writing_again_changes_nothing(uri: SipUri) -> None:
    """A written URI is a fixed point, so that a second plan finds nothing to change."""
    for alphabet in (KAMAILIO, ASTERISK):
        try:
            text = write_uri(uri, alphabet)
        except CannotCarryError:
            continue
        assert write_uri(_uri(text), alphabet) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sip:a:secret@h", "password"),
        ("sip:a@h;maddr=192.0.2.1", "maddr"),
        ("sip:a@h;ttl=3", "ttl"),
        ("sip:a@h;%74tl=3", "ttl"),
        ("sip:a@h;transport=smoke", "transport"),
        ("sip:a%0d%0aX:%20y@h", "control character %0D"),
        ("sip:a%00@h", "control character %00"),
        ("sip:a@h;x=%7F", "control character %7F"),
        ("sip:b%c3%bcro@h", "non-ASCII byte %C3"),
        ("sip:" + "9" * 1200 + "@h", f"{MAX_WRITTEN} can be carried"),
    ],
)
def test_what_is_refused_is_named(text: str, reason: str) -> None:
    """R16: each URI that could mean something else in routing is refused with its reason."""
    with pytest.raises(CannotCarryError, match=reason):
        write_uri(_uri(text), KAMAILIO)


@pytest.mark.parametrize(
    "uri",
    [
        SipUri("sip", "a@b", None, "h", None),
        SipUri("sip", "a", None, "h;x", None),
        SipUri("sip", "a", None, "h", None, (("x;y", "1"),)),
        SipUri("sip", "a\n", None, "h", None),
        SipUri("sip", "", None, "h", None),
        SipUri("tel", "1", None, "h", None),
        SipUri("sip", "a", None, "h", 0),
    ],
)
def test_parts_that_would_be_read_as_others_are_refused(uri: SipUri) -> None:
    """A `SipUri` that no parser made can't smuggle a separator from one part into another."""
    with pytest.raises(CannotCarryError):
        checked(uri)


def test_method_and_headers_are_never_written() -> None:
    """R16: `method` and headers are dropped; transport, port and user=phone are kept."""
    uri = _uri("SIP:Bob@EXAMPLE.net:5070;METHOD=REGISTER;Transport=TCP;user=phone?Subject=x")
    assert write_uri(uri, KAMAILIO) == "sip:Bob@example.net:5070;transport=tcp;user=phone"


@given(
    st.sampled_from(["sip", "sips", "tel"]),
    st.none() | st.text("ab9.+-_@:;%/?\\", max_size=4),
    st.sampled_from(["a.test", "[2001:db8::1]", "192.0.2.1", "a;b", "a@b", "-a", ""]),
    st.none() | st.integers(-1, 65537),
    st.sampled_from([(), (("transport", "tcp"),), (("user", "phone"),), (("transport", "a;b"),), (("x", None),)]),
)
def test_what_is_taken_as_plain_is_what_the_grammar_reads(
    scheme: str, user: str | None, host: str, port: int | None, params: tuple[tuple[str, str | None], ...]
) -> None:
    """A URI that `checked` lets pass reads back from its own text as the same parts, whatever they were."""
    uri = SipUri(scheme, user, None, host, port, params)
    try:
        checked(uri)
    except CannotCarryError:
        return
    assert parse_uri(str(uri)) == uri
