"""asterisk-pjsip-aor in a database: which contacts it moves, and whose a change of them is."""

from __future__ import annotations

import re

import pytest

from redirectd.plan.route import Route
from redirectd.plan.target import TargetError
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.asterisk_aor_table import AsteriskAorTable, contacts_of
from redirectd.targets.sqltable import Row
from tests.peers.breakouts import breakouts

TARGET = AsteriskAorTable()
AORS: list[Row] = [
    ("gw1", "sip:192.0.2.1:5060"),
    ("gw2", "sip:carrier@192.0.2.1^3Btransport=udp,sip:192.0.2.9:5060"),
    ("empty", None),
    ("odd", "sip:192.0.2.1;transport=udp"),
    ("phone", "sip:192.0.2.7:5060"),
]


def _gateway(old: str, new: str) -> Route:
    uris = [parse_uri(text) for text in (old, new)]
    assert isinstance(uris[0], SipUri)
    assert isinstance(uris[1], SipUri)
    return Route((1,), "gateway", uris[0], uris[1])


MOVE = [_gateway("sip:192.0.2.1:5060", "sip:192.0.2.2:5070;transport=tcp")]
MOVED = {
    "gw1": "sip:192.0.2.2:5070^3Btransport=tcp",
    "gw2": "sip:carrier@192.0.2.2:5070^3Btransport=tcp,sip:192.0.2.9:5060",
    "phone": "sip:192.0.2.7:5060",
}


def _changed(contacts: dict[str, str]) -> list[Row]:
    return [(aor, contacts.get(str(aor), contact)) for aor, contact in AORS]


def test_only_the_gateway_in_the_contacts_moves() -> None:
    """`;` is ^3B, a second contact stays, a row that Asterisk would read as something else is left as it is."""
    base = TARGET.unmoved([], AORS)
    rendered = TARGET.render(MOVE, base)
    assert contacts_of(rendered.content) == MOVED
    assert b"left as it is" in rendered.content
    assert rendered.entries["gw2/2"] == "sip:192.0.2.9:5060"
    records = TARGET.rows(rendered.content)
    assert [row[0] for row in records] == ["__gen__", "gw1", "gw2"]
    assert TARGET.text(records, _changed(MOVED)) == rendered.content
    assert TARGET.is_own(rendered.content)
    assert TARGET.unmoved(records, _changed(MOVED)) == base
    with pytest.raises(TargetError):
        TARGET.render(MOVE, None)


def test_a_moved_contact_that_a_person_changed_is_seen() -> None:
    """Changed by hand: not redirectd's any more, and his contact is the base; other rows are his, and any are right."""
    rendered = TARGET.render(MOVE, TARGET.unmoved([], AORS))
    records = TARGET.rows(rendered.content)
    edited = _changed(MOVED | {"gw1": "sip:192.0.2.55:5060"})
    text = TARGET.text(records, edited)
    assert text is not None
    assert not TARGET.is_own(text)
    assert contacts_of(TARGET.unmoved(records, edited) or b"")["gw1"] == "sip:192.0.2.55:5060"
    own = TARGET.text(records, _changed(MOVED | {"phone": "sip:192.0.2.8:5060"}))
    assert own is not None
    assert TARGET.is_own(own)
    stray = TARGET.text([*records, ("gw9", "sip:a", "sip:b")], _changed(MOVED))
    assert stray is not None
    assert not TARGET.is_own(stray)


def test_a_generation_comes_back_over_the_rows_of_now() -> None:
    """The operator's later rows stay; of his own change of a moved gateway nothing is undone."""
    rendered = TARGET.render(MOVE, TARGET.unmoved([], AORS))
    now = _changed({"phone": "sip:192.0.2.8:5060", "gw2": "sip:192.0.2.3:5060"})
    again = TARGET.rebased(rendered.content, TARGET.unmoved([], now))
    assert contacts_of(again) == {
        "gw1": MOVED["gw1"],
        "gw2": "sip:192.0.2.3:5060",
        "phone": "sip:192.0.2.8:5060",
    }
    assert [row[0] for row in TARGET.rows(again)] == ["__gen__", "gw1"]
    assert TARGET.text(TARGET.rows(again), [(aor, contact) for aor, contact in contacts_of(again).items()]) == (
        again.replace(b"".join(line + b"\n" for line in again.split(b"\n") if b"left as it is" in line), b"")
    )


def test_what_does_not_fit_the_column_is_refused() -> None:
    """A contact of over 255 characters would be cut by a lax MariaDB: the plan says so before anything is written."""
    aors = [("gw1", ",".join(["sip:192.0.2.1:5060"] * 13))]
    with pytest.raises(TargetError, match="longer than 255"):
        TARGET.render(MOVE, TARGET.unmoved([], aors))


def test_r16_no_breakout_ends_a_contact() -> None:
    """R16: whatever a new gateway is called, its contact is one value of realtime, `;` as ^3B and no other escape."""
    table = breakouts("gateway")
    olds = sorted({str(item.route.old) for item in table if item.route.old.host == "192.0.2.1"})
    aors: list[Row] = [(f"a{number}", uri) for number, uri in enumerate(olds)]
    rendered = TARGET.render([item.route for item in table], TARGET.unmoved([], aors))
    written = contacts_of(rendered.content)
    assert len(written) == len(olds)
    moved = {aor: contact for aor, contact in written.items() if contact not in olds}
    assert len(moved) > 20
    for contact in moved.values():
        assert re.fullmatch(r"[A-Za-z0-9:@.%\[\]+*#~_=\-!$&'()/?]+(\^3B[A-Za-z0-9.%=\-_~+*#]+)*", contact), contact
    assert TARGET.parse(rendered.content) == rendered.entries


@pytest.mark.parametrize(
    "old", ["sip:\xfc.test", "sip:o.test; x y", "sip:o.test\n[evil]\ntype = aor\ncontact = sip:e.test"]
)
def test_odd_rows_among_redirectds_own_are_seen(old: str) -> None:
    """Whatever somebody wrote into redirectd's table, its text is a change by hand, and no section or error of it."""
    target = AsteriskAorTable()
    text = target.text([("gw", old, "sip:a.test")], [("gw", "sip:a.test")])
    assert text is not None
    assert not target.is_own(text)
    assert target.parse(text) == {"gw/1": "sip:a.test"}
    assert all(len(row) == 3 for row in target.rows(text))
    assert target.rebased(text, b"[gw]\ntype = aor\ncontact = sip:a.test\n").endswith(b"contact = sip:a.test\n")
