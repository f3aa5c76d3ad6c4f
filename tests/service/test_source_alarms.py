"""What a reader's thread reports of its source: once when it begins, not at each look."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from threading import Event
from typing import Any

from structlog.testing import capture_logs

from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.errors import RedirectdError
from redirectd.service.collector import CollectStep, Pinned
from redirectd.service.source_threads import SourceThread
from redirectd.service.watchdog import Heartbeats


class Script:
    """A feed that gives these steps, then waits."""

    def __init__(self, *steps: CollectStep, conflict: str = "") -> None:
        self._steps = list(steps)
        self._pinned = Pinned(Reading("log", (), UTC, Policy(), family="asterisk"), None, None)
        self._pinned.conflict = conflict
        self._interrupted = Event()
        self.over = Event()

    def pump(self) -> CollectStep:
        """The next step."""
        if self._steps:
            return self._steps.pop(0)
        self.over.set()
        return CollectStep(more=False)

    def wait(self, seconds: float) -> None:
        """Until the end."""
        self._interrupted.wait(seconds)

    def interrupt(self) -> None:
        """Ends the wait."""
        self._interrupted.set()

    def trouble(self) -> RedirectdError | None:
        """None."""
        return None

    def lag_bytes(self) -> int | None:
        """Not known."""
        return None

    def losses(self) -> Mapping[str, int]:
        """None."""
        return {}

    def pinned(self) -> Pinned:
        """As given."""
        return self._pinned

    def close(self) -> None:
        """Nothing to let go of."""


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
