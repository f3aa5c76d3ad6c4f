"""The service as systemd runs it: a real process, real signals, real logs, a real database."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from redirectd.config.load import load
from redirectd.service.control import ask
from redirectd.service.start import status_document
from redirectd.store.database import Database
from tests.service.service import Service, source, until

ASTERISK = "asterisk/ast22-pjsip.full.log"
LATER = "asterisk/ast16-pjsip-and-chan_sip.full.log"
KAMAILIO = "kamailio/snippet-all-cases.log"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_reads_what_was_there_and_what_comes(folder: Path, corpus: Path) -> None:
    """READY is told, the log as it stands is read, and what is appended later too, without a restart."""
    service = Service(folder)
    shutil.copy(corpus / ASTERISK, service.log)
    with service:
        service.until_notified("READY")
        service.until_status(lambda status: source(status)["sightings"] > 0, "the log is read")
        first = service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it is stored")
        with service.log.open("ab") as log:
            log.write((corpus / LATER).read_bytes())
        service.until_status(
            lambda status: source(status)["sightings"] > source(first)["sightings"], "what was appended is read"
        )
        assert service.stop() == 0
    assert service.notifications()[-1]["STOPPING"] == "1"
    assert not service.status_socket.exists()


def test_receives_hep(folder: Path, corpus: Path) -> None:
    """HEPv3 datagrams from a capture agent become sightings like the lines of a log."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = Service(folder)
    service.configure(f'[[source]]\nname = "hep"\nkind = "hep"\nlisten = "127.0.0.1:{port}"\n', sources=())
    with service, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        service.until_status(lambda status: source(status, "hep")["state"] == "reading", "it listens")
        captured = (corpus / "kamailio/siptrace-hep3.raw").read_bytes()
        while captured:
            size = int.from_bytes(captured[:4], "big")
            agent.sendto(captured[4 : 4 + size], ("127.0.0.1", port))
            captured = captured[4 + size :]
        service.until_status(lambda status: source(status, "hep")["sightings"] > 0, "it is read")
        assert service.stop() == 0


def test_each_183_is_one_record_at_info_and_nothing_else(folder: Path, corpus: Path) -> None:
    """R3: one session_progress record for each 183, with what a person needs; no remap comes of it."""
    service = Service(folder)
    shutil.copy(corpus / ASTERISK, service.log)
    with service:
        service.until_status(lambda status: source(status)["session_progress"] > 0, "183s are read")
        counted = source(service.until_status(lambda status: not status["daemon"]["silent"], "status"))
        service.stop()
    records = service.records("session_progress")
    assert len(records) == counted["session_progress"]
    assert {record["level"] for record in records} == {"info"}
    for field in ("request_uri", "call_id", "peer", "sdp", "media", "reliable", "source"):
        assert field in records[0]


def test_goes_on_after_a_kill_without_counting_twice(folder: Path, corpus: Path) -> None:
    """SIGKILL and a new start: the remaps and their calls are the same as after one reading."""
    service = Service(folder)
    shutil.copy(corpus / ASTERISK, service.log)
    with service:
        service.until_status(lambda status: source(status)["sightings"] > 0, "the log is read")
        service.signal(signal.SIGKILL)
        service.process.wait()
    calls = _calls(folder)
    assert calls
    with service:
        service.until_status(lambda status: source(status)["last_read"], "it looked at the log again")
        service.stop()
    assert _calls(folder) == calls


def _calls(folder: Path) -> list[tuple[str, int]]:
    with sqlite3.connect(folder / "redirectd.db") as database:
        return database.execute("SELECT old_uri, calls FROM remap ORDER BY id").fetchall()


def test_reload_with_a_good_configuration(folder: Path, corpus: Path) -> None:
    """SIGHUP: RELOADING with the time, then READY; the new source is read, the old reader is left alone."""
    service = Service(folder)
    shutil.copy(corpus / ASTERISK, service.log)
    shutil.copy(corpus / KAMAILIO, folder / "more.log")
    with service:
        service.until_notified("READY")
        before = service.until_status(lambda status: source(status)["sightings"] > 0, "the log is read")
        service.configure(sources=("full", "more"))
        asked_at = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        service.signal(signal.SIGHUP)
        reloading = service.until_notified("RELOADING")
        assert int(reloading["MONOTONIC_USEC"]) >= asked_at
        service.until_notified("READY", times=2)
        after = service.until_status(lambda status: source(status, "more")["sightings"] > 0, "the new log is read")
        assert source(after)["sightings"] == source(before)["sightings"]
        service.configure(sources=("more",))
        service.signal(signal.SIGHUP)
        service.until_notified("READY", times=3)
        left = service.until_status(lambda status: len(status["sources"]) == 1, "the first source is gone")
        assert left["sources"][0]["name"] == "more"
        assert service.stop() == 0


def test_reload_with_a_bad_configuration_keeps_the_old_one(folder: Path, corpus: Path) -> None:
    """Every fault is logged, the status says so, reading goes on, and a good one afterwards clears it."""
    service = Service(folder)
    service.log.touch()
    with service:
        service.until_notified("READY")
        service.configure('[nonsense]\na = 1\n[limits]\nmax_changes = "many"\n')
        service.signal(signal.SIGHUP)
        service.until_notified("READY", times=2)
        refused = service.until_status(lambda status: status["daemon"]["configuration_error"], "the refusal is shown")
        assert [src["name"] for src in refused["sources"]] == ["full"]
        wheres = " ".join(record["where"] for record in service.records("reload_refused"))
        assert "nonsense" in wheres
        assert "limits.max_changes" in wheres
        shutil.copy(corpus / ASTERISK, service.log)
        service.until_status(lambda status: source(status)["sightings"] > 0, "reading goes on")
        assert "refused" in service.notifications()[-1].get("STATUS", "")
        service.configure()
        service.signal(signal.SIGHUP)
        service.until_notified("READY", times=3)
        service.until_status(lambda status: status["daemon"]["configuration_error"] is None, "cleared")
        service.stop()


def test_a_log_that_is_not_there_yet_is_waited_for(folder: Path, corpus: Path) -> None:
    """The missing log is named in the status text with its reason; once it is there it is read."""
    service = Service(folder)
    with service:
        waiting = service.until_status(lambda status: source(status)["state"] == "waiting", "it waits")
        assert "full.log" in source(waiting)["error"]
        shutil.copy(corpus / ASTERISK, service.log)
        service.until_status(lambda status: source(status)["sightings"] > 0, "it is read")
        service.stop()


def test_a_locked_database_stops_the_reading_not_the_service(folder: Path, corpus: Path) -> None:
    """While another process holds it nothing is lost: the watchdog is fed, the trouble told, then reading goes on."""
    service = Service(folder, watchdog=40.0)
    service.log.touch()
    with service:
        service.until_status(lambda status: source(status)["state"] == "reading", "it reads")
        holder = sqlite3.connect(folder / "redirectd.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        shutil.copy(corpus / ASTERISK, service.log)
        blocked = until(
            lambda: next((m for m in service.notifications() if "blocked" in m.get("STATUS", "")), None),
            "the trouble is reported",
        )
        assert "locked" in blocked["STATUS"]
        fed = sum("WATCHDOG" in message for message in service.notifications())
        service.until_notified("WATCHDOG", times=fed + 1)
        holder.rollback()
        holder.close()
        status = service.until_status(lambda status: source(status)["sightings"] > 0, "it caught up")
        assert source(status)["store_failures"] > 0
        service.stop()
    assert len(service.records("database_unavailable")) == 1, "said once, not at each attempt"
    assert len(service.records("database_back")) == 1


def test_a_second_service_on_the_same_socket_is_refused(folder: Path) -> None:
    """Two daemons of one configuration would fight over the same position: the second ends and says why."""
    service = Service(folder)
    with service:
        service.until_notified("READY")
        (folder / "second").mkdir()
        command = [sys.executable, "-m", "redirectd", "--config", str(service.config), "run"]
        second = Service(folder / "second", command=command)
        with second:
            assert second.process.wait(60) == 3
        assert "another redirectd" in second.stderr()
        assert ask(service.status_socket) is not None
        service.stop()


def test_status_without_a_daemon_comes_from_the_database(folder: Path, corpus: Path) -> None:
    """When nobody answers, remaps, losses and nodes are shown all the same."""
    service = Service(folder)
    shutil.copy(corpus / ASTERISK, service.log)
    with service:
        service.until_status(lambda status: source(status)["sightings"] > 0, "the log is read")
        alive = service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it is stored")
        service.stop()
    url = f"sqlite:///{folder / 'redirectd.db'}"
    down = status_document(lambda: load(service.config), lambda: Database(url), service.config)
    assert down["daemon"] == {"running": False, "node": "test"}
    assert down["remaps"] == alive["remaps"]
    assert down["nodes"][0]["node"] == "test"


def test_status_with_neither_says_what_is_wrong(folder: Path) -> None:
    """No daemon and no database: the document still comes, with the reason and what to do."""
    service = Service(folder)
    url = f"sqlite:///{folder / 'none' / 'redirectd.db'}"
    document = status_document(lambda: load(service.config), lambda: Database(url), service.config)
    assert document["database"]["ok"] is False
    assert document["database"]["what_to_do"]
    assert document["remaps"] is None


BROKEN = ["[limits]\nmax_changes = 'many'\n[nonsense]\n", "[[[\n"]


@pytest.mark.parametrize("breakage", BROKEN, ids=["faulty", "no-toml"])
def test_status_shows_a_refused_reload_while_the_file_is_broken(folder: Path, breakage: str) -> None:
    """The daemon is asked by the socket the broken file names; both the refusal and the file's faults are told."""
    service = Service(folder)
    command = [sys.executable, "-m", "redirectd", "--config", str(service.config), "status"]
    with service:
        service.until_notified("READY")
        service.configure(breakage)
        service.signal(signal.SIGHUP)
        service.until_status(lambda status: status["daemon"]["configuration_error"], "the refusal is known")
        shown = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
        assert shown["daemon"]["running"]
        assert shown["daemon"]["configuration_error"]
        assert all(str(service.config) in fault["where"] for fault in shown["configuration_faults"])
        assert len(shown["configuration_faults"]) == (2 if "limits" in breakage else 1)
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "a newer configuration was refused" in told
        assert "fix it, then 'systemctl reload redirectd'" in told
        service.stop()
    down = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (down.returncode, down.stdout) == (2, ""), "nobody answers, and where the database is nobody knows"


def test_metrics_file_is_written_and_readable(folder: Path) -> None:
    """The textfile appears by itself and is readable for node_exporter."""
    service = Service(folder)
    service.config.write_text(service.config.read_text().replace("[daemon]\n", '[daemon]\nmetrics_file = "m.prom"\n'))
    with service:
        until((folder / "m.prom").exists, "the file is written")
        service.stop()
    assert "redirectd_database_up 1" in (folder / "m.prom").read_text()
    assert stat.S_IMODE((folder / "m.prom").stat().st_mode) == 0o644


def test_does_not_spin_while_nothing_happens(folder: Path) -> None:
    """Asleep, the threads are woken by the watchdog's turn alone: a handful of times, not hundreds."""
    service = Service(folder)
    service.log.touch()
    with service:
        service.until_status(lambda status: source(status)["state"] == "reading", "it reads")
        time.sleep(1)
        before = _switches(service.process.pid)
        time.sleep(5)
        assert _switches(service.process.pid) - before < 50
        service.stop()


def _switches(pid: int) -> int:
    """How often its threads went to sleep."""
    lines = [
        line
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    ]
    return sum(int(line.split()[1]) for line in lines)


def test_log_stream_that_takes_nothing(folder: Path, corpus: Path) -> None:
    """A service whose log is on a full disk reads, answers and stops as any other."""
    words = [sys.executable, "-m", "redirectd", "--config", str(folder / "redirectd.toml"), "run"]
    service = Service(folder, command=["sh", "-c", 'exec "$@" 2>/dev/full', "sh", *words])
    shutil.copy(corpus / ASTERISK, service.log)
    with service:
        service.until_status(lambda status: source(status)["sightings"] > 0, "the log is read")
        service.until_status(lambda status: (status["remaps"] or {}).get("pending"), "it is stored")
        assert service.stop() == 0
