"""Kinds of values: what is read, and what is refused with a reason."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.config.values import (
    parse_domain,
    parse_duration,
    parse_hostport,
    parse_listen,
    parse_network,
    parse_window,
    show_duration,
    zone_of,
)
from redirectd.errors import ConfigError
from redirectd.sip.text import mask_url
from redirectd.store.database import Database


@given(st.integers(min_value=0, max_value=10**9))
def test_duration_round_trip(seconds: int) -> None:
    """Any whole number of seconds reads back from how it is written."""
    assert parse_duration(show_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("12h", 43_200), ("1d12h", 129_600), ("2w", 1_209_600), ("5m 30s", 330)]
)
def test_duration(text: str, seconds: int) -> None:
    """Durations are whole numbers with a unit, and several of them add up."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("value", ["", "90", "d", "1.5h", "-1d", "1y", "1d or so", 90, None, "٣d"])
def test_no_duration(value: object) -> None:
    """Anything else is refused: a bare number would leave the unit to guessing."""
    with pytest.raises(ValueError, match=r"duration|quotes"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["192.0.2.1/24", "192.0.2.0/33", "host", 5, "2001:db8::/200", ""])
def test_no_network(value: object) -> None:
    """A network with bits behind its mask is a slip of the pen that would trust others than meant."""
    with pytest.raises(ValueError, match=r"network|quotes"):
        parse_network(value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Example.NET", "example.net"),
        ("example.net.", "example.net"),
        ("*.Example.net", "*.example.net"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "[2001:db8::1]"),
    ],
)
def test_domain(text: str, canonical: str) -> None:
    """Domains are kept in the form that hosts of URIs are compared in (R24)."""
    assert parse_domain(text) == canonical


@pytest.mark.parametrize("text", ["", "a b", "example.net:5060", "*", "*.192.0.2.1", "ex*mple.net", "-a.net", "a..b"])
def test_no_domain(text: str) -> None:
    """What no host can be is not a domain."""
    with pytest.raises(ValueError, match=r"domain|port"):
        parse_domain(text)


@pytest.mark.parametrize("text", ["gw:0", "gw:65536", "gw:", "2001:db8::1", "[::1", "a b:5060", ""])
def test_no_hostport(text: str) -> None:
    """A gateway is host or host:port, IPv6 in brackets."""
    with pytest.raises(ValueError, match=r"host|port"):
        parse_hostport(text)


@pytest.mark.parametrize("text", ["localhost:9060", "127.0.0.1", "[::1]"])
def test_no_listen_address(text: str) -> None:
    """What is listened on is an address with a port, not a name that may move."""
    with pytest.raises(ValueError, match="address and a port"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("window", "moment", "inside"),
    [
        ("08:00-18:00", "2026-11-22T08:00", True),
        ("08:00-18:00", "2026-11-22T18:00", False),
        ("Mon-Fri 08:00-18:00", "2026-11-22T12:00", False),  # a Sunday
        ("Mon-Fri 08:00-18:00", "2026-11-23T12:00", True),
        ("Fri 22:00-05:00", "2026-11-27T23:00", True),
        ("Fri 22:00-05:00", "2026-11-28T04:59", True),  # Saturday, of the window that began on Friday
        ("Fri 22:00-05:00", "2026-11-27T04:59", False),
        ("Sat,Sun 00:00-24:00", "2026-11-22T23:59", True),
        ("Sat-Mon 10:00-11:00", "2026-11-22T10:30", True),
    ],
)
def test_window(window: str, moment: str, inside: bool) -> None:
    """A window holds from its start to before its end, past midnight by the day it began on."""
    assert parse_window(window).covers(datetime.fromisoformat(moment)) is inside


@pytest.mark.parametrize("text", ["", "8:00-18:00", "08:00", "25:00-26:00", "08:60-09:00", "Moo 08:00-09:00"])
def test_no_window(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r"window|time of day|day"):
        parse_window(text)


@pytest.mark.parametrize("zone", ["CET-1CEST", "Nowhere/Land"])
def test_system_zone_without_a_name(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """R37: a TZ that names no zone is told as a fault with its mend, wherever the system's zone would be used."""
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setattr("tzlocal.unix._cache_tz", None)
    assert zone_of("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    with pytest.raises(ConfigError, match=zone) as caught:
        zone_of("")
    assert "[[source]]" in caught.value.what_to_do


def test_passwords_in_a_query_are_masked() -> None:
    """No password of a database URL is shown, wherever in the URL it is."""
    url = "postgresql+psycopg://u:one@h/db?password=two&host=h2&sslpassword=three"
    assert mask_url(url) == "postgresql+psycopg://u:***@h/db?password=***&host=h2&sslpassword=***"
    assert Database(url).shown == "postgresql+psycopg://u:***@h/db?host=h2&password=***&sslpassword=***"
