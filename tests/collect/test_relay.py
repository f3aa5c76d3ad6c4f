"""R8 where a log shows an answer on several hops of its way: the received copy is the authority."""

from __future__ import annotations

from itertools import permutations
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect.answer import Answer, from_messages
from redirectd.collect.relay import Relays, copy_of
from redirectd.dialects.frame import Direction, Frame, Peer
from redirectd.dialects.hep_encode import encode_hep
from redirectd.sip.message import Request, Response, parse_message
from tests.collect.logs import read, request, response
from tests.collect.test_short_way import outcome

A, B, C = (Peer("udp", f"192.0.2.{number}", 5060) for number in (1, 2, 3))
NEW = "<sip:new@place.test>"
OWN, CALLERS = "z9hG4bK1.aa.0", "z9hG4bKcaller001"


def hep(message: bytes, source: Peer, target: Peer) -> bytes:
    """A HEP datagram behind its length, as captures keep them."""
    frame = Frame(start=0, end=0, payload=message, dialect="hep", peer=source, local=target, stamp="1795364763.5")
    return encode_hep(frame)


def hops(source_port: int = 5060) -> dict[str, bytes]:
    """A call C -> B -> A that A answers 301: four messages, B relaying from `source_port`."""
    relaying = Peer("udp", B.address, source_port)
    return {
        "C asks B": hep(request("sip:x@lab.test", branch=CALLERS), C, B),
        "B asks A": hep(request("sip:x@gw.test", branch=OWN), B, A),
        "A answers B": hep(response("301 Moved", NEW, branch=OWN, further_vias=[CALLERS]), A, B),
        "B answers C": hep(response("301 Moved", NEW, branch=CALLERS), relaying, C),
    }


@pytest.mark.parametrize("port", [5060, 43210])
def test_r8_the_relayed_copy_is_no_sighting_in_any_order(port: int) -> None:
    """R8: in every order of the four messages, and from another port, only the URI that A was asked for has moved."""
    for order in permutations(hops(port).values()):
        assert list(read(b"".join(order)).remaps) == ["sip:x@gw.test"]


def test_r8_a_relayed_copy_that_was_read_before_is_taken_back() -> None:
    """R8: the batch names what a relayed copy had been counted as, so that the database takes it back."""
    told = hops()
    found = read(told["C asks B"] + told["B asks A"] + told["B answers C"] + told["A answers B"])
    relayed = read(told["C asks B"] + told["B answers C"]).learnt[0]
    assert found.batch.retracted == {relayed.answer.move_key}


def test_r8_every_hop_of_a_chain_of_proxies_counts_as_one() -> None:
    """R8: A -> P2 -> P1 -> C in one capture: only the copy nearest to the answering side counts."""
    p1, p2 = B, Peer("udp", "192.0.2.20", 5060)
    first, second = "z9hG4bK1.aa.0", "z9hG4bK1.bb.0"
    log = hep(request("sip:x@one.test", branch=first), p1, p2) + hep(request("sip:x@two.test", branch=second), p2, A)
    copies = [
        hep(response("301 Moved", NEW, branch=second, further_vias=[first, CALLERS]), A, p2),
        hep(response("301 Moved", NEW, branch=first, further_vias=[CALLERS]), p2, p1),
        hep(response("301 Moved", NEW, branch=CALLERS), p1, C),
    ]
    for order in permutations(copies):
        assert list(read(log + b"".join(order)).remaps) == ["sip:x@two.test"]


def test_r8_hidden_vias_are_seen_through_by_the_ends() -> None:
    """R8: where topos hides the Vias, the relaying host is known by having received the answer itself."""
    log = hep(request("sip:x@lab.test", branch=CALLERS), C, B) + hep(request("sip:x@gw.test", branch=OWN), B, A)
    got = hep(response("301 Moved", NEW, branch=OWN), A, B)
    gave = hep(response("301 Moved", NEW, branch=CALLERS), B, C)
    for copies in (got + gave, gave + got):
        assert list(read(log + copies).remaps) == ["sip:x@gw.test"]


def test_r8_hidden_vias_are_seen_through_on_every_hop() -> None:
    """R8: where each of two proxies hides the Vias (topoh), a hop is known by the copy before it, in any order."""
    p1, p2 = B, Peer("udp", "192.0.2.20", 5060)
    first, second = "z9hG4bK1.aa.0", "z9hG4bK1.bb.0"
    asked = [
        hep(request("sip:x@lab.test", branch=CALLERS), C, p1),
        hep(request("sip:x@one.test", branch=first), p1, p2),
        hep(request("sip:x@two.test", branch=second), p2, A),
    ]
    copies = [
        hep(response("301 Moved", NEW, branch=second, further_vias=["z9hG4bKsr-masked"]), A, p2),
        hep(response("301 Moved", NEW, branch=first, further_vias=["z9hG4bKsr-other"]), p2, p1),
        hep(response("301 Moved", NEW, branch=CALLERS), p1, C),
    ]
    for order in permutations(copies):
        assert list(read(b"".join([*asked, *order])).remaps) == ["sip:x@two.test"]


def test_r8_a_host_that_answers_itself_and_is_asked_by_a_proxy() -> None:
    """R8: A answers 301 of its own accord; C, which shows both of its legs, sees it once."""
    log = hep(request("sip:x@gw.test", branch=OWN), C, A) + hep(response("301 Moved", NEW, branch=OWN), A, C)
    assert list(read(log).remaps) == ["sip:x@gw.test"]


def test_r8_branches_of_a_fork_are_no_copies_of_each_other() -> None:
    """R8, R9: two branches of one fork that are both answered 301 by different hosts are two sightings."""
    log = b""
    for index, side in enumerate((A, Peer("udp", "192.0.2.4", 5060))):
        branch = f"z9hG4bK1.aa.{index}"
        log += hep(request(f"sip:x@gw{index}.test", branch=branch), B, side)
        log += hep(response("301 Moved", NEW, branch=branch, further_vias=[CALLERS]), side, B)
    log += hep(response("301 Moved", NEW, branch=CALLERS), B, C)
    assert sorted(read(log).remaps) == ["sip:x@gw0.test", "sip:x@gw1.test"]


def _answer(branches: list[str], uri: str) -> Answer:
    got = parse_message(response("301 Moved", NEW, branch=branches[0], further_vias=branches[1:]))
    asked = parse_message(request(uri, branch=branches[0]))
    assert isinstance(got, Response)
    assert isinstance(asked, Request)
    frame = Frame(start=0, end=0, payload=got.raw, dialect="test", direction=Direction.RECEIVED, peer=A)
    return from_messages(frame, got, asked, position=0, seen_at=None, text="")


def test_r8_a_spiral_is_one_sighting() -> None:
    """R8: a host that sends the call to itself receives the answer twice; the inner one is the authority."""
    relays = Relays()
    inner, outer = _answer(["z9.2", "z9.1", "c"], "sip:x@gw.test"), _answer(["z9.1", "c"], "sip:x@self.test")
    assert not relays.is_relayed(copy_of(inner))
    assert relays.is_relayed(copy_of(outer))
    assert not relays.is_relayed(copy_of(inner)), "a retransmission of the inner one is not a relayed copy"


def arrow(message: bytes, source: Peer, target: Peer) -> bytes:
    """A message as sngrep saves it."""
    way = f"{source.address}:{source.port} -> {target.address}:{target.port}"
    return b"2026/11/22 16:24:29.123456 %s\n%s\n\n" % (way.encode(), message)


@st.composite
def ways(draw: st.DrawFn) -> bytes:
    """Answers of two calls between three hosts, with and without the Vias that tell one hop from the next."""
    write = draw(st.sampled_from([hep, arrow]))
    parts = []
    for _ in range(draw(st.integers(1, 7))):
        source, target = draw(st.permutations([A, B, C]))[:2]
        branch, *further = draw(st.sampled_from([[OWN, CALLERS], [CALLERS], [OWN]]))
        status = draw(st.sampled_from(["183 Session Progress", "183 Session Progress", "301 Moved"]))
        call = draw(st.sampled_from(["one", "two"]))
        message = response(status, NEW, call=call, branch=branch, further_vias=further)
        parts.append(write(message, source, target))
    return b"".join(parts)


@given(ways(), st.sampled_from(["each", "count"]))
def test_r8_the_short_way_knows_relayed_183s_as_the_long_one_does(log: bytes, mode: Literal["each", "count"]) -> None:
    """R3, R8: on whatever hops the copies of an answer were captured, as many count as by the ordinary reading."""
    short, long = (outcome(log, 1 << 20, [], short=way, mode=mode) for way in (True, False))
    assert short == long
