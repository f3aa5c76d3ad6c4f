"""A weekly stretch of local time, such as `Mon-Fri 08:00-18:00`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

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
        raise ValueError(f'"{text}" is no time window; write it as "22:00-05:00" or "Mon-Fri 08:00-18:00"')
    start = _time(match[2], match[3], text)
    end = time(0) if (match[4], match[5]) == ("24", "00") else _time(match[4], match[5], text)
    return Window(_days(match[1], text), start, end, text)


def _time(hour: str, minute: str, text: str) -> time:
    if int(hour) > 23 or int(minute) > 59:
        raise ValueError(f'"{text}": {hour}:{minute} is no time of day')
    return time(int(hour), int(minute))


def _days(names: str | None, text: str) -> frozenset[int]:
    if names is None:
        return frozenset(range(7))
    found: set[int] = set()
    for item in names.lower().split(","):
        first, dash, last = item.partition("-")
        if first not in _NAMES or (dash and last not in _NAMES):
            raise ValueError(f'"{text}": {item} is no day; the days are Mon Tue Wed Thu Fri Sat Sun')
        begin = _NAMES.index(first)
        length = (_NAMES.index(last) - begin) % 7 if dash else 0
        found.update((begin + step) % 7 for step in range(length + 1))
    return frozenset(found)
