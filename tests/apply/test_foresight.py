"""What a plan says of new URIs that can't be reached."""

from __future__ import annotations

from redirectd.apply.foresight import unreachable
from redirectd.plan.route import Route
from redirectd.sip.uri import SipUri
from redirectd.targets.sockets import SocketWay
from tests.apply.apply_host import sip


def routes(*new: str) -> list[Route]:
    """User moves to these URIs, numbered from 1."""
    return [
        Route((number,), "user", sip(f"sip:u{number}@old.test"), sip(uri)) for number, uri in enumerate(new, start=1)
    ]


HELD = frozenset({SocketWay("udp", 4)})


def test_hosts_without_address_are_named_once() -> None:
    """A name that the DNS does not have is named with its first remap; one that nobody could ask for is not."""
    found = unreachable(
        routes("sip:a@gone.test", "sip:b@gone.test", "sip:c@gone.test:5070", "sip:d@asked.test"),
        HELD,
        {"gone.test": frozenset()},
    )
    assert [str(one) for one in found] == [
        "remap 1: gone.test has no address in the DNS: each call to it would fail, if it has no SRV record"
        " (and 2 more such remaps)"
    ]


def test_a_name_counts_by_its_addresses() -> None:
    """A host with addresses of IPv6 alone needs such a socket; where nobody knows the sockets nothing is said."""
    versions = {"six.test": frozenset({6}), "both.test": frozenset({4, 6})}
    moved = routes("sip:a@SIX.test", "sip:b@both.test")
    [one] = unreachable(moved, HELD, versions)
    assert str(one) == (
        "remap 1: SIX.test needs udp over IPv6, and the server has no such socket: each call would fail"
    )
    assert unreachable(moved, None, versions) == []


def test_only_reachable_addresses_are_pinged_and_not_too_many() -> None:
    """What has no socket is sent nothing, each address one request, and after 20 of them none any more."""
    asked: list[str] = []

    def ping(uri: SipUri) -> bool:
        asked.append(uri.host)
        return False

    moved = routes("sip:a@[2001:db8::1]", *(f"sip:a@192.0.2.{number}" for number in range(1, 31)), "sip:b@192.0.2.1")
    found = unreachable(moved, HELD, {}, ping)
    assert asked == [f"192.0.2.{number}" for number in range(1, 21)]
    assert (
        str(found[1])
        == "remap 2: nobody answers an OPTIONS to sip:192.0.2.1 that this host sends (and 1 more such remaps)"
    )
