"""Dates in all formats, to UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.dialects.stamps import parse_stamp

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 18, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nov 22 16:26:03", datetime(2026, 11, 22, 15, 26, 3, tzinfo=UTC)),
        ("Nov  2 16:26:03", datetime(2026, 11, 2, 15, 26, 3, tzinfo=UTC)),
        ("2026-11-22 16:36:58.947", datetime(2026, 11, 22, 15, 36, 58, 947000, tzinfo=UTC)),
        ("2026-11-22T16:37:03.378724+0000", datetime(2026, 11, 22, 16, 37, 3, 378724, tzinfo=UTC)),
        ("2026-11-22T16:37:34.601247+00:00", datetime(2026, 11, 22, 16, 37, 34, 601247, tzinfo=UTC)),
        ("2026-11-22T11:07:34-05:30", datetime(2026, 11, 22, 16, 37, 34, tzinfo=UTC)),
        ("2026-11-22T16:40:17.413518165Z", datetime(2026, 11, 22, 16, 40, 17, 413518, tzinfo=UTC)),
        ("1795365427", datetime(2026, 11, 22, 16, 37, 7, tzinfo=UTC)),
        ("1795369921.232458", datetime(2026, 11, 22, 17, 52, 1, 232458, tzinfo=UTC)),
        ("1795365767101508", datetime(2026, 11, 22, 16, 42, 47, 101508, tzinfo=UTC)),
        ("Sun Nov 22 16:44:08 2026", datetime(2026, 11, 22, 15, 44, 8, tzinfo=UTC)),
        ("2026/11/22 16:24:29.123456", datetime(2026, 11, 22, 15, 24, 29, 123456, tzinfo=UTC)),
        ("Dec 31 23:59:60", datetime(2025, 12, 31, 23, 0, 0, tzinfo=UTC)),
        ("Feb 29 10:00:00", datetime(2024, 2, 29, 9, 0, tzinfo=UTC)),
        ("Feb 30 10:00:00", None),
        ("", None),
        ("Foo 22 16:26:03", None),
        ("99999999999999999999", None),
    ],
)
def test_format_is_read(text: str, expected: datetime | None) -> None:
    """R37: each date format of a real log, in the source's zone where it names none."""
    assert parse_stamp(text, BERLIN, NOW) == expected


@pytest.mark.parametrize(
    ("text", "now", "year"),
    [
        ("Nov 23 10:00:00", NOW, 2026),
        ("Nov 24 10:00:00", NOW, 2025),
        ("Dec 31 23:59:59", datetime(2027, 1, 1, 0, 30, tzinfo=UTC), 2026),
        ("Jan  1 00:00:01", datetime(2026, 12, 31, 22, 59, 0, tzinfo=UTC), 2027),
        ("Jan  1 00:00:01", datetime(2026, 12, 30, 12, 0, 0, tzinfo=UTC), 2026),
    ],
)
def test_year_is_the_nearest_that_is_not_in_the_future(text: str, now: datetime, year: int) -> None:
    """R37: a date without a year is of the last time it was that day, a day of clock skew allowed."""
    found = parse_stamp(text, UTC, now)
    assert found is not None
    assert found.year == year


def test_hour_that_comes_twice_neither_raises_nor_runs_backwards() -> None:
    """R37: through the end of daylight saving time dates are read, in order but for the one repeated hour."""
    now = datetime(2026, 10, 25, 12, tzinfo=UTC)
    before, fold, after = (parse_stamp(f"Oct 25 0{hour}:30:00", BERLIN, now) for hour in (1, 2, 3))
    assert before is not None
    assert fold is not None
    assert after is not None
    assert before < fold < after
    assert after - before == timedelta(hours=3)


def test_hour_that_is_skipped_is_still_a_time() -> None:
    """R37: a date in the hour that spring takes away does not raise."""
    assert parse_stamp("2026-03-29 02:30:00", BERLIN, NOW) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@given(seconds=st.integers(978_307_200, 4_070_908_800), micros=st.integers(0, 999_999))
def test_dates_with_a_zone_are_exact(seconds: int, micros: int) -> None:
    """R37: any moment written as ISO or as an epoch with microseconds comes back the same."""
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    assert parse_stamp(moment.isoformat(), BERLIN, NOW) == moment
    assert parse_stamp(f"{int(moment.timestamp())}.{moment.microsecond:06d}", BERLIN, NOW) == moment


@given(text=st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2} [0-9 ]{1,3} [0-9:]{1,10}", fullmatch=True))
def test_any_text_gives_a_date_or_none(text: str) -> None:
    """Nothing that stands in brackets can raise."""
    found = parse_stamp(text, BERLIN, NOW)
    assert found is None or found.tzinfo is UTC
