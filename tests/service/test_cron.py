"""Crontab lines mean what cron(8) says, not what APScheduler's own reading of them says."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from redirectd.config.values import parse_cron
from redirectd.service.schedule import CrontabTrigger

BERLIN = ZoneInfo("Europe/Berlin")
WEDNESDAY = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)


def fires(line: str, count: int, *, start: datetime = WEDNESDAY, zone: ZoneInfo | None = None) -> list[datetime]:
    """The next `count` times after `start`, in `zone`."""
    trigger = CrontabTrigger(parse_cron(line), zone or ZoneInfo("UTC"))
    times: list[datetime] = []
    now, previous = start, None
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, now)
        assert previous is not None
        times.append(previous)
        # By way of UTC: adding to a local time forgets which of two equal hours it was in.
        now = (previous.astimezone(UTC) + timedelta(microseconds=1)).astimezone(previous.tzinfo)
    return times


def days(line: str, count: int) -> list[str]:
    """The weekdays of the next times."""
    return [time.strftime("%a") for time in fires(line, count)]


def test_the_pitfall_is_real() -> None:
    """APScheduler's own reading of weekday 0 is Monday: the reason for reading crontab lines ourselves."""
    theirs = CronTrigger.from_crontab("0 2 * * 0", timezone=UTC).get_next_fire_time(None, WEDNESDAY)
    assert theirs.strftime("%a") == "Mon"


@pytest.mark.parametrize("line", ["0 2 * * 0", "0 2 * * 7", "0 2 * * sun", "0 2 * * SUN", "0 2 * * 0,7"])
def test_sunday_by_every_name(line: str) -> None:
    """0, 7 and sun are Sunday, and Sunday comes once a week."""
    assert days(line, 3) == ["Sun", "Sun", "Sun"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 2 * * 1-5", ["Thu", "Fri", "Mon", "Tue", "Wed"]),
        ("0 2 * * mon-fri", ["Thu", "Fri", "Mon", "Tue", "Wed"]),
        ("0 2 * * 5-7", ["Fri", "Sat", "Sun", "Fri"]),
        ("0 2 * * 6,0", ["Sat", "Sun", "Sat"]),
        ("0 2 * * */2", ["Thu", "Sat", "Sun", "Tue", "Thu"]),
        ("0 2 * * 1-5/2", ["Fri", "Mon", "Wed", "Fri"]),
    ],
)
def test_weekday_ranges_lists_and_steps(line: str, expected: list[str]) -> None:
    """Ranges up to 7, lists and steps count from Sunday as 0."""
    assert days(line, len(expected)) == expected


def test_day_of_month_or_day_of_week() -> None:
    """Where both days are restricted, either is enough, as in cron: the 1st and every Monday."""
    dates = [time.strftime("%a %d") for time in fires("0 2 1 * 1", 4)]
    assert dates == ["Mon 23", "Mon 30", "Tue 01", "Mon 07"]


def test_a_star_with_step_does_not_restrict() -> None:
    """A day field that begins with * leaves the other in charge: cron then wants both."""
    assert [time.day for time in fires("0 2 */2 * mon", 3)] == [23, 7, 21]


@pytest.mark.parametrize(
    "line",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *",
     "5-1 * * * *", "a * * * *", "-1 * * * *", "1- * * * *", ", * * * *", "* * * * first", "0 0 30 2 *",
     "0 0 31 4,6 *"],
)  # fmt: skip
def test_nonsense_is_refused(line: str) -> None:
    """What cron would not take, or what would never fire, is refused with a reason."""
    with pytest.raises(ValueError, match=r"."):
        parse_cron(line)


def test_29_february_is_a_date() -> None:
    """The next leap year is found."""
    assert fires("0 0 29 2 *", 1)[0].year == 2028


_FIELD = st.text("0123456789*/,-", min_size=1, max_size=5)


@given(st.one_of(st.text(), st.lists(_FIELD, min_size=5, max_size=5).map(" ".join)))
def test_any_text_is_read_or_refused(line: str) -> None:
    """Whatever stands in the configuration gives a schedule with a next time, or a ValueError."""
    try:
        crontab = parse_cron(line)
    except ValueError:
        return
    assert CrontabTrigger(crontab, ZoneInfo("UTC")).get_next_fire_time(None, WEDNESDAY) is not None


def test_a_time_the_clock_leaves_out_comes_after_the_gap() -> None:
    """02:30 does not exist on 29 March 2026 in Berlin: the run comes at 03:00, and the day after at 02:30 again."""
    before = datetime(2026, 3, 28, 12, 0, tzinfo=BERLIN)
    shown = [time.isoformat() for time in fires("30 2 * * *", 2, start=before, zone=BERLIN)]
    assert shown == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]


def test_a_time_the_clock_repeats_comes_once() -> None:
    """02:30 comes twice on 25 October 2026 in Berlin, and the run once."""
    before = datetime(2026, 10, 24, 12, 0, tzinfo=BERLIN)
    shown = [time.isoformat() for time in fires("30 2 * * *", 2, start=before, zone=BERLIN)]
    assert shown == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]


def test_every_five_minutes_goes_on_through_both_folds() -> None:
    """In the night the clock goes back, no five minutes are left out or doubled."""
    before = datetime(2026, 10, 24, 23, 58, tzinfo=UTC)
    times = fires("*/5 * * * *", 40, start=before, zone=BERLIN)
    steps = {later.astimezone(UTC) - earlier.astimezone(UTC) for earlier, later in itertools.pairwise(times)}
    assert steps == {timedelta(minutes=5)}


def test_every_five_minutes_goes_on_through_the_gap() -> None:
    """In the night the clock goes forward, no five minutes are left out."""
    before = datetime(2026, 3, 28, 23, 58, tzinfo=UTC)
    times = fires("*/5 * * * *", 40, start=before, zone=BERLIN)
    steps = {later.astimezone(UTC) - earlier.astimezone(UTC) for earlier, later in itertools.pairwise(times)}
    assert steps == {timedelta(minutes=5)}


def test_jitter_delays_and_never_hastens() -> None:
    """A run with jitter comes at its time or up to so much later."""
    trigger = CrontabTrigger(parse_cron("0 * * * *"), ZoneInfo("UTC"), jitter_seconds=60)
    hour = datetime(2026, 11, 18, 13, 0, tzinfo=UTC)
    for _ in range(50):
        time = trigger.get_next_fire_time(None, WEDNESDAY + timedelta(seconds=1))
        assert time is not None
        assert hour <= time <= hour + timedelta(seconds=60)
