"""The kinds of values a configuration file can hold, each read from its text or refused with a reason.

All sections are frozen, and unknown keys in them are errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from ipaddress import ip_network
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from redirectd.collect.policy import Network
from redirectd.errors import ConfigError
from redirectd.sip.uri import canonical_host, host_fault, ip_address

_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE = re.compile(r"(?:([A-Za-z,\-]{3,40}) +)?([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to before `end`, on the `days` it begins on (Monday is 0); past midnight where it ends earlier."""

    days: frozenset[int]
    start: time
    end: time
    text: str

    def __str__(self) -> str:
        return self.text

    def covers(self, local: datetime) -> bool:
        """Say if a local time falls into the window."""
        now = local.time().replace(tzinfo=None)
        if self.start < self.end:
            return local.weekday() in self.days and self.start <= now < self.end
        if now >= self.start:
            return local.weekday() in self.days
        return now < self.end and (local - timedelta(days=1)).weekday() in self.days


def parse_window(text: str) -> Window:
    """Read `08:00-18:00`, `Sat,Sun 00:00-24:00` or `Mon-Fri 22:00-05:00`. Raises ValueError."""
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not a time window; write it as "22:00-05:00" or "Mon-Fri 08:00-18:00"')
    start = _time(match[2], match[3], text)
    end = time(0) if (match[4], match[5]) == ("24", "00") else _time(match[4], match[5], text)
    return Window(_days(match[1], text), start, end, text)


def _time(hour: str, minute: str, text: str) -> time:
    if int(hour) > 23 or int(minute) > 59:
        raise ValueError(f'"{text}": {hour}:{minute} is not a time of day')
    return time(int(hour), int(minute))


def _days(names: str | None, text: str) -> frozenset[int]:
    if names is None:
        return frozenset(range(7))
    found: set[int] = set()
    for item in names.lower().split(","):
        first, dash, last = item.partition("-")
        if first not in _NAMES or (dash and last not in _NAMES):
            raise ValueError(f'"{text}": {item} is not a day; the days are Mon Tue Wed Thu Fri Sat Sun')
        begin = _NAMES.index(first)
        length = (_NAMES.index(last) - begin) % 7 if dash else 0
        found.update((begin + step) % 7 for step in range(length + 1))
    return frozenset(found)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:[0-9]{1,6}[smhdw])+")
_DURATION_PART = re.compile(r"([0-9]+)([smhdw])")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
_PREFIX = re.compile(r"\+[0-9]{1,15}")
_NUMBER = re.compile(r"[0-9*#+]{1,32}")
_CRON = re.compile(r"[0-9A-Za-z*/, \t-]+")
_HOSTPORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")


def _text(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    if not isinstance(value, str):
        raise ValueError("it must be a text in quotes")  # noqa: TRY004 - pydantic collects ValueError alone
    return value


def parse_duration(value: Any) -> timedelta:  # noqa: ANN401 - whatever the file holds
    """Read `90d`, `12h`, `1d12h`: whole numbers of s, m (minutes), h, d and w. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    text = _text(value).replace(" ", "")
    if not _DURATION.fullmatch(text):
        raise ValueError(
            f'"{text}" is not a duration: numbers with the units s, m, h, d or w, such as "90d" or "1d12h"'
        )
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text)))


def show_duration(value: timedelta) -> str:
    """Write a duration as in the file."""
    seconds = int(value.total_seconds())
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_network(value: Any) -> Network:  # noqa: ANN401 - whatever the file holds
    """Read `192.0.2.0/24`, `2001:db8::/32` or one address. Raises ValueError, also for bits set behind the mask."""
    text = _text(value) if not hasattr(value, "network_address") else str(value)
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}; write a network such as 192.0.2.0/24 or one address") from None


def parse_domain(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    """A host name or address in its canonical form; `*.` in front means every name under it."""
    text = _text(value)
    host = text.removeprefix("*.")
    if ":" in host and not host.startswith("["):
        raise ValueError(f'"{text}" must be a host without port; an IPv6 address stands in brackets')
    fault = host_fault(host)
    if fault or (host != text and ip_address(host)):
        raise ValueError(f'"{text}" is not a domain: {fault or "an address has no names under it"}')
    return text[: len(text) - len(host)] + canonical_host(host)


def parse_hostport(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    """`host` or `host:port`, IPv6 in brackets, in canonical form."""
    text = _text(value)
    match = _HOSTPORT.fullmatch(text)
    fault = host_fault(match[1]) if match else "it is not written as host or host:port (IPv6 in brackets)"
    if match is None or fault:
        raise ValueError(f'"{text}" is not a host: {fault}')
    if match[2] is None:
        return canonical_host(match[1])
    if not 1 <= int(match[2]) <= 65535:
        raise ValueError(f'"{text}": the port is not a number from 1 to 65535')
    return f"{canonical_host(match[1])}:{int(match[2])}"


def parse_listen(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    """`address:port`, IPv6 in brackets."""
    text = parse_hostport(value)
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or ip_address(host) is None:
        raise ValueError(f'"{text}" must be an address and a port, such as 127.0.0.1:9060 or [::1]:9060')
    return text


def _zone(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    text = _text(value)
    if text:
        try:
            ZoneInfo(text)
        except (ValueError, OSError, KeyError):
            raise ValueError(f'"{text}" is not a time zone of this system; the names are like Europe/Berlin') from None
    return text


def zone_of(name: str) -> tzinfo:
    """A time zone by its name; the system's for an empty one. Raises ConfigError where that is not to be found out."""
    from tzlocal import get_localzone  # most commands need no zone

    if name:
        return ZoneInfo(name)
    try:
        return get_localzone()
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            "the system's time zone",
            str(error.args[0]).partition("\n")[0].strip() if error.args else type(error).__name__,
            "set TZ to a name like Europe/Berlin, or timezone in each [[source]] and in [schedule]",
        ) from error


def _label(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    text = _text(value)
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{text!r} must be 1 to 64 letters, digits, and . _ - between them")
    return text


def _prefix(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    text = _text(value).replace(" ", "").replace("-", "")
    if not _PREFIX.fullmatch(text):
        raise ValueError(f'"{text}" is not a number prefix: "+" and digits, country code first, such as "+49900"')
    return text


def _number(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    text = _text(value)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f'"{text}" is not a number as it is dialled: digits, * and #')
    return text


def _region(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z]{2}", text):
        raise ValueError(f'"{text}" is not a country: the two letters of ISO 3166, such as "DE"')
    return text.upper()


def parse_cron(text: str) -> str:
    """Five fields as cron(8) reads them. Raises ValueError that says which is wrong.

    A date that no year has (30 February) is refused: cron would accept it and never run.
    """
    if len(text.split()) != 5:
        raise ValueError(f'"{text}" has {len(text.split())} fields, a schedule has five')
    if not _CRON.fullmatch(text):
        raise ValueError(f'"{text}": a schedule is written with numbers, names, * / - and ,')
    try:
        next(CronSim(text, datetime(2026, 1, 1)))  # noqa: DTZ001 - only if it ever comes, in whatever zone
    except CronSimError as error:
        raise ValueError(f'"{text}": {str(error).lower()}; crontab(5) has the ranges') from error
    except StopIteration as error:
        raise ValueError(f'"{text}" never comes') from error
    return text


def _cron(value: Any) -> str:  # noqa: ANN401 - whatever the file holds
    text = _text(value)
    return parse_cron(text) if text else ""


def _window(value: Any) -> Window:  # noqa: ANN401 - whatever the file holds
    return value if isinstance(value, Window) else parse_window(_text(value))


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(show_duration)]
Net = Annotated[Any, BeforeValidator(parse_network), PlainSerializer(str)]
Domain = Annotated[str, BeforeValidator(parse_domain)]
HostPort = Annotated[str, BeforeValidator(parse_hostport)]
Listen = Annotated[str, BeforeValidator(parse_listen)]
Zone = Annotated[str, BeforeValidator(_zone)]
Label = Annotated[str, BeforeValidator(_label)]
Prefix = Annotated[str, BeforeValidator(_prefix)]
Number = Annotated[str, BeforeValidator(_number)]
Region = Annotated[str, BeforeValidator(_region)]
Cron = Annotated[str, BeforeValidator(_cron)]
Quiet = Annotated[Any, BeforeValidator(_window), PlainSerializer(str)]


class Section(BaseModel):
    """A table of the configuration file. Its docstring and its fields' descriptions are the reference text."""

    # Deferred: only the whole file is ever validated, so a section of its own needs no validator of its own.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
