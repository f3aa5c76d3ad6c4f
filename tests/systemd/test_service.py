"""The service under a real systemd, with the rights of its unit and no others."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redirectd.service.control import ask
from tests.systemd.machine import Machine

pytestmark = [pytest.mark.peer("systemd"), pytest.mark.xdist_group("systemd")]

LOG = "/var/log/redirectd-test.log"
CONFIG = "/etc/redirectd/redirectd.toml"
GOOD = f"""
node = "machine"
[schedule]
apply = ""
[[source]]
name = "log"
path = "{LOG}"
"""


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The machine with a configuration and an empty log as rsyslog makes it, and nothing running."""
    configure(booted, GOOD)
    log = booted.path(LOG)
    log.write_bytes(b"")
    booted.run("chown", "root:adm", LOG)
    log.chmod(0o640)
    yield booted
    booted.run("systemctl", "stop", "redirectd", check=False)
    booted.run("systemctl", "reset-failed", check=False)
    for place in (
        "/etc/systemd/system/redirectd.service.d",
        "/etc/systemd/system/redirectd-apply.service.d",
        "/var/lib/redirectd",
        "/etc/kamailio/redirectd",
    ):
        shutil.rmtree(booted.path(place), ignore_errors=True)
    booted.run("systemctl", "daemon-reload")


def configure(machine: Machine, text: str) -> None:
    machine.path(CONFIG).write_text(text)
    machine.path(CONFIG).chmod(0o644)


def drop_in(machine: Machine, text: str) -> None:
    for service in ("redirectd", "redirectd-apply"):
        folder = machine.path(f"/etc/systemd/system/{service}.service.d")
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text(text)
    machine.run("systemctl", "daemon-reload")


def start(machine: Machine) -> None:
    machine.run("systemctl", "start", "redirectd")
    assert machine.show("redirectd", "ActiveState") == "active"


def status(machine: Machine) -> dict[str, Any]:
    """What the daemon answers on its socket; the command line would read the configuration, which may be broken."""
    shown: dict[str, Any] = machine.until(
        lambda: ask(machine.path("/run/redirectd/status.sock")), "the service answers on its socket"
    )
    return shown


def sightings(machine: Machine) -> int:
    return sum(source["sightings"] for source in status(machine)["sources"])


def read_whole(machine: Machine) -> bool:
    """Whether the first source gave something and all of it is read."""
    source = status(machine)["sources"][0]
    return bool(source["sightings"]) and source["lag_bytes"] == 0


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
    machine.run("systemctl", "stop", "redirectd")
    assert machine.show("redirectd", "Result") == "success"
    assert machine.show("redirectd", "ActiveState") == "inactive"


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


def test_reads_only_what_its_groups_may_read(machine: Machine, corpus: Path) -> None:
    """A log that only root may read is waited for and named; once it is readable it is read."""
    machine.path(LOG).write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())
    machine.path(LOG).chmod(0o600)
    start(machine)
    waiting = machine.until(
        lambda: next((one for one in status(machine)["sources"] if one["state"] == "waiting"), None), "it waits"
    )
    assert LOG in waiting["error"]
    machine.path(LOG).chmod(0o640)
    machine.until(lambda: sightings(machine) > 0, "it is read")


def test_reads_the_journal(machine: Machine, corpus: Path) -> None:
    """Kamailio's lines in the journal are read by the right of group systemd-journal, old ones and new ones."""
    lines = (corpus / "kamailio/snippet-all-cases.log").read_text(errors="surrogateescape").splitlines()
    records = [line[line.index("NOTICE:") :] for line in lines if "REDIRECTD v=1" in line]
    source = '[[source]]\nname = "journal"\nkind = "journal"\nmatches = ["SYSLOG_IDENTIFIER=kamailio-test"]\n'
    configure(machine, f'node = "machine"\n[schedule]\napply = ""\n{source}')

    def log(some: list[str]) -> None:
        text = "\n".join(some) + "\n"
        machine.path("/run/lines").write_text(text, errors="surrogateescape")
        machine.run("sh", "-c", "systemd-cat -t kamailio-test -p notice </run/lines")

    log(records[:5])
    start(machine)
    before = machine.until(lambda: sightings(machine), "what was in the journal is read")
    log(records[5:])
    machine.until(lambda: sightings(machine) > before, "what comes is read")


def test_writes_only_where_the_drop_in_lets_it(machine: Machine, corpus: Path) -> None:
    """In the folder granted by the Kamailio drop-in a file is written with Kamailio's group; elsewhere nothing is."""
    machine.run("groupadd", "--force", "--system", "kamailio")
    machine.run("install", "-d", "-o", "redirectd", "-g", "kamailio", "-m", "2750", "/etc/kamailio/redirectd")
    machine.run("install", "-d", "-o", "redirectd", "-m", "0755", "/etc/elsewhere")
    units = Path(__file__).parents[2] / "systemd"
    drop_in(machine, (units / "drop-ins/kamailio.conf").read_text())
    target = '[[target]]\nname = "{}"\nkind = "kamailio-htable"\npath = "{}"\nreload = "none"\n'
    granted, denied = "/etc/kamailio/redirectd/moved.txt", "/etc/elsewhere/moved.txt"
    trusted = '[policy]\ntrusted_peers = ["127.0.0.0/8"]\nallowed_target_networks = ["127.0.0.0/8"]\n'
    base = GOOD.replace('apply = ""', 'apply = "* * * * *"') + trusted
    configure(machine, base + target.format("granted", granted))
    machine.path(LOG).write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())
    start(machine)
    machine.until(lambda: sightings(machine) > 0, "the log is read")
    pending = json.loads(machine.run("redirectd", "pending", "--json", user="redirectd").stdout)["remaps"]
    chosen = next(remap for remap in pending if not remap["flags"] and remap["kind"] == "user")
    machine.run("redirectd", "approve", str(chosen["id"]), "--reason", "test", user="redirectd")
    machine.until(lambda: machine.path(granted).exists(), "the schedule applied")
    owner = machine.run("stat", "-c", "%U:%G", granted).stdout.strip()
    assert owner == "redirectd:kamailio"
    configure(machine, base + target.format("denied", denied))
    assert machine.run("systemctl", "start", "redirectd-apply", check=False).returncode != 0
    assert "/etc/elsewhere" in machine.journal("redirectd-apply")
    assert not machine.path(denied).exists()


def test_apply_without_a_daemon(machine: Machine) -> None:
    """The timer's service runs to its end under the same rights, on a database of its own making."""
    machine.run("systemctl", "start", "redirectd-apply.service")
    assert machine.show("redirectd-apply.service", "Result") == "success"
    assert os.path.exists(machine.path("/var/lib/redirectd/redirectd.db"))  # noqa: PTH110 - through /proc/PID/root
