"""The service logs each event once, also after it was killed, and notices sources that go down."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from redirectd.service import announcer
from redirectd.store import event_log
from redirectd.store.database import Database
from redirectd.store.event_log import EventKind, LoggedEvent, NewEvent
from redirectd.store.migrate import upgrade
from tests.service.service import ROOT, Service, until


def events(service: Service, *words: str) -> list[dict[str, Any]]:
    """What `redirectd events` shows."""
    command = [sys.executable, "-m", "redirectd", "--config", str(service.config), "events", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return found


def logged(service: Service) -> list[int]:
    """The cursors of all events that were logged, in their order."""
    records = [json.loads(line) for line in service.stderr().splitlines() if line.startswith("{")]
    return [record["cursor"] for record in records if "cursor" in record]


def test_each_event_is_logged_once_also_after_kills(tmp_path: Path, corpus: Path) -> None:
    """What is learnt is one record each, in its order; one that was killed logs the rest when it is back.

    What it was logging when it was killed comes again, with the same cursor, and nothing else does.
    """
    service = Service(tmp_path)
    log = (corpus / "kamailio/snippet-all-cases.log").read_bytes()
    half = log[: log.rindex(b"\n", 0, len(log) // 2) + 1]
    service.log.write_bytes(half)
    with service:
        until(lambda: service.records("remap_pending"), "the first half is logged")
        service.signal(signal.SIGKILL)
    service.log.write_bytes(log)
    with service:
        service.until_status(lambda status: not status["sources"][0]["lag_bytes"], "all is read")
        until(lambda: set(logged(service)) == {one["cursor"] for one in events(service)}, "all is logged")
        assert service.stop() == 0
    found = logged(service)
    again = next((place for place in range(1, len(found)) if found[place] <= found[place - 1]), len(found))
    assert found[:again] == sorted(set(found[:again]))
    assert found[again:] == sorted(set(found[again:]))
    pending = [one for one in events(service) if one["kind"] == "pending"]
    assert len({one["id"] for one in pending}) == len(pending) > 1
    first = service.records("remap_pending")[0]
    assert first["level"] == "info"
    assert re.match(r"sips?:", first["old_uri"])


def test_a_source_that_goes_down_and_comes_back(tmp_path: Path) -> None:
    """A log that is not there is one event and one warning, over a restart too, and so is its coming."""
    service = Service(tmp_path)
    service.configure(sources=("full", "away"))
    service.log.touch()
    with service:
        until(lambda: service.records("source_down"), "it is noticed")
        assert service.stop() == 0
    with service:
        service.until_notified("READY", times=2)
        (tmp_path / "away.log").touch()
        until(lambda: service.records("source_up"), "its coming is noticed")
        assert service.stop() == 0
    assert [(one["kind"], one["source"]) for one in events(service)] == [("source-down", "away"), ("source-up", "away")]
    down = service.records("source_down")
    assert [one["level"] for one in down] == ["warning"]
    assert "away.log" in down[0]["reason"] + down[0]["what_to_do"]


def test_what_was_found_before_a_kill_is_logged_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is killed over its first event leaves it to the next, which began after the event came."""

    database = Database(f"sqlite:///{tmp_path / 'redirectd.db'}")
    upgrade(database)

    def killed(_: LoggedEvent) -> None:
        raise SystemExit

    def service() -> announcer.Announcer:
        return announcer.Announcer(lambda: database, "n", list)

    first = service()
    found = NewEvent(kind=EventKind.LOSS, at=datetime.now(UTC), node="n", source="full", detail={})
    with database.begin() as connection:
        event_log.emit(connection, [found])
    monkeypatch.setattr(announcer, "log_event", killed)
    with pytest.raises(SystemExit):
        first.turn(datetime.now(UTC))
    logged: list[LoggedEvent] = []
    monkeypatch.setattr(announcer, "log_event", logged.append)
    service().turn(datetime.now(UTC))
    assert [one.kind for one in logged] == [EventKind.LOSS]
    database.close()
