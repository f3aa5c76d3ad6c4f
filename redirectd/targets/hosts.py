"""The old hosts that an Asterisk target speaks for, since an extension is only a user part."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from redirectd.sip.uri import SipUri, UriError, canonical_host, parse_uri


def read_hosts(texts: Iterable[str]) -> frozenset[tuple[str, int | None]]:
    """Read ``host`` or ``host:port`` entries; ValueError names the one that is neither."""
    hosts: set[tuple[str, int | None]] = set()
    for text in texts:
        try:
            uri = parse_uri(f"sip:{text}")
        except UriError as error:
            raise ValueError(f"{text!r} is not a host or host:port ({error.why})") from None
        if not isinstance(uri, SipUri) or uri != SipUri("sip", None, None, uri.host, uri.port):
            raise ValueError(f"{text!r} is not a host or host:port")
        hosts.add((canonical_host(uri.host), uri.port))
    return frozenset(hosts)


def speaks_for(hosts: Collection[tuple[str, int | None]], uri: SipUri) -> bool:
    """Say if `uri` is at one of `hosts`: an entry without port means every port, and a URI without port 5060 (5061)."""
    host = canonical_host(uri.host)
    port = uri.port or (5061 if uri.scheme == "sips" or uri.transport == "tls" else 5060)
    return (host, None) in hosts or (host, port) in hosts
