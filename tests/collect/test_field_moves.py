"""Moves that networks and phones really send, and what the rules make of each: tests/corpus/cases."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import Learnt, Refused, Verdict
from redirectd.review.holds import suspicion
from redirectd.sip.uri import SipUri, parse_uri
from tests.collect.logs import call, read, request, response

CASES = Path(__file__).parent.parent / "corpus" / "cases"


def verdict_of(name: str, policy: Policy | None = None) -> Verdict:
    """The one verdict that a log gives."""
    (path,) = CASES.glob(f"{name}-*")
    (verdict,) = read(path.read_bytes(), policy=policy or Policy()).batch.verdicts.values()
    return verdict


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("L05f", {"suspicious", "ambiguous"}),
        ("L05h", {"suspicious"}),
        ("L05l", {"suspicious"}),
        ("L06d", {"suspicious", "downgrade"}),
        ("L17", {"suspicious"}),
        ("L25", {"downgrade"}),
    ],
)
def test_held_moves(name: str, flags: set[str]) -> None:
    """R17, R19, R42: another maddr is a move, and it, lost TLS, a missing user and 23 digits hold it."""
    verdict = verdict_of(name)
    assert isinstance(verdict, Learnt)
    assert flags <= set(verdict.flags)


@pytest.mark.parametrize("name", ["L18", "L19a", "L19b", "L29c", "L29d", "L37"])
def test_volatile_moves(name: str) -> None:
    """R11: masks, GRUUs, push contacts and NAT bindings are refused on either side."""
    verdict = verdict_of(name)
    assert isinstance(verdict, Refused)
    assert verdict.rule == "R11"


@pytest.mark.parametrize("name", ["L16a", "L17"])
def test_a_dip_is_no_move(name: str) -> None:
    """R43: a 301 of a peer in never_learn_from is counted and makes no remap."""
    learnt = verdict_of(name)
    assert isinstance(learnt, Learnt)
    assert learnt.answer.peer is not None
    dips = Policy(never_learn_from=(ip_network(learnt.answer.peer.address),))
    refused = verdict_of(name, dips)
    assert isinstance(refused, Refused)
    assert refused.rule == "R43"


def test_r17_the_same_uri_is_refused() -> None:
    """R17: by 19.1.4 alone; `user=phone` on one side makes another URI, a case of the host does not."""
    old = "sip:old@gw.test"
    same = read(call(response("301 Moved", "<sip:old@GW.test>"), request(old)))
    assert not same.remaps
    other = read(call(response("301 Moved", "<sip:old@gw.test;user=phone>"), request(old)))
    assert list(other.remaps) == [old]


def test_r42_an_emergency_number_is_suspicious() -> None:
    """R42: a number that moves to an emergency number is held, whatever way it is written."""
    for text in ("sip:112@gw.test", "sip:+1-12@gw.test", "sip:%3112;phone-context=de@gw.test", "sip:%2B112@gw.test"):
        old, new = parse_uri("sip:+4930111@gw.test"), parse_uri(text)
        assert isinstance(old, SipUri)
        assert isinstance(new, SipUri)
        assert suspicion(old, new, Policy()) == "the new URI is an emergency number"


@pytest.mark.parametrize("new", ["sip:T~%26R_1@sbc.test", "sip:new@place.test;%43tRt1=udp:a"])
def test_r11_escapes_hide_no_mask(new: str) -> None:
    """R11: a mask is one in any spelling of its characters."""
    found = read(call(response("301 Moved", f"<{new}>"), request("sip:old@gw.test")))
    (verdict,) = found.batch.verdicts.values()
    assert isinstance(verdict, Refused)
    assert verdict.rule == "R11"
