"""Moves that networks and phones really send, and what the rules make of each: tests/corpus/cases."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import Learnt, Refused, Verdict
from redirectd.dialects import framing
from redirectd.dialects.window import Window
from redirectd.review.holds import suspicion
from redirectd.sip.uri import SipUri, parse_uri
from tests.collect.logs import call, read, received, request, response, sent

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


PHONE = "sip:201@192.168.1.61:5060"


def registered(contact: str = f"<{PHONE}>;expires=3600", **more: str) -> bytes:
    """An accepted REGISTER as its registrar logs it."""
    names = {"method": "REGISTER", "call": "reg", "branch": "z9hG4bKregister"} | more
    asked = request("sip:pbx.test", to="<sip:201@pbx.test>", extra=(f"Contact: {contact}",), **names)  # type: ignore[arg-type]
    answer = response("200 OK", contact, to="<sip:201@pbx.test>;tag=r", **names)  # type: ignore[arg-type]
    return received(asked) + sent(answer)


def only(log: bytes) -> Learnt:
    """The one remap that a log gives."""
    (verdict,) = read(log).batch.verdicts.values()
    assert isinstance(verdict, Learnt)
    return verdict


def test_a_registered_contact_is_held() -> None:
    """R11: a phone's 301 for the contact it registered is held as `volatile`, naming the registration."""
    moved = call(response("301 Moved", "<sip:202@pbx.test>"), request(PHONE))
    case = (next(CASES.glob("L29a-*"))).read_bytes()
    for log in (registered() + moved, registered() + case, registered(f'"x" <{PHONE};transport=UDP>') + case * 2):
        if b"transport" in log:
            assert "volatile" not in only(log).flags, "another route key"
        else:
            assert only(log).flags["volatile"].endswith("registered contact of <sip:201@pbx.test>")
    assert "volatile" not in only(moved).flags
    assert "suspicious" in with_policy(only(case)), "held all the same"


def with_policy(learnt: Learnt) -> str:
    """Why the target is suspicious, with its name."""
    old, new = parse_uri(learnt.old_uri), parse_uri(learnt.candidates[0].uri)
    assert isinstance(old, SipUri)
    assert isinstance(new, SipUri)
    return f"suspicious: {suspicion(old, new, Policy())}" if suspicion(old, new, Policy()) else ""


@pytest.mark.parametrize(
    "before",
    [
        received(request("sip:pbx.test", method="REGISTER", extra=(f"Contact: <{PHONE}>",))),
        registered().replace(b"SIP/2.0 200", b"SIP/2.0 403"),
        registered() + registered(f"<{PHONE}>;expires=0", call="later"),
        received(response("200 OK", f"<{PHONE}>", method="REGISTER")),
        received(request("sip:pbx.test", method="INFO", extra=("X: y",)) + registered()),
        b"CSeq: 1 REGISTER\r\n" * 5000,
    ],
    ids=["asked", "refused", "over", "a stranger's 200", "within a message", "noise"],
)
def test_what_is_not_an_accepted_registration_holds_nothing(before: bytes) -> None:
    """R11, R38: only what a registrar answered with 200 and has not ended; text in a stranger's message is not that."""
    moved = call(response("301 Moved", "<sip:202@pbx.test>"), request(PHONE))
    assert "volatile" not in only(before + moved).flags


def test_a_ping_of_a_registered_phone_is_held() -> None:
    """R11, R12: what a qualify learns of a phone's own address moves no gateway unseen."""
    names = {"method": "OPTIONS", "call": "ping", "branch": "z9hG4bKoptions"}
    ping = call(response("301 Moved", "<sip:192.0.2.77>", **names), request("sip:192.168.1.61:5060", **names))  # type: ignore[arg-type]
    assert "volatile" in only(registered() + ping).flags


def test_many_registrations_are_found_by_few_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """R11: what a log's entries are is found once for all registrations of a stretch, not for each again."""
    walks: list[int] = []

    class Counted(framing.Walk[Any]):
        def __init__(self, window: Window, grammar: framing.Grammar[Any], low: int, *, final: bool) -> None:
            walks.append(low)
            super().__init__(window, grammar, low, final=final)

    monkeypatch.setattr(framing, "Walk", Counted)
    many = b"".join(registered(f"<sip:{user}@192.168.1.61>", call=f"reg{user}") for user in range(200))
    moved = call(response("301 Moved", "<sip:202@pbx.test>"), request("sip:7@192.168.1.61"))
    assert "volatile" in only(many + moved).flags
    assert len(walks) < 50
