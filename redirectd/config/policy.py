"""The policy as the pure rules take it: plain frozen values, no file and no library behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network

# fmt: off
EMERGENCY_NUMBERS = frozenset({
    "000", "08", "100", "101", "102", "103", "104", "106", "108", "110", "111", "112", "113", "114", "115", "116",
    "117", "118", "119", "120", "122", "123", "126", "127", "133", "140", "144", "150", "155", "158", "160", "166",
    "190", "191", "192", "193", "194", "195", "197", "198", "199", "911", "933", "988", "993", "997", "998", "999",
})
# fmt: on
"""Numbers that reach police, fire brigade or ambulance in some country; never remapped (R22).

A list too long costs one remap that a person writes by hand, one too short can cost a life.
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
class Policy:
    """Whom to believe and what to hold (R20, R22, R26 to R29, R36).

    Domains are in lower case without a trailing dot; `*.example.net` stands for every name under it, not for itself.
    `gateways` are `host` or `host:port` (IPv6 in brackets), lower case. `denied_prefixes` are `+` and digits.
    `region` is the ISO 3166 code by which national numbers are read, `tel_gateway` the host that `tel:` is sent to.
    `allow_premium` lets numbers of a premium rate pass without a hold, `allow_foreign` those of another country than
    the old one.
    """

    trusted_peers: tuple[Network, ...] = ()
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
