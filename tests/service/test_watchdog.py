"""What the watchdog hears when a thread hangs, dies or waits for the database. systemd is played by the test."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.bench.hostile_logs import text
from tests.dialects.logfiles import LOGS
from tests.service.service import Service, source, until


def rigged(folder: Path) -> Service:
    """A service whose source `rigged` obeys files in its folder; a watchdog turn is half a second."""
    return Service(folder, watchdog=2.0, command=[sys.executable, "-m", "tests.service.rigged_service", str(folder)])


def test_a_stuck_reader_stops_the_feeding(tmp_path: Path) -> None:
    """One hung reader is enough: no WATCHDOG any more, the log and the status name it; systemd would now kill."""
    service = rigged(tmp_path)
    service.log.touch()
    with service:
        service.until_notified("WATCHDOG", times=3)
        (tmp_path / "stuck").touch()
        stuck = service.until_status(lambda status: status["daemon"]["silent"], "it is noticed")
        assert stuck["daemon"]["silent"] == ["reader rigged"], "the other reader and the scheduler go on"
        service.notifications().clear()
        time.sleep(2.5)
        assert not any("WATCHDOG" in message for message in service.notifications())
        (tmp_path / "stuck").unlink()
        service.until_notified("WATCHDOG")
        assert service.stop() == 0
    (record,) = service.records("no_progress")
    assert record["silent"] == ["reader rigged"]


def test_a_broken_reader_is_begun_anew_and_shown(tmp_path: Path) -> None:
    """An exception ends neither the service nor the other readers; attempts are spaced, counted and logged."""
    service = rigged(tmp_path)
    service.log.touch()
    with service:
        service.until_notified("READY")
        (tmp_path / "broken").touch()
        broken = service.until_status(lambda status: source(status, "rigged")["restarts"] >= 3, "it tries again")
        assert source(broken, "rigged")["state"] == "failed"
        assert "a defect in a dialect" in source(broken, "rigged")["error"]
        assert source(broken)["state"] == "reading"
        fed = len([message for message in service.notifications() if "WATCHDOG" in message])
        service.until_notified("WATCHDOG", times=fed + 1)
        (tmp_path / "broken").unlink()
        service.until_status(lambda status: source(status, "rigged")["state"] == "reading", "it is well again")
        assert service.stop() == 0
    assert "a defect in a dialect" in service.records("reader_failed")[0]["exception"]


def test_waiting_for_the_database_is_no_hang(tmp_path: Path) -> None:
    """A database that is away keeps the watchdog fed, is told in the status text, and the reading goes on after it."""
    service = rigged(tmp_path)
    service.log.touch()
    with service:
        service.until_notified("READY")
        (tmp_path / "gone").touch()
        until(
            lambda: [m for m in service.notifications() if "the server closed the connection" in m.get("STATUS", "")],
            "the status text tells",
        )
        fed = len([message for message in service.notifications() if "WATCHDOG" in message])
        service.until_notified("WATCHDOG", times=fed + 3)
        (tmp_path / "gone").unlink()
        service.until_status(lambda status: source(status, "rigged")["state"] == "reading", "it is well again")
        assert service.stop() == 0
    assert len(service.records("database_unavailable")) == 1
    assert len(service.records("database_back")) == 1


def test_a_stuck_reader_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    """SIGTERM ends the process although a reader hangs; the record says which."""
    service = rigged(tmp_path)
    service.log.touch()
    with service:
        service.until_notified("WATCHDOG")
        (tmp_path / "stuck").touch()
        service.until_status(lambda status: status["daemon"]["silent"], "it hangs")
        assert service.stop() == 0
    assert [record["source"] for record in service.records("reader_hangs")] == ["rigged"]


HOSTILE = ("heads without messages", "thousands of answers in a line", "lengths that lie", "nested JSON")


def test_no_text_of_a_log_keeps_watchdog_or_stop_waiting(tmp_path: Path) -> None:
    """Text made to cost much is read in short steps: each turn hears every reader, and SIGTERM ends them midway."""
    service = Service(tmp_path, watchdog=24.0)
    names = [f"log{number}" for number, _ in enumerate(HOSTILE)]
    service.configure(sources=tuple(names))
    for name, kind in zip(names, HOSTILE, strict=True):
        (tmp_path / f"{name}.log").write_bytes(text(kind, LOGS["asterisk-pjsip"][0], 6 << 20))
    with service:
        service.until_status(lambda one: all(source(one, name)["lag_bytes"] for name in names), "they are read")
        service.until_notified("WATCHDOG", times=2)
        assert not ask_silent(service)
        assert service.stop() == 0
    assert not service.records("reader_hangs")


def ask_silent(service: Service) -> list[str]:
    """Who has been silent for a turn, as the status says."""
    silent: list[str] = service.until_status(lambda one: "silent" in one["daemon"], "it answers")["daemon"]["silent"]
    return silent


@pytest.mark.parametrize("kind", ["FIFO", "device", "directory"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A FIFO, a device or a directory as a source is named with the reason, and holds up neither others nor a stop."""
    service = Service(tmp_path)
    service.configure(sources=("full", "odd"))
    service.log.touch()
    odd = tmp_path / "odd.log"
    if kind == "FIFO":
        os.mkfifo(odd)
    elif kind == "directory":
        odd.mkdir()
    else:
        odd.symlink_to("/dev/zero")
    with service:
        status = service.until_status(lambda one: source(one, "odd")["error"], "it is refused")
        assert "regular" in source(status, "odd")["error"]
        service.until_status(lambda one: source(one)["state"] == "reading", "the other source is read")
        assert service.stop() == 0
    assert not service.records("reader_hangs")
