"""R13 to R28 as far as one answer decides them: the Contacts, lifetimes, and what is held or refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from redirectd.collect.policy import Policy
from redirectd.sip.uri import parse_uri
from tests.collect.logs import NOW, POLICY, Found, call, read, record, request, response

OLD = "sip:old@gw.test"
NEW = "<sip:new@place.test>"


def told(*contacts: str, old: str = OLD, policy: Policy = POLICY, extra: tuple[str, ...] = ()) -> Found:
    """One call to `old` that is answered with these Contact headers."""
    return read(call(response("301 Moved", *contacts, extra=extra), request(old)), policy)


def test_r13_no_contact_is_recorded_and_makes_nothing() -> None:
    """R13: a 301 without Contact is a sighting with its reason, and no remap; in dumps as in records."""
    for found in (told(), read(record())):
        assert (found.remaps, found.refused) == ({}, [("R13", OLD)])


@pytest.mark.parametrize(
    ("header", "new"),
    [
        ("m: <sip:new@place.test>", ["sip:new@place.test"]),
        ("Contact: <sip:new@place.test>\r\n ;q=0.5", ["sip:new@place.test"]),
        ('Contact: "Doe, John; \\"jr\\" <x>" <sip:new@place.test>', ["sip:new@place.test"]),
        ("Contact: sip:new@place.test;q=0.2;transport=tcp", ["sip:new@place.test"]),
        ("Contact: <sip:new@place.test;transport=tcp>", ["sip:new@place.test;transport=tcp"]),
        ("CONTACT : sip:new@[2001:db8::1]:5070", ["sip:new@[2001:db8::1]:5070"]),
    ],
)
def test_r14_contact_forms(header: str, new: list[str]) -> None:
    """R14: compact, folded, quoted, without brackets: the Contact is read by the grammar of 20.10."""
    assert told(extra=(header,)).remaps == {OLD: (new, set())}


@pytest.mark.parametrize("star", ["*", " * "])
def test_r14_star_names_no_target(star: str) -> None:
    """R14: `Contact: *` is refused."""
    assert told(star).refused == [("R14", OLD)]


def test_r14_a_sole_unreadable_contact_is_counted_as_unparsed() -> None:
    """R14: an unclosed `<` alone is a sighting that is unparsed, and makes nothing."""
    found = told("<sip:new@place.test")
    assert (found.refused, found.refusals[0].unparsed) == ([("R14", OLD)], True)


def test_r14_an_unreadable_contact_among_several_holds() -> None:
    """R14: one of two Contacts can't be read: held as malformed, with the readable one."""
    assert told(NEW, "<sip:br oken@place.test>").remaps == {OLD: (["sip:new@place.test"], {"malformed"})}


def test_r14_a_star_beside_a_contact_is_held() -> None:
    """R14: `*` stands alone by the grammar (20.10), so a Contact beside it is held as malformed."""
    assert told("*", NEW).remaps == {OLD: (["sip:new@place.test"], {"malformed"})}


def test_r14_what_the_record_says_was_unreadable_is_unparsed() -> None:
    """R14: a record that counts a Contact and could not write it is unparsed, not without Contact."""
    line = record(NEW).replace(b"ctlen=20 ct=%3Csip%3Anew%40place.test%3E", b"ctlen= ct=<null>")
    found = read(line)
    assert (found.refused, found.refusals[0].unparsed) == ([("R14", OLD)], True)


def test_r15_equal_contacts_collapse() -> None:
    """R15: Contacts that are equal by 19.1.4 are one."""
    assert told("<sip:new@PLACE.test>", "<sip:%6eew@place.test>").remaps == {OLD: (["sip:new@PLACE.test"], set())}


def test_r15_several_contacts_are_held_in_q_order() -> None:
    """R15: different Contacts are ambiguous, all of them shown by q, a missing q counting as 1.0."""
    found = told("<sip:c@x.test>;q=0.1, <sip:b@x.test>;q=0.7", "<sip:a@x.test>")
    assert found.remaps == {OLD: (["sip:a@x.test", "sip:b@x.test", "sip:c@x.test"], {"ambiguous"})}
    assert [one.q for one in found.learnt[0].candidates] == [1.0, 0.7, 0.1]


def test_r15_a_contact_that_cannot_be_routed_still_makes_it_ambiguous() -> None:
    """R15: a tel: beside a SIP Contact needs a choice, and the reason names what can't be routed."""
    found = told("<tel:+15551230011>", NEW)
    assert found.remaps == {OLD: (["sip:new@place.test"], {"ambiguous"})}
    assert "tel:" in found.learnt[0].flags["ambiguous"]


def test_r16_method_and_headers_are_dropped_and_shown() -> None:
    """R16: `method` and `?headers` go, the drop is shown, and the sighting keeps the original."""
    (learnt,) = told("<sip:new@place.test;method=INVITE;x=1?Route=%3Csip:evil.test%3E>").learnt
    (candidate,) = learnt.candidates
    assert candidate.uri == "sip:new@place.test;x=1"
    assert candidate.dropped == "method=INVITE ?Route=%3Csip:evil.test%3E"
    assert "method=INVITE?" not in candidate.uri
    assert "Route=" in learnt.answer.text


@pytest.mark.parametrize(
    "contact", ["<sip:old@gw.test>", "<sip:%6fld@GW.test>", "<sip:old@gw.test;lr?x=1>", "sip:old@gw.test"]
)
def test_r17_self_redirects_are_refused(contact: str) -> None:
    """R17: a Contact that is the old URI itself is refused."""
    assert told(contact).refused == [("R17", OLD)]


@pytest.mark.parametrize(
    "new", ["sip:old@gw.test:5070", "sip:old@gw.test;transport=tcp", "sip:OLD@gw.test", "sip:old2@gw.test"]
)
def test_r17_another_port_transport_or_user_is_no_self_redirect(new: str) -> None:
    """R17: the same host with another port, transport or user part is legitimate."""
    assert told(f"<{new}>").remaps == {OLD: ([new], set())}


SEEN = datetime(2026, 11, 22, 16, 26, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("contact", "header", "seconds"),
    [
        (";expires=60", "Expires: 3600", 60),
        ("", "Expires: 3600", 3600),
        (";expires=4294967295", "Expires: 0", 4294967295),
    ],
)
def test_r18_a_finite_lifetime_is_held_with_its_deadline(contact: str, header: str, seconds: int) -> None:
    """R18: the Contact's own expires beats the header; the deadline counts from when it was seen."""
    (learnt,) = told(NEW + contact, extra=(header,)).learnt
    assert set(learnt.flags) == {"expiring"}
    assert learnt.deadline(NOW) == SEEN + timedelta(seconds=seconds)


def test_r18_of_several_contacts_the_soonest_end_counts() -> None:
    """R18, R15: the deadline of several Contacts is that of the one that ends first, wherever it stands."""
    two = ("<sip:one@place.test>;expires=60, <sip:two@place.test>;expires=90", "<sip:two@place.test>;expires=60")
    for contacts in (two[0], f"{NEW};expires=90, {two[1]}"):
        (learnt,) = told(contacts).learnt
        assert learnt.deadline(NOW) == SEEN + timedelta(seconds=60)


def test_r18_a_log_without_times_counts_from_its_reading() -> None:
    """R18: where the log has no time the deadline counts from when it was read, and is never missing."""
    log = call(response("301 Moved", NEW + ";expires=60")).replace(b"[Nov 22 16:26:04]", b"[]")
    (learnt,) = read(log).learnt
    assert learnt.deadline(NOW) == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(("contact", "extra"), [(NEW + ";expires=0", ()), (NEW, ("Expires: 0",))])
def test_r18_a_zero_lifetime_is_refused(contact: str, extra: tuple[str, ...]) -> None:
    """R18: a lifetime of zero is over as soon as it is told."""
    assert told(contact, extra=extra).refused == [("R18", OLD)]


def test_r18_an_unreadable_lifetime_is_held() -> None:
    """R18: a lifetime that is not a number meant an end: held as expiring."""
    for found in (told(NEW + ";expires=soon"), told(NEW, extra=("Expires: Thu, 01 Dec 1994",))):
        assert found.remaps[OLD][1] == {"expiring"}


def test_r19_sips_to_sip_is_held() -> None:
    """R19: sips to sip is a downgrade; sip to sips and sips to sips are none."""
    assert told(NEW, old="sips:old@gw.test").remaps["sips:old@gw.test"][1] == {"downgrade"}
    assert told("<sips:new@place.test>", old="sips:old@gw.test").remaps["sips:old@gw.test"][1] == set()
    assert told("<sips:new@place.test>").remaps[OLD][1] == set()


@pytest.mark.parametrize(
    "target", ["tel:+15551230011", "mailto:x@y.test", "http://y.test/", "urn:service:sos", "xmpp:a@b.test"]
)
def test_r20_other_schemes_are_recorded_and_not_routed(target: str) -> None:
    """R20: targets that are no SIP URIs are refused with their reason."""
    assert told(f"<{target}>").refused == [("R20", OLD)]


@pytest.mark.parametrize(
    ("gateway", "new"),
    [
        ("gw.out.test", "sip:+15551230011@gw.out.test;user=phone"),
        ("gw.out.test:5070", "sip:+15551230011@gw.out.test:5070;user=phone"),
        ("[2001:db8::9]:5070", "sip:+15551230011@[2001:db8::9]:5070;user=phone"),
    ],
)
def test_r20_a_tel_target_goes_to_the_configured_gateway(gateway: str, new: str) -> None:
    """R20: with a gateway a tel: becomes a SIP URI there, its separators stripped."""
    found = told("<tel:+1-555-(123).0011>", policy=replace(POLICY, tel_gateway=gateway))
    assert found.remaps == {OLD: ([new], set())}


@pytest.mark.parametrize(
    ("tel", "new"),
    [
        ("tel:+1555;user=ip", "sip:+1555;user=ip@gw.test;user=phone"),
        ("tel:+1555;maddr=203.0.113.6;lr", "sip:+1555;maddr=203.0.113.6;lr@gw.test;user=phone"),
        ("tel:7-042;phone-context=a.test", "sip:7042;phone-context=a.test@gw.test;user=phone"),
        ("tel:+1-555;phone-context=a.test;ext=9", "sip:+1555;ext=9@gw.test;user=phone"),
        ("tel:*31#;isub=1:[2]", "sip:*31%23;isub=1%3A%5B2%5D@gw.test;user=phone"),
    ],
)
def test_r20_parameters_of_a_tel_target_stay_with_its_number(tel: str, new: str) -> None:
    """R20, 19.1.6: none of them becomes a parameter of the SIP URI, and what comes of it can be read again."""
    (found,) = told(f"<{tel}>", policy=replace(POLICY, tel_gateway="gw.test")).remaps.values()
    assert found == ([new], set())
    assert str(parse_uri(new)) == new


def test_r20_a_tel_target_too_long_for_a_sip_uri_is_refused() -> None:
    """R20: escapes and the gateway make it longer; what can't be read again must not get into the store."""
    found = told(f"<tel:1;isub={':' * 8000}>", policy=replace(POLICY, tel_gateway="gw.test"))
    assert (found.remaps, [rule for rule, _ in found.refused]) == ({}, ["R20"])


@pytest.mark.parametrize(
    "contact",
    [
        "<sip:+15551230011;rn=+15550000000;npdi@place.test;user=phone>",
        "<sip:+15551230011@place.test;cic=+1-222>",
        "<sip:+15551230011;tgrp=a;trunk-context=b.test@place.test>",
        "<sip:+15551230011@place.test;npdi>",
        "<sip:+15551230011@place.test;trunk-context=b.test>",
        "<sip:+15551230011@place.test;RN=1>",
    ],
)
def test_r21_routing_data_is_held(contact: str) -> None:
    """R21: number portability and trunk data, in the parameters or in the user part, hold."""
    assert told(contact).remaps[OLD][1] == {"routing-data"}


@pytest.mark.parametrize(
    "old",
    ["sip:112@gw.test", "sip:911@gw.test;user=phone", "sip:9-1-1@gw.test", "sip:%3911@gw.test", "sip:+112@gw.test",
     "tel:112", "urn:service:sos.police", "URN:SERVICE:sos", "sip:110;phone-context=+49@gw.test"],
)  # fmt: skip
def test_r22_emergency_is_never_remapped(old: str) -> None:
    """R22: emergency numbers, however they are written, and urn:service: are refused."""
    assert [rule for rule, _ in told(NEW, old=old).refused] == ["R22"]


def test_r22_the_list_is_the_configurations() -> None:
    """R22: what is not an emergency number by the configuration is remapped."""
    policy = replace(POLICY, emergency_numbers=frozenset({"42"}))
    assert "sip:112@gw.test" in told(NEW, old="sip:112@gw.test", policy=policy).remaps
    assert told(NEW, old="sip:42@gw.test", policy=policy).refused == [("R22", "sip:42@gw.test")]


@pytest.mark.parametrize(
    ("reason", "is_changed"),
    [
        ('Q.850;cause=22;text="number changed"', True),
        ('SIP;cause=301;text="a, b", Q.850 ;cause=22', True),
        ("Q.850;cause=16", False),
        ("SIP;cause=22", False),
    ],
)
def test_r23_number_changed_strengthens(reason: str, is_changed: bool) -> None:
    """R23: Q.850 cause 22 in a Reason header is kept as a fact."""
    (learnt,) = told(NEW, extra=(f"Reason: {reason}",)).learnt
    assert bool(learnt.facts) is is_changed


def test_r24_one_key_for_spellings_of_one_uri() -> None:
    """R24: the store's key leaves out user=phone and unknown parameters, undoes escapes, keeps port and transport."""
    same = ["sip:old@gw.test", "sip:%6fld@GW.TEST", "sip:old@gw.test;user=phone", "sip:old@gw.test;x=1"]
    other = ["sip:old@gw.test:5060", "sip:old@gw.test;transport=udp", "sip:Old@gw.test", "sips:old@gw.test"]
    keys = [told(NEW, old=old).learnt[0].old_key for old in same + other]
    assert len(set(keys[: len(same)])) == 1
    assert len(set(keys)) == 1 + len(other)


def test_r25_bytes_that_are_not_utf_8_stop_nothing() -> None:
    """R25: such bytes in a display name or a header change nothing; in a URI they are a fault, not a crash."""
    name = '"M\udcfcller" <sip:new@place.test>'
    assert told(name, extra=("X-Odd: \udcff\udcfe",)).remaps == {OLD: (["sip:new@place.test"], set())}
    assert [rule for rule, _ in told("<sip:m\udcfcller@place.test>").refused] == ["R14"]
    assert [rule for rule, _ in told(NEW, old="sip:m\udcfcller@gw.test").refused] == ["R25"]


def test_r27_escaped_control_characters_are_suspicious() -> None:
    """R27: CR, LF and NUL behind percent escapes hold as suspicious."""
    assert told("<sip:new%0d%0aX%00@place.test>").remaps[OLD][1] == {"suspicious"}


def test_r27_maddr_is_suspicious() -> None:
    """R27: maddr sends calls elsewhere than the URI shows."""
    assert told("<sip:new@place.test;maddr=198.51.100.7>").remaps[OLD][1] == {"suspicious"}


OURS = replace(POLICY, own_domains=frozenset({"own.test", "*.branch.test"}), gateways=("gw.test", "192.0.2.9:5070"))


@pytest.mark.parametrize(
    ("old", "is_ours"),
    [
        ("sip:a@own.test", True), ("sip:a@OWN.test.", True), ("sip:a@x.branch.test", True),
        ("sip:a@gw.test:5080", True),
        ("sip:a@192.0.2.9:5070", True), ("sip:a@192.0.2.9", False), ("sip:a@branch.test", False),
        ("sip:a@evilown.test", False), ("sip:a@own.test.evil.test", False),
    ],
)  # fmt: skip
def test_r28_old_uris_outside_are_recorded_only(old: str, is_ours: bool) -> None:
    """R28: with own domains or gateways configured, any other old URI is refused."""
    found = told(NEW, old=old, policy=OURS)
    assert (list(found.remaps), found.refused) == (([old], []) if is_ours else ([], [("R28", old)]))


def test_r28_gateways_alone_are_a_list_too() -> None:
    """R28: where only gateways are configured, what is none of them is recorded and not remapped."""
    policy = replace(POLICY, own_domains=frozenset(), gateways=OURS.gateways)
    assert told(NEW, old="sip:a@elsewhere.test", policy=policy).refused == [("R28", "sip:a@elsewhere.test")]
