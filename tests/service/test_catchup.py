"""The progress of a large backlog."""

from __future__ import annotations

from redirectd.service.backpressure import LARGE, CatchUp, Progress


def test_a_backlog_is_told_now_and_then_and_at_its_end() -> None:
    """Every two seconds with what is done, left and to be waited for; the end is told once, and then nothing."""
    catching_up = CatchUp(every=2.0)
    total, step = 10 * LARGE, LARGE // 4
    told = []
    for second, read in enumerate(range(0, total + step, step)):
        told.append(catching_up.note(total - read, step if second else 0, second / 2))
    said = [one for one in told if one is not None]
    assert told[:4] == [None] * 4
    assert told[4] == Progress(read=LARGE, left=9 * LARGE, percent=10, seconds_left=18)
    assert [one.percent for one in said] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 92]
    assert said[-1].left < LARGE
    assert told[-3:] == [None] * 3


def test_what_takes_no_time_is_not_told() -> None:
    """A small lag, one that is not known, and a large one that is gone before it is worth a word."""
    catching_up = CatchUp(every=2.0)
    assert catching_up.note(None, 0, 0.0) is None
    assert catching_up.note(LARGE - 1, 5, 1.0) is None
    assert catching_up.note(LARGE * 2, 5, 2.0) is None
    assert catching_up.note(0, LARGE * 2, 3.0) is None
    assert catching_up.note(0, 0, 9.0) is None


def test_a_log_that_grows_as_fast_as_it_is_read_is_told_all_the_same() -> None:
    """The part that is done counts what was read, however much comes in addition."""
    catching_up = CatchUp(every=2.0)
    assert catching_up.note(LARGE, 0, 0.0) is None
    assert catching_up.note(LARGE, LARGE, 3.0) == Progress(LARGE, LARGE, 50, 3)
