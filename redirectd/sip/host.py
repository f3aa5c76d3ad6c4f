"""The host of a URI: its grammar (RFC 3261 25.1), and the one form that equal hosts share."""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

MAX_HOST = 255
"""Longest host taken, in characters (RFC 1035)."""

_HOST_CHARS = re.compile(r"[A-Za-z0-9.\-]++")
_ALPHA = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@lru_cache(maxsize=4096)  # hosts are few, and each is met often
def host_fault(host: str) -> str | None:
    """Say why `host` is not a hostname, IPv4 address or bracketed IPv6 address; None if it is one."""
    if not host:
        return "there is no host"
    if len(host) > MAX_HOST:
        return f"the host is longer than {MAX_HOST} characters"
    if host[0] == "[":
        return None if ip_address(host) else "the host is no IPv6 address"
    if not _HOST_CHARS.fullmatch(host):
        return "the host holds a character that no host name has"
    return _name_fault(host)


def _name_fault(host: str) -> str | None:
    labels = host.removesuffix(".").split(".")
    for label in labels:
        if not label or len(label) > 63 or label[0] == "-" or label[-1] == "-":
            return "the host has an empty, too long or hyphen-edged label"
    if labels[-1][0] not in _ALPHA and not ip_address(host):
        return "the host is neither a host name nor an IPv4 address"
    return None


def ip_address(host: str) -> IPv4Address | IPv6Address | None:
    """Read a host that is a dotted IPv4 address or a bracketed IPv6 address; None for names and faults.

    A zone (``%eth0``) is not in RFC 3261's grammar and makes it a fault.
    """
    try:
        if host[:1] != "[":
            return IPv4Address(host)
        if host[-1] == "]" and "%" not in host:
            return IPv6Address(host[1:-1])
    except AddressValueError:
        pass
    return None


@lru_cache(maxsize=4096)
def canonical_host(host: str) -> str:
    """Write a valid host in the form that equal hosts share.

    Lower case, one trailing dot dropped (DNS calls both the same name), IPv6 by RFC 5952 in brackets.
    An IPv4-mapped address is written ``[::ffff:192.0.2.1]`` (RFC 5952 section 5); `str` of such an
    address differs between Python versions.
    """
    if host[:1] != "[":
        return host.lower().removesuffix(".")
    address = ip_address(host)
    if not isinstance(address, IPv6Address):
        return host.lower()
    mapped = address.ipv4_mapped
    return f"[::ffff:{mapped}]" if mapped else f"[{address}]"


def in_domains(host: str, domains: frozenset[str]) -> bool:
    """Whether a lower-case host is one of `domains`, where `*.example.net` takes every name below it."""
    if host in domains:
        return True
    while "." in host:
        host = host.partition(".")[2]
        if f"*.{host}" in domains:
            return True
    return False
