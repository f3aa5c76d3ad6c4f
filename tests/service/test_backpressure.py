"""How long a reader waits for a database that is away, and how often it says so."""

from __future__ import annotations

from redirectd.service.backpressure import Backoff, Outage


def test_delays_double_up_to_a_bound_and_begin_anew() -> None:
    """A short trouble costs little, a long one does not hammer the database."""
    backoff = Backoff(first=0.2, longest=3.0)
    assert [backoff.delay() for _ in range(6)] == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
    backoff.reset()
    assert backoff.delay() == 0.2


def test_an_outage_is_told_at_once_and_then_every_five_minutes() -> None:
    """Thousands of attempts make a handful of log lines."""
    outage = Outage()
    told = [second for second in range(1000) if outage.failed(float(second))]
    assert told == [0, 300, 600, 900]
    assert outage.attempts == 1000


def test_the_end_says_how_long_it_took_once() -> None:
    """The end of an outage is reported with its length, and only if there was one."""
    outage = Outage()
    assert outage.over(5.0) is None
    outage.failed(10.0)
    outage.failed(11.0)
    assert outage.over(42.0) == 32.0
    assert outage.over(43.0) is None
    assert outage.failed(50.0), "the next one is told at once"
