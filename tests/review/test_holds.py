"""R12, R19, R21, R26 and R27: the holds that are worked out anew whenever a remap is looked at."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from redirectd.collect.policy import Policy
from redirectd.errors import RefusedError
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.review.holds import suspicion, with_holds
from redirectd.sip.uri import SipUri, parse_uri
from tests.review.remap_store import NOW, POLICY, RemapStore

OWN = replace(POLICY, own_domains=frozenset({"own.test", "*.own.test"}))
STRICT = replace(
    OWN,
    denied_domains=frozenset({"*.bad.test", "bad.test"}),
    denied_networks=(ip_network("198.51.100.0/24"), ip_network("45.0.0.0/8")),
    denied_prefixes=("+882", "+37127", "+39069"),
    region="DE",
)


def _sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


def suspected(new: str, policy: Policy = POLICY, old: str = "sip:+4930123456@gw.carrier.test") -> str | None:
    return suspicion(_sip(old), _sip(new), policy)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1",
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "192.0.2.1", "[::1]", "[::]", "[fe80::1]", "[ff02::1]",
        "[fd00::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:7f00:1]", "[2002:7f00:1::]", "[2002:a00:1::1]",
        "[64:ff9b::a00:1]", "[2001:db8::1]", "localhost", "LOCALHOST.", "x.localhost", "localhost.localdomain",
        "ip6-localhost",
    ],
)  # fmt: skip
def test_r27_places_that_are_not_public(host: str) -> None:
    """R27: loopback, unspecified, link-local, multicast, private and the like, in every disguise."""
    assert suspected(f"sip:4930123457@{host}")


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("169.254.1.1", "link-local"),
        ("[fe80::1]", "link-local"),
        ("239.1.2.3", "multicast"),
        ("10.1.2.3", "private"),
        ("[::ffff:127.0.0.1]", "loopback"),
    ],
)
def test_r27_the_reason_names_the_kind_of_address(host: str, kind: str) -> None:
    """R27: a person reads which kind of address it is, not merely that it is held: most of them are private as well."""
    assert f" is {kind} and not in allowed_target_networks" in (suspected(f"sip:a@{host}") or "")


def test_r27_shared_cost_counts_as_premium() -> None:
    """R27: 0180 in Germany costs the caller extra as 0900 does; allow_premium lets both pass."""
    for number in ("+491805123456", "+499001123456"):
        new = f"sip:{number}@place.test"
        assert suspected(new) == f"the number {number} is of a premium rate"
        assert suspected(new, replace(POLICY, allow_premium=True)) is None


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "[2606:4700::1]", "[::ffff:8.8.8.8]", "place.test", "localhost.test", "mylocalhost"]
)
def test_r27_public_places_are_not_suspicious(host: str) -> None:
    """R27: a public address or a name is nothing to hold."""
    assert suspected(f"sip:+4930123457@{host}") is None


@pytest.mark.parametrize("host", ["10.1.2.3", "[::ffff:10.1.2.3]", "[fd00::1]"])
def test_r27_what_is_allowed_is_allowed(host: str) -> None:
    """R27: allowed networks lift the hold, also for the same IPv4 address written as IPv6."""
    allowed = replace(POLICY, allowed_target_networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
    assert suspected(f"sip:4930123457@{host}", allowed) is None


@pytest.mark.parametrize(
    ("new", "word"),
    [
        ("sip:x@198.51.100.9", "denied network"),
        ("sip:x@[::ffff:45.1.2.3]", "denied network"),
        ("sip:x@[64:ff9b::2d01:203]", "denied network"),
        ("sip:x@sub.bad.test", "denied"),
        ("sip:x@BAD.test.", "denied"),
        ("sip:x@pbx.own.test", "own domains"),
        ("sip:+88213000@place.test", "denied prefix"),
        ("sip:0088213000@place.test", "denied prefix"),
        ("sip:+371-27-000-000@place.test", "denied prefix"),
        ("sip:%2B37127000000@place.test", "denied prefix"),
        ("sip:0039069123456@place.test", "denied prefix"),
        ("sip:+4990012345678@place.test", "premium"),
        ("sip:090012345678@place.test", "premium"),
        ("sip:+33123456789@place.test", "country +33"),
        ("sip:+33123456789;phone-context=+49@place.test;user=phone", "country +33"),
        ("sip:0033123456789@place.test", "country +33"),
    ],
)
def test_r27_denied_places_and_numbers(new: str, word: str) -> None:
    """R27: denied networks, domains and prefixes, own domains for foreign ones, premium and foreign numbers."""
    reason = suspected(new, STRICT)
    assert reason is not None
    assert word in reason


@pytest.mark.parametrize(
    ("new", "policy"),
    [
        ("sip:+4930654321@place.test", STRICT),
        ("sip:030654321@place.test", STRICT),
        ("sip:alice@place.test", STRICT),
        ("sip:12@place.test", STRICT),
        ("sip:+33123456789@place.test", replace(STRICT, allow_foreign=True)),
        ("sip:+4990012345678@place.test", replace(STRICT, allow_premium=True)),
        ("sip:alice@notbad.test", STRICT),
    ],
)
def test_r27_ordinary_targets(new: str, policy: Policy) -> None:
    """R27: numbers of the same country, names, and what the configuration lets pass are not suspicious."""
    assert suspected(new, policy) is None


def test_r27_an_own_domain_for_another_own_one_is_ordinary() -> None:
    """R27: moves within our own domains are no foreign answer."""
    assert suspected("sip:x@pbx.own.test", OWN, old="sip:x@own.test") is None


def test_r27_the_country_counts_without_a_region() -> None:
    """R27: with no region configured, numbers in international form still tell their country, by + or 00."""
    for new in ("sip:+37127000000@place.test", "sip:0037127000000@place.test"):
        assert "country +371" in (suspected(new) or "")


@pytest.mark.parametrize(
    ("peer", "is_held"),
    [
        ("192.0.2.10", False),
        ("::ffff:192.0.2.10", False),
        ("203.0.113.66", True),
        ("192.0.3.1", True),
        ("not an address", True),
    ],
)
def test_r26_untrusted_peers(store: RemapStore, peer: str, is_held: bool) -> None:
    """R26: a remap seen only from peers that are not trusted is held as untrusted; one trusted peer is enough."""
    found = store.sighted("sip:a@x.test", "sip:b@place.test", peer=peer)
    assert ("untrusted" in store.get(found.id).flags) is is_held
    store.sighted("sip:a@x.test", "sip:b@place.test", peer="192.0.2.99")
    assert "untrusted" not in store.get(found.id).flags


def test_r12_seen_for_messages_alone(store: RemapStore) -> None:
    """R12: a remap that no call has shown is held, and no more once one has."""
    found = store.sighted("sip:a@x.test", "sip:b@place.test", method="MESSAGE")
    assert set(store.get(found.id).flags) == {"method"}
    store.sighted("sip:a@x.test", "sip:b@place.test")
    assert store.get(found.id).flags == {}


def test_a_changed_policy_counts_at_once(store: RemapStore) -> None:
    """R26, R27: trust, denials and own domains are those of now, without reading any log again."""
    found = store.sighted("sip:a@x.test", "sip:b@place.test")
    for policy, flags in (
        (Policy(), {"untrusted"}),
        (POLICY, set[str]()),
        (replace(POLICY, denied_domains=frozenset({"place.test"})), {"suspicious"}),
        (replace(POLICY, own_domains=frozenset({"place.test"})), {"suspicious"}),
    ):
        assert set(with_holds(found, policy).flags) == flags


@pytest.mark.parametrize(
    ("new", "flag"),
    [("sip:b@place.test;maddr=198.51.100.7", "suspicious"), ("sip:b@place.test;rn=+1555", "routing-data")],
)
@pytest.mark.parametrize("clean_first", [True, False])
def test_r21_r27_holds_are_of_what_would_be_routed(store: RemapStore, new: str, flag: str, clean_first: bool) -> None:
    """R21, R27: a clean answer of the same route key takes no hold off a stored target that needs it."""
    order = ["sip:b@place.test", new] if clean_first else [new, "sip:b@place.test"]
    for target in order:
        found = store.sighted("sip:a@x.test", target)
    held = store.get(found.id)
    assert held.new_uri == order[0]
    if not clean_first:
        assert flag in held.flags


def _approve(store: RemapStore, number: int, **more: Any) -> None:
    with store.database.begin() as connection:
        decide.approve(connection, number, Decision(actor="eva", at=NOW, **more), store.policy)


@pytest.mark.parametrize("new", ["sip:b@127.0.0.1", "sip:b%0d%0a@place.test", "sip:b@place.test;maddr=1.2.3.4"])
def test_r27_needs_force_and_a_written_reason(store: RemapStore, new: str) -> None:
    """R27: nothing suspicious is approved without --force and a reason; blanks are no reason."""
    found = store.sighted("sip:a@x.test", new)
    for more in ({}, {"force": True}, {"reason": "sure"}, {"force": True, "reason": "  "}):
        with pytest.raises(RefusedError, match="suspicious") as refused:
            _approve(store, found.id, **more)
        assert refused.value.exit_code == 3
    _approve(store, found.id, force=True, reason="our own test host")


def test_r12_a_registrar_needs_force_too(store: RemapStore) -> None:
    """R12: what a 301 to REGISTER told is held, by a flag of that name, and approved on purpose only."""
    found = store.sighted("sip:x.test", "sip:place.test", method="REGISTER")
    assert list(store.get(found.id).flags) == ["registrar"]
    with pytest.raises(RefusedError, match="registrar"):
        _approve(store, found.id)


def test_r15_approving_an_ambiguous_one_asks_which(store: RemapStore) -> None:
    """R15: without --contact it is refused with the Contacts listed; the choice alone has to pass the holds."""
    found = store.sighted("sip:a@x.test", "sip:b@127.0.0.1", "sip:c@place.test")
    with pytest.raises(RefusedError, match=r"sip:c@place\.test"):
        _approve(store, found.id)
    with pytest.raises(RefusedError, match="loopback"):
        _approve(store, found.id, contact=1)
    _approve(store, found.id, contact=2)
    assert store.get(found.id).new_uri == "sip:c@place.test"
