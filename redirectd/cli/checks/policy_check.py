"""The policy and the service: settings that are valid and still surprise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from redirectd.cli.checks.finding import Finding, Level, good
from redirectd.config.model import Config


def everybody(networks: Iterable[IPv4Network | IPv6Network]) -> list[IPv4Network | IPv6Network]:
    """The networks of all addresses, of either version, that these come to together (two halves, too)."""
    given = list(networks)
    merged: list[IPv4Network | IPv6Network] = [
        *collapse_addresses(one for one in given if isinstance(one, IPv4Network)),
        *collapse_addresses(one for one in given if isinstance(one, IPv6Network)),
    ]
    return [one for one in merged if one.prefixlen == 0]


def check_policy(config: Config) -> Iterator[Finding]:
    """Looks for what makes redirectd useless or too trusting."""
    policy = config.policy
    if not policy.trusted_peers:
        yield Finding(
            "policy.trusted_peers",
            Level.WARNING,
            "nobody is trusted: every remap will be held as untrusted",
            'name the networks of your carriers and gateways, such as trusted_peers = ["192.0.2.0/24"]',
        )
    auto = policy.auto_approve
    trusting = {"policy.trusted_peers": policy.trusted_peers, "policy.auto_approve.peers": auto.peers if auto else []}
    for where, networks in trusting.items():
        for network in everybody(networks):
            yield Finding(
                where,
                Level.WARNING,
                f"{network} trusts the whole internet, and a 301 is easily forged",
                "name the networks of your carriers and gateways alone",
            )
    if policy.approvals_for is not None and policy.approvals == 1:
        yield Finding(
            "policy.approvals_for", Level.WARNING, "it has no effect while approvals is 1", "set approvals = 2"
        )
    if auto and policy.approvals > 1:
        few = policy.approvals_for is not None
        yield Finding(
            "policy.auto_approve",
            Level.WARNING,
            f"it approves no remap that needs {policy.approvals} people" if few else "it never approves anything",
            "narrow [policy.approvals_for]" if few else "leave it out, or restrict approvals by [policy.approvals_for]",
        )
    if not policy.own_domains and not policy.gateways:
        yield Finding(
            "policy.own_domains",
            Level.WARNING,
            "it is not set: old URIs of any domain are remapped",
            "name your domains in own_domains and the hosts you send calls to in gateways",
        )
    if config.schedule.apply == "":
        yield good("schedule.apply", "applies only by hand: redirectd apply")
