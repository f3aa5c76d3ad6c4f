"""The policy and the service: settings that are no error and still surprise."""

from __future__ import annotations

from collections.abc import Iterator

from redirectd.cli.checks.finding import Finding, Level, good
from redirectd.config.model import Config


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
    for network in policy.trusted_peers:
        if network.prefixlen == 0:
            yield Finding(
                "policy.trusted_peers",
                Level.WARNING,
                f"{network} trusts the whole internet, and a 301 is easily forged",
                "name the networks of your carriers and gateways alone",
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
