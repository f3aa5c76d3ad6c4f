"""The key that the Python script of `snippet --kemi` makes is that of the table (R41)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import resources
from types import ModuleType

import pytest

from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.kamailio_key import asked_key


@pytest.fixture
def key_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """The script's function, loaded as Kamailio would, without a Kamailio."""
    monkeypatch.setitem(sys.modules, "KSR", ModuleType("KSR"))
    text = (resources.files("redirectd.cli.snippets") / "kamailio_kemi.python").read_text()
    names: dict[str, object] = {}
    exec(compile(text.replace("@LOOKUPS@", ""), "redirectd_kemi.py", "exec"), names)
    found = names["key_of"]
    assert callable(found)
    return found


@pytest.mark.parametrize(
    "uri",
    [
        "sip:alice@h.test",
        "SIP:Alice@H.Test:6003",
        "sips:alice@h.test;transport=TLS",
        "sip:h.test",
        "sip:h.test:5070;lr",
        "sip:al%69ce@h.test.",
        "sip:a%2bb%2C@h.test",
        "sip:alice:secret@h.test;user=phone;transport=tcp",
        "sip:+49301;phone-context=x@h.test;user=phone",
        "sip:alice@[2001:db8::1]:5060;transport=udp",
        "sip:alice@192.0.2.1?Subject=x",
    ],
)
def test_the_key_is_that_of_the_table(key_of: Callable[[str], object], uri: str) -> None:
    """R41: no spelling that Kamailio takes makes another key than the one that is written."""
    parsed = parse_uri(uri)
    assert isinstance(parsed, SipUri)
    assert key_of(uri) == asked_key(parsed, uri)


@pytest.mark.parametrize(
    "uri",
    [
        "tel:+49301",
        "sip:a%4@h",
        "sip:a@h;transport=",
        "sip:a@h;%74ransport=tls",
        "sip:a@h;transport=udp;transport=tcp",
        "x",
    ],
)
def test_what_has_no_key(key_of: Callable[[str], object], uri: str) -> None:
    """What Kamailio and the table could read differently is looked up by no key."""
    assert key_of(uri) is None
