"""What a reader's thread reports of its source: once when it begins, not at each look."""

from __future__ import annotations

from threading import Event
from typing import Any

from structlog.testing import capture_logs

from redirectd.service.collector import CollectStep
from redirectd.service.source_threads import SourceThread
from redirectd.service.watchdog import Heartbeats
from tests.service.rigged_service import IdleFeed


class Script(IdleFeed):
    """A feed that gives these steps, then waits."""

    def __init__(self, *steps: CollectStep, conflict: str = "") -> None:
        super().__init__("log", family="asterisk")
        self._steps = list(steps)
        self._pinned.conflict = conflict
        self.over = Event()

    def pump(self) -> CollectStep:
        """The next step."""
        if self._steps:
            return self._steps.pop(0)
        self.over.set()
        return super().pump()


def run(feed: Script) -> tuple[list[Any], SourceThread]:
    """The log records of a thread that has gone through the feed's steps, and the thread, which has ended."""
    with capture_logs() as logs:
        thread = SourceThread("log", lambda: feed, Heartbeats(), 5.0, lambda: None)
        thread.start()
        assert feed.over.wait(60)
        thread.ask_to_stop()
        assert thread.join(60)
    return list(logs), thread


def test_r46_an_alarm_names_the_reasons_once() -> None:
    """R46: sightings over a budget are one structured record at level error, however many steps bring more."""
    steps = [CollectStep(more=True, over_budget={f"over 200 new remaps in an hour from {n}": n + 1}) for n in range(3)]
    logs, _ = run(Script(CollectStep(more=True), *steps))
    [alarm] = [one for one in logs if one["event"] == "remaps_over_budget"]
    assert (alarm["log_level"], alarm["source"], alarm["sightings"]) == ("error", "log", 1)
    assert alarm["why"] == ["over 200 new remaps in an hour from 0"]
    assert "policy.new_remaps_per_peer" in alarm["what_to_do"]


def test_another_family_is_reported_once() -> None:
    """R38: entries of another family than the source is read as are one record, and in the report that status shows."""
    logs, thread = run(Script(CollectStep(more=True), CollectStep(more=True), conflict="kamailio"))
    [found] = [one for one in logs if one["event"] == "other_format"]
    assert (found["read_as"], found["holds"]) == ("asterisk", "kamailio")
    assert (thread.report().family, thread.report().conflict) == ("asterisk", "kamailio")
