"""The watchdog is fed only when everybody has made progress."""

from __future__ import annotations

from redirectd.service.watchdog import Heartbeats


def test_all_must_beat_between_two_takes() -> None:
    """One silent reader is named each time, until it beats."""
    beats = Heartbeats()
    beats.expect("reader a")
    beats.expect("scheduler")
    beats.beat("scheduler")
    assert beats.take() == ("reader a",)
    beats.beat("reader a")
    assert beats.take() == ()
    assert beats.take() == ("reader a", "scheduler")


def test_a_slow_beater_is_waited_for_not_punished() -> None:
    """What others beat while one was silent still counts: the take after the late beat is well."""
    beats = Heartbeats()
    beats.expect("a")
    beats.expect("b")
    beats.beat("a")
    assert beats.take() == ("b",)
    beats.beat("b")
    assert beats.take() == ()


def test_who_ended_is_not_waited_for() -> None:
    """A source taken out of the configuration does not starve the watchdog, nor does a late beat bring it back."""
    beats = Heartbeats()
    beats.expect("a")
    beats.forget("a")
    beats.beat("a")
    assert beats.take() == ()
