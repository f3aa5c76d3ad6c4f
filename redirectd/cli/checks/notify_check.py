"""Who is notified: the URL, the way there as far as it can be tried without sending, and the unit's network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from redirectd.cli.checks.as_user import Finding, Level, fault, good, unit_properties
from redirectd.cli.checks.secrets_check import check_closed
from redirectd.cli.options import known_flag
from redirectd.config.model import Config
from redirectd.config.secrets import notify_url
from redirectd.config.sections import NotifySection
from redirectd.errors import ConfigError, RedirectdError
from redirectd.sip.text import printable

DROP_IN = (
    "install the drop-in notify.conf as /etc/systemd/system/redirectd.service.d/notify.conf, then: "
    "systemctl daemon-reload && systemctl restart redirectd"
)

Properties = Callable[[], dict[str, str]]


def check_notify(config: Config, unit: Properties | None = None) -> Iterator[Finding]:
    """One finding or more for each table; connects to a webhook, and sends nothing."""
    if not config.notify:
        return
    properties = unit() if unit else unit_properties("IPAddressAllow", "IPAddressDeny")
    for section in config.notify:
        yield from _check(section, config, properties)


def _check(section: NotifySection, config: Config, properties: dict[str, str]) -> Iterator[Finding]:
    from redirectd.service.delivery import delivery_of

    where = f"notify {section.name}"
    file = config.resolve(section.url_file) if section.url_file else None
    if file is not None:
        yield from check_closed(f"{where}, {file}", file)
    try:
        _check_flag(where, section.flag)
        delivery = delivery_of(section, config)
        where = delivery.where
        delivery.reach()
    except RedirectdError as error:
        yield from fault(error)
        return
    url = urlsplit(notify_url(section, file))
    yield from _check_unit(where, url.hostname, properties)
    if section.kind == "webhook" and url.scheme == "http" and not _is_loopback(url.hostname or ""):
        yield Finding(where, Level.WARNING, "messages and the URL's secret go unencrypted", "use an https URL")
    if section.kind == "webhook":
        yield good(where, "it can be reached; nothing was sent: redirectd notify test")
    else:
        yield good(where, "its URL is valid; nothing was sent: redirectd notify test")


def _check_flag(where: str, flag: str | None) -> None:
    try:
        known_flag(flag or "none")
    except RedirectdError as error:
        raise ConfigError(f"{where}, flag", error.why, error.what_to_do) from None


def _check_unit(where: str, host: str | None, properties: dict[str, str]) -> Iterator[Finding]:
    """Whether systemd's filter lets the service reach the receiver as this command did."""
    denied = properties.get("IPAddressDeny", "").split()
    if not denied or not host:
        return
    allowed = _networks(properties.get("IPAddressAllow", ""))
    for address in _addresses(host):
        if not any(address in network for network in allowed):
            why = (
                f"redirectd.service may not reach {printable(host, 100)} ({address}): systemd keeps it from the network"
            )
            yield Finding(where, Level.FAULT, why, DROP_IN)
            return


def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    found: list[IPv4Network | IPv6Network] = []
    for word in text.split():
        try:
            found.append(ip_network(word, strict=False))
        except ValueError:
            continue
    return found


def _addresses(host: str) -> list[IPv4Address | IPv6Address]:
    try:
        return [ip_address(str(one[4][0]).partition("%")[0]) for one in socket.getaddrinfo(host, None)]
    except OSError:
        return []


def _is_loopback(host: str) -> bool:
    return host == "localhost" or any(one.is_loopback for one in _addresses(host))
