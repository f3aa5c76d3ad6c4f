"""What a new URI needs of the server that sends calls there: a socket of its transport and address family.

Without one each call fails at once: Kamailio answers 478 or 500 by itself, Asterisk gives up the call.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from redirectd.plan.target import Command, Reply
from redirectd.sip.uri import SipUri, ip_address
from redirectd.targets import answers

ASKS = {"kamailio": Command("core.sockets_list"), "asterisk": Command("pjsip show transports")}
"""What shows a server's sockets, by the first word of a target's kind."""

_LINE = re.compile(r"^Transport:\s+\S+\s+(udp|tcp|tls|ws|wss)\s+\S+\s+\S+\s+(\S+):[0-9]+\s*$", re.MULTILINE)
_CARRIED_BY = {"ws": "tcp", "wss": "tls"}


@dataclass(frozen=True, slots=True, order=True)
class SocketWay:
    """A transport in lower case, and 4 or 6 for the version of IP."""

    transport: str
    version: int

    def __str__(self) -> str:
        """Write it for people."""
        return f"{self.transport} over IPv{self.version}"


def ways_of(reply: Reply) -> frozenset[SocketWay]:
    """Give the ways that a server can send by, from its answer to the command in `ASKS`."""
    if isinstance(reply, str):
        return frozenset(_way(transport, address) for transport, address in _LINE.findall(reply))
    found = [
        (str(answers.field(each, "proto")), str(answers.field(each, "ipaddress") or answers.field(each, "address")))
        for each in answers.records(reply, "socket")
    ]
    return frozenset(_way(transport, address) for transport, address in found)


def _way(transport: str, address: str) -> SocketWay:
    try:
        IPv6Address(address.strip("[]").partition("%")[0])
    except AddressValueError:
        return SocketWay(_CARRIED_BY.get(transport, transport), 4)
    return SocketWay(_CARRIED_BY.get(transport, transport), 6)


def transport_of(uri: SipUri) -> str:
    """Give the transport that calls to a URI take, udp where it names none (RFC 3263; NAPTR is not asked)."""
    transport = uri.transport or ("tls" if uri.scheme == "sips" else "udp")
    transport = "tls" if uri.scheme == "sips" and transport == "tcp" else transport
    return _CARRIED_BY.get(transport, transport)


def no_socket(uri: SipUri, versions: Collection[int], held: Collection[SocketWay]) -> str | None:
    """Say which way to a URI the server, which has the ways `held`, lacks; None where it has one of those needed.

    `versions` of IP are those that its host has addresses of.
    """
    needed = [SocketWay(transport_of(uri), version) for version in sorted(versions)]
    return None if not needed or set(needed) & set(held) else " or ".join(map(str, needed))


def version_of(uri: SipUri) -> int | None:
    """Give the version of IP of a host that is an address; None for a name."""
    found = ip_address(uri.host)
    return None if found is None else found.version
