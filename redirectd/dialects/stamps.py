"""Dates as logs write them, read to UTC (R37)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

_SKEW = timedelta(days=1)
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_YEAR_2000, _YEAR_3000 = 946_684_800, 32_503_680_000
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}

_EPOCH = re.compile(r"(\d{9,11})(?:\.(\d{1,9}))?")
_EPOCH_MICRO = re.compile(r"(\d{10})(\d{6})")
_ISO = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))? ?(Z|UTC|[+-]\d\d:?\d\d)?")
_NAMED = re.compile(
    r"(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2}) +(\d{1,2})(?: (\d{4}))? (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: (\d{4}))?"
)


def parse_stamp(text: str, zone: tzinfo, now: datetime) -> datetime | None:
    """The UTC time that `text` means, or None where it is not a date.

    Reads Asterisk's and syslog's `Nov 22 16:26:03`, ISO dates with or without fraction and zone, sipdump's
    `Sun Nov 22 16:44:08 2026`, ngrep's `2026/11/22 16:24:29.123456`, and epochs in seconds, with a fraction,
    or in microseconds. `zone` is that of the source and holds for dates without one. A date without a year
    takes the year that puts it nearest to `now` (aware) and not more than a day after it. A time that the
    clock shows twice is taken as the first of the two; one that it skips is taken as if it had not been.
    """
    return _parse(text, zone, now.astimezone(UTC).replace(minute=0, second=0, microsecond=0))


@lru_cache(maxsize=4096)
def _parse(text: str, zone: tzinfo, hour: datetime) -> datetime | None:
    text = text.strip()
    return _epoch(text) or _iso(text, zone) or _named(text, zone, hour)


def _epoch(text: str) -> datetime | None:
    match = _EPOCH_MICRO.fullmatch(text) or _EPOCH.fullmatch(text)
    if match is None or not _YEAR_2000 <= int(match[1]) < _YEAR_3000:
        return None
    return datetime.fromtimestamp(int(match[1]), UTC).replace(microsecond=_micro(match[2]))


def _iso(text: str, zone: tzinfo) -> datetime | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    return _utc((year, month, day, hour, minute, second), match[7], _offset(match[8]) or zone)


def _named(text: str, zone: tzinfo, now: datetime) -> datetime | None:
    match = _NAMED.fullmatch(text)
    if match is None or match[1] not in _MONTHS:
        return None
    clock = (_MONTHS[match[1]], int(match[2]), int(match[4]), int(match[5]), int(match[6]))
    year = match[3] or match[8]
    if year:
        return _utc((int(year), *clock), match[7], zone)
    latest = now + _SKEW
    for candidate in range(latest.astimezone(zone).year, now.year - 9, -1):  # 29 February: at most 8 years
        found = _utc((candidate, *clock), match[7], zone)
        if found and found <= latest:
            return found
    return None


def _utc(parts: tuple[int, int, int, int, int, int], fraction: str | None, zone: tzinfo) -> datetime | None:
    year, month, day, hour, minute, second = parts
    leap = second == 60
    try:
        local = datetime(year, month, day, hour, minute, 59 if leap else second, _micro(fraction), zone)
        return local.astimezone(UTC) + timedelta(seconds=leap)
    except (ValueError, OverflowError):
        return None


def _micro(fraction: str | None) -> int:
    return int(fraction[:6].ljust(6, "0")) if fraction else 0


def _offset(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text in {"Z", "UTC"}:
        return UTC
    delta = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-delta if text[0] == "-" else delta) if delta < timedelta(hours=24) else None
