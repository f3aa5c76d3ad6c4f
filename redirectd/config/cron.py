"""Crontab lines as cron(8) understands them: 0 and 7 are Sunday, and day of month OR day of week.

APScheduler reads the same text otherwise (0 is Monday, and both days must match), so the text is read here
and given to it as plain lists of names and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


@dataclass(frozen=True, slots=True)
class Crontab:
    """When something is due. Weekdays count from 0 = Sunday to 6 = Saturday.

    `either_day` is cron's OR rule: where both days are restricted, a day that satisfies one of them is enough.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 0, 7, WEEKDAYS),
)


def parse_crontab(text: str) -> Crontab:
    """Five fields of lists, ranges, steps and names. Raises ValueError that says what is wrong.

    `5/15` is cronie's short form of `5-59/15`. A date that no year has (30 February) is refused: cron would
    accept it and never fire.
    """
    words = text.split()
    if len(words) != len(_FIELDS):
        raise ValueError(f'"{text}" has {len(words)} fields, a schedule has five')
    minutes, hours, days, months, weekdays = (
        _parse_field(word, field) for word, field in zip(words, _FIELDS, strict=True)
    )
    by_date, by_weekday = (not words[place].startswith("*") for place in (2, 4))
    if not by_weekday and all(min(days) > _LONGEST.get(month, 31) for month in months):
        raise ValueError(f'"{text}" never comes: none of its months has such a day')
    sunday_once = frozenset(day % 7 for day in weekdays)
    return Crontab(minutes, hours, days, months, sunday_once, either_day=by_date and by_weekday)


def _parse_field(text: str, field: _Field) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        every = _number(step, field) if slash else 1
        if every < 1:
            raise ValueError(f'"{part}": a step of the {field.name} is at least 1')
        values.update(_span(span, field, open_ended=bool(slash))[::every])
    return frozenset(values)


def _span(text: str, field: _Field, *, open_ended: bool) -> range:
    high = min(field.high, 6) if field.names is WEEKDAYS else field.high  # */2 counts Sunday once, as 0
    if text == "*":
        return range(field.low, high + 1)
    first_text, dash, last_text = text.partition("-")
    first = _value(first_text, field)
    if not dash:
        return range(first, high + 1) if open_ended else range(first, first + 1)
    last = _value(last_text, field)
    if last < first:
        raise ValueError(f'"{text}": the {field.name} runs backwards; write it as two parts with a comma')
    return range(first, last + 1)


def _value(text: str, field: _Field) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    value = _number(text, field)
    if not field.low <= value <= field.high:
        raise ValueError(f'"{text}" is no {field.name}: {field.low} to {field.high}')
    return value


def _number(text: str, field: _Field) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise ValueError(f'"{text}" is no {field.name}')
    return int(text)
