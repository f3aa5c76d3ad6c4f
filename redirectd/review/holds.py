"""The holds that depend on the policy, worked out when a remap is looked at: a changed policy counts at once.

R12 (method and registrar), R26 (untrusted) and R27 (suspicious). The holds that one answer brings with it are stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address

from redirectd.collect.policy import Address, Policy, address_of, is_within, meant
from redirectd.collect.usable_contacts import number_in, target_holds
from redirectd.review.numbers import number_hold
from redirectd.sip.host import in_domains
from redirectd.sip.routekey import route_key
from redirectd.sip.uri import SipUri
from redirectd.store.remap import Remap, State
from redirectd.store.uris import stored_uri

NEED_REASON = {"untrusted": "R26", "unkeyed": "R39", "volatile": "R11"}
"""Holds that a person passes only with a written reason, and the rules they come from."""

NEED_FORCE = {"registrar": "R12", "suspicious": "R27", "malformed": "R14", "unproven": "R40"}
"""Those that a person passes only with --force and a written reason."""

_OF_TARGET = frozenset({"suspicious", "routing-data", "downgrade"})
"""Holds of what would be routed, worked out anew: the stored ones are of the newest answer and of all its Contacts."""


def needs(remap: Remap) -> tuple[str, ...]:
    """What an approval of a pending remap needs beside it: nothing, `reason`, or `force` and `reason`."""
    if remap.state is not State.PENDING:
        return ()
    if NEED_FORCE.keys() & remap.flags.keys():
        return ("force", "reason")
    return ("reason",) if NEED_REASON.keys() & remap.flags.keys() else ()


def with_holds(remap: Remap, policy: Policy) -> Remap:
    """The remap with all its flags under the current policy."""
    flags = {name: reason for name, reason in remap.flags.items() if name not in _OF_TARGET}
    peers, methods = remap.believed_peers or remap.peers, remap.believed_methods or remap.methods
    if not any(is_trusted(peer, policy) for peer in peers):
        seen = ", ".join(peers[:3]) or "an unknown peer"
        flags["untrusted"] = f"seen only from {seen}: none of trusted_peers"
    if remap.kind == "user" and "INVITE" not in methods:
        flags["method"] = f"seen only for {', '.join(methods)}, never for a call"
    if remap.kind == "registrar":
        flags["registrar"] = (
            "a 301 to REGISTER is how registrations are hijacked (26.1.2); approved, it goes into no routing file"
        )
    reasons: list[str] = []
    old = stored_uri(remap.old_uri)
    for text in [remap.new_uri] if remap.new_uri else [one.uri for one in remap.contacts]:
        new = stored_uri(text)
        held = target_holds(new, old)
        for reason in (held.pop("suspicious", None), suspicion(old, new, policy)):
            if reason and reason not in reasons:
                reasons.append(reason)
        flags |= held
    if reasons:
        flags["suspicious"] = "; ".join(reasons)
    return replace(remap, flags=flags)


def is_suspicious(old_uri: str, new_uris: Iterable[str], policy: Policy) -> bool:
    """Whether `with_holds` would hold it as suspicious (R27), judged by its URIs alone."""
    old = stored_uri(old_uri)
    for text in new_uris:
        new = stored_uri(text)
        if "suspicious" in target_holds(new, old) or suspicion(old, new, policy):
            return True
    return False


def is_trusted(peer: str, policy: Policy) -> bool:
    """Whether a stored peer (`udp:192.0.2.1:5060`) is of a trusted network (R26)."""
    address = address_of(peer)
    return address is not None and is_within(address, policy.trusted_peers)


def suspicion(old: SipUri, new: SipUri, policy: Policy) -> str | None:
    """R27 and R42: why the target looks like somebody steering calls, or None."""
    if number_in(new) in policy.emergency_numbers:
        return "the new URI is an emergency number"
    host, old_host = route_key(new).host, route_key(old).host
    address = _address(host)
    if address is not None:
        if reason := _address_hold(address, policy):
            return reason
    elif host in _THIS_HOST or host.endswith((".localhost", ".localdomain")):
        return "the target is this very host (localhost)"
    if in_domains(host, policy.denied_domains):
        return f"the target's domain {host} is denied"
    if in_domains(host, policy.own_domains) and not in_domains(old_host, policy.own_domains):
        return f"{host} is one of our own domains, and the old URI is not"
    return number_hold(old, new, policy)


@lru_cache(maxsize=4096)  # hosts are few, and each is met often
def _address(host: str) -> Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


_THIS_HOST = frozenset({"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "localdomain"})


def _address_hold(address: Address, policy: Policy) -> str | None:
    if is_within(address, policy.denied_networks):
        return f"the target's address {address} is in a denied network"
    if is_within(address, policy.allowed_target_networks):
        return None
    for checked in meant(address):
        for name in ("is_loopback", "is_unspecified", "is_link_local", "is_multicast", "is_reserved", "is_private"):
            if getattr(checked, name):
                kind = name.removeprefix("is_").replace("_", "-")
                return f"the target's address {address} is {kind} and not in allowed_target_networks"
        if not checked.is_global:
            return f"the target's address {address} is not public and not in allowed_target_networks"
    return None
