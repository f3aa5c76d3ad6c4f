"""The policy as the pure rules take it: plain frozen values, no file and no library behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

EMERGENCY_NUMBERS = frozenset(
    {"000", "110", "111", "112", "113", "115", "117", "118", "119", "120", "122", "190", "192", "193", "197", "198"}
    | {"911", "933", "988", "991", "993", "995", "997", "998", "999"}
)
"""Numbers that reach police, fire brigade or ambulance in many countries; never remapped (R22).

Numbers that are a usual extension of a telephone system too (100 to 108) are left out: an operator in whose country
they are for emergencies adds them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoApprove:
    """When a remap may be approved without a person: every one of these must hold (R29).

    `peers` are the networks whose 301s count, `min_calls` distinct transactions, `min_age` between the first and
    the last sighting, `allowed_domains` the new URI's hosts in lower case (`*.example.net` takes subdomains too).
    """

    peers: tuple[Network, ...]
    min_calls: int
    min_age: timedelta
    allowed_domains: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FourEyes:
    """How many different people must approve a remap.

    `approvals` are needed for all remaps; with any of the other three, only for those that are held, that move to a
    premium rate, or that more than `calls_over` calls have seen. `people` maps accounts (`unix:ada`) to the person;
    where it is empty, each login of this host is a person.
    """

    approvals: int = 1
    held: bool = False
    premium: bool = False
    calls_over: int | None = None
    people: Mapping[str, str] = field(default_factory=dict)

    def person_of(self, account: str) -> str | None:
        """Who an account belongs to; None where people are named and it is nobody's."""
        if self.people:
            return self.people.get(account)
        kind, _, name = account.partition(":")
        return name if kind == "unix" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which peers to trust and what to hold (R20, R22, R26 to R29, R36).

    Domains are in lower case without a trailing dot; `*.example.net` covers every name under it, but not
    itself. 301s from `never_learn_from` are no moves (R43). `gateways` are `host` or `host:port` (IPv6 in
    brackets), lower case. `denied_prefixes` are `+` and digits. `region` is the ISO 3166 code by which national
    numbers are read, `tel_gateway` the host that `tel:` is sent to. `allow_premium` lets numbers of a premium rate
    pass without a hold, `allow_foreign` those of another country than the old one. `suspend_failing_after` calls
    that a target answers with 404, 410 or 604 suspend its remap, None never. One gateway move is proposed where at
    least `propose_users` users and `propose_percent` of a host moved so. An hour brings at most `new_per_peer` new
    pending remaps from one peer, and `new_per_incoming` of one incoming URI (R46). `four_eyes` says how many people
    must approve.
    """

    trusted_peers: tuple[Network, ...] = ()
    never_learn_from: tuple[Network, ...] = ()
    own_domains: frozenset[str] = frozenset()
    gateways: tuple[str, ...] = ()
    allowed_target_networks: tuple[Network, ...] = ()
    denied_domains: frozenset[str] = frozenset()
    denied_networks: tuple[Network, ...] = ()
    denied_prefixes: tuple[str, ...] = ()
    emergency_numbers: frozenset[str] = EMERGENCY_NUMBERS
    tel_gateway: str | None = None
    region: str | None = None
    allow_premium: bool = False
    allow_foreign: bool = False
    auto_approve: AutoApprove | None = None
    revalidate_after: timedelta | None = None
    suspend_failing_after: int | None = None
    propose_users: int = 5
    propose_percent: float = 80
    new_per_peer: int = 200
    new_per_incoming: int = 50
    four_eyes: FourEyes = FourEyes()


def address_of(peer: str) -> Address | None:
    """The address in a stored peer (`udp:192.0.2.1:5060`); None for `unknown`."""
    text = peer.partition(":")[2] if peer.partition(":")[0].isalpha() else peer
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address, or the IPv4 address it carries, is in one of the networks."""
    return any(one in network for one in meant(address) for network in networks)


def meant(address: Address) -> tuple[Address, ...]:
    """The address as written, or the IPv4 address it carries: mapped, 6to4 (RFC 3056) or translated (RFC 6052)."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address, address.sixtofour)
    if address in _TRANSLATED:
        return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


_TRANSLATED = IPv6Network("64:ff9b::/96")
