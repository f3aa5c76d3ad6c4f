"""The service under a real systemd: starting, reloading, crashing, hanging, stopping."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.systemd.machine import Machine
from tests.systemd.usual import GOOD, LOG, configure, drop_in, read_whole, sightings, start, status

pytestmark = [pytest.mark.peer("systemd"), pytest.mark.xdist_group("systemd")]


def test_starts_reads_and_stops(machine: Machine, corpus: Path) -> None:
    """Ready as systemd knows it, with its own user; a log of group adm is read; stopped within seconds, cleanly."""
    start(machine)
    pid = machine.show("redirectd", "MainPID")
    uid = int(machine.run("id", "-u", "redirectd").stdout)
    uids = next(
        line for line in machine.path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:")
    )
    assert set(uids.split()[1:]) == {str(uid)}
    machine.path(LOG).write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())
    machine.until(lambda: sightings(machine) > 0, "the log is read")
    assert "reading 1 of 1 sources" in machine.show("redirectd", "StatusText")
    shown = json.loads(machine.run("redirectd", "status", "--json").stdout)
    assert shown["daemon"]["pid"] > 0
    stop_cleanly(machine)


def stop_cleanly(machine: Machine) -> None:
    """Stops by itself within the unit's half minute: systemd would kill it after that, and call it a failure."""
    machine.run("systemctl", "stop", "redirectd")
    said = machine.journal().rpartition("Stopping redirectd.service")[2]
    assert "Killing process" not in said
    assert '"event": "stopped"' in said
    assert machine.show("redirectd", "Result") == "success"
    assert machine.show("redirectd", "ActiveState") == "inactive"
    assert machine.show("redirectd", "TimeoutStopUSec") == "30s"


def test_stops_cleanly_in_the_middle_of_reading(machine: Machine, corpus: Path) -> None:
    """A log of many megabytes that has just begun to be read delays the end by no more than one transaction."""
    text = (corpus / "kamailio/snippet-all-cases.log").read_bytes()
    with machine.path(LOG).open("ab") as log:
        for number in range(2000):
            log.write(text.replace(b"ci=", b"ci=%d-" % number))
    start(machine)
    machine.until(lambda: sightings(machine) > 0, "it is reading")
    stop_cleanly(machine)


def test_stops_cleanly_while_the_database_is_locked(machine: Machine, corpus: Path) -> None:
    """Another process holds the database: the service gives up the wait for it and ends in time."""
    machine.path(LOG).unlink(missing_ok=True)  # what another test left would be read before the database is held
    start(machine)
    code = (
        "import sqlite3, sys, time; c = sqlite3.connect('/var/lib/redirectd/redirectd.db', isolation_level=None); "
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(600)"
    )
    environ = "--setenv=LD_LIBRARY_PATH=/opt/redirectd/python/lib"
    python = "/opt/redirectd/python/bin/python3"
    machine.run("systemd-run", "--unit=holder", "--uid=redirectd", environ, python, "-c", code)
    try:
        machine.until(lambda: "held" in machine.journal("holder"), "the database is held")
        machine.path(LOG).write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())
        machine.until(lambda: status(machine)["sources"][0]["state"] == "blocked", "it waits for the database")
        stop_cleanly(machine)
    finally:
        machine.run("systemctl", "stop", "holder")


def test_reload_with_a_good_and_a_bad_configuration(machine: Machine, corpus: Path) -> None:
    """systemctl reload: the good one is taken; the bad one is told fault by fault, and the old one works on."""
    start(machine)
    pid = machine.show("redirectd", "MainPID")
    second = "/var/log/second.log"
    shutil.copy(corpus / "kamailio/snippet-all-cases.log", machine.path(second))
    machine.run("chmod", "644", second)
    configure(machine, f'{GOOD}\n[[source]]\nname = "second"\npath = "{second}"\n')
    machine.run("systemctl", "reload", "redirectd")
    machine.until(lambda: sightings(machine) > 0, "the new source is read")
    configure(machine, "[nonsense]\n[limits]\nmax_changes = 'many'\n")
    machine.run("systemctl", "reload", "redirectd")
    machine.until(lambda: "max_changes" in machine.journal() and "nonsense" in machine.journal(), "faults are told")
    assert machine.show("redirectd", "MainPID") == pid
    assert machine.show("redirectd", "ActiveState") == "active"
    assert len(status(machine)["sources"]) == 2


def test_a_configuration_that_cannot_be_used_is_not_tried_again(machine: Machine) -> None:
    """Exit code 2 ends it at once: five restarts would not mend the file."""
    configure(machine, "[nonsense]\n")
    assert machine.run("systemctl", "start", "redirectd", check=False).returncode != 0
    assert machine.show("redirectd", "ExecMainStatus") == "2"
    assert machine.show("redirectd", "NRestarts") == "0"
    assert machine.show("redirectd", "ActiveState") == "failed"


def test_comes_back_after_a_crash_and_counts_nothing_twice(machine: Machine, corpus: Path) -> None:
    """SIGKILL: systemd starts it again, and the remaps are what they were."""
    machine.path(LOG).write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())
    start(machine)
    machine.until(lambda: read_whole(machine), "the log is read")
    before = json.loads(machine.run("redirectd", "list", "--json", user="redirectd").stdout)
    pid = machine.show("redirectd", "MainPID")
    machine.run("kill", "-KILL", pid)
    machine.until(lambda: machine.show("redirectd", "MainPID") not in {pid, "0"}, "it is started again")
    machine.until(lambda: machine.show("redirectd", "ActiveState") == "active", "it is ready again")
    machine.until(lambda: status(machine)["sources"][0]["last_read"], "it looked at the log")
    assert json.loads(machine.run("redirectd", "list", "--json", user="redirectd").stdout) == before


def test_the_watchdog_kills_a_hung_service_and_systemd_starts_it_again(machine: Machine) -> None:
    """A stopped process feeds no watchdog: it is killed, and it comes back."""
    # A stopped process takes SIGABRT only when it goes on: SIGKILL follows after this time.
    drop_in(machine, "[Service]\nWatchdogSec=4\nTimeoutAbortSec=1\n")
    start(machine)
    pid = machine.show("redirectd", "MainPID")
    machine.run("kill", "-STOP", pid)
    machine.until(lambda: machine.show("redirectd", "NRestarts") == "1", "systemd started it again")
    machine.until(lambda: machine.show("redirectd", "ActiveState") == "active", "it is ready again")
    assert "redirectd.service: Watchdog timeout" in machine.journal()


def test_the_watchdog_wants_progress_of_every_reader(machine: Machine) -> None:
    """One reader that hangs, while all else goes on, stops the feeding: systemd restarts the service, which is well."""
    folder = "/var/lib/redirectd/rigged"
    machine.run("install", "-d", "-o", "redirectd", folder)
    machine.path(f"{folder}/redirectd.toml").write_text('node = "rigged"\n[schedule]\napply = ""\n')
    machine.path(f"{folder}/rigged").write_text("")
    environ = "PYTHONPATH=/opt/redirectd/source:/opt/redirectd/site LD_LIBRARY_PATH=/opt/redirectd/python/lib"
    drop_in(
        machine,
        f"[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\nEnvironment={environ}\n"
        f"ExecStart=\nExecStart=/opt/redirectd/python/bin/python3 -m tests.service.rigged_service {folder}\n",
    )
    start(machine)
    pid = machine.show("redirectd", "MainPID")
    known = machine.journal().count("Watchdog timeout")
    machine.path(f"{folder}/stuck").write_text("")
    machine.until(lambda: machine.journal().count("Watchdog timeout") > known, "systemd misses the feeding")
    machine.path(f"{folder}/stuck").unlink()
    machine.until(lambda: machine.show("redirectd", "MainPID") not in {pid, "0"}, "it is started again")
    machine.until(lambda: machine.show("redirectd", "ActiveState") == "active", "it is ready again")
    assert '"silent": ["reader rigged"]' in machine.journal()


def test_a_service_that_keeps_failing_is_left_alone(machine: Machine) -> None:
    """Five failures in five minutes end the restarts, so that somebody looks at it."""
    drop_in(machine, "[Service]\nRestartSec=100ms\nExecStart=\nExecStart=/bin/false\nType=simple\n")
    machine.run("systemctl", "start", "redirectd")
    machine.until(lambda: machine.show("redirectd", "ActiveState") == "failed", "systemd gives it up")
    assert machine.show("redirectd", "NRestarts") == "5"
    assert "Start request repeated too quickly" in machine.journal()
