"""Which sockets a server has, and whether a new URI needs one that it has not."""

from __future__ import annotations

import pytest

from redirectd.plan.target import Reply
from redirectd.targets.sockets import SocketWay, no_socket, ways_of
from tests.apply.apply_host import sip

UDP4, TCP6, TLS4 = SocketWay("udp", 4), SocketWay("tcp", 6), SocketWay("tls", 4)

KAMAILIO: Reply = [
    {"socket": {"proto": "udp", "address": "sip.test", "ipaddress": "192.0.2.1", "port": "5060"}},
    {"socket": {"proto": "tcp", "address": "[2001:db8::1]", "ipaddress": "2001:db8::1", "port": "5060"}},
]
ONE_BY_BINRPC: Reply = {"socket": {"proto": "udp", "address": "192.0.2.1", "port": "5060"}}
ASTERISK: Reply = """
Transport:  <TransportId........>  <Type>  <cos>  <tos>  <BindAddress....................>
==========================================================================================

Transport:  one                       udp      0      0  0.0.0.0:5060
Transport:  a-name-that-is-cut-off... tls     ef   0xb8  [::]:5061

Objects found: 2
"""


@pytest.mark.parametrize(
    ("reply", "ways"),
    [
        (KAMAILIO, {UDP4, TCP6}),
        (ONE_BY_BINRPC, {UDP4}),
        (ASTERISK, {UDP4, SocketWay("tls", 6)}),
        ("No objects found.\n", set()),
        ([], set()),
    ],
)
def test_a_servers_answer_is_read(reply: Reply, ways: set[SocketWay]) -> None:
    """Both servers' answers give transports and versions of IP, whatever the channel made of them."""
    assert ways_of(reply) == ways


@pytest.mark.parametrize(
    ("uri", "versions", "lacks"),
    [
        ("sip:a@192.0.2.9", {4}, None),
        ("sip:a@[2001:db8::9]", {6}, "udp over IPv6"),
        ("sip:a@[2001:db8::9];transport=TCP", {6}, None),
        ("sips:a@192.0.2.9", {4}, None),
        ("sips:a@192.0.2.9;transport=tcp", {4}, None),
        ("sip:a@192.0.2.9;transport=ws", {4}, "tcp over IPv4"),
        ("sip:a@192.0.2.9;transport=sctp", {4}, "sctp over IPv4"),
        ("sip:a@gw.test;transport=tcp", {4, 6}, None),
        ("sip:a@gw.test;transport=wss", {6}, "tls over IPv6"),
        ("sip:a@gw.test", set(), None),
    ],
)
def test_a_uri_that_needs_another_socket_is_found(uri: str, versions: set[int], lacks: str | None) -> None:
    """One of the ways that a host can be reached by is enough, and of a host without address nothing is said."""
    assert no_socket(sip(uri), versions, {UDP4, TCP6, TLS4}) == lacks
