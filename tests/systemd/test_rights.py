"""What the service may read and write under a real systemd, with the rights of its unit and its drop-ins."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.systemd.machine import Machine
from tests.systemd.usual import GOOD, LOG, configure, drop_in, sightings, start, status

pytestmark = [pytest.mark.peer("systemd"), pytest.mark.xdist_group("systemd")]


def test_writes_metrics_for_node_exporter(machine: Machine) -> None:
    """With its drop-in and the group's right the textfile is written, readable for everybody."""
    folder = "/var/lib/prometheus/node-exporter"
    machine.run("install", "-d", "-g", "redirectd", "-m", "0775", folder)
    units = Path(__file__).parents[2] / "systemd"
    drop_in(machine, (units / "drop-ins/node-exporter.conf").read_text())
    configure(machine, f'{GOOD}\n[daemon]\nmetrics_file = "{folder}/redirectd.prom"\n')
    start(machine)
    file = machine.path(f"{folder}/redirectd.prom")
    machine.until(file.exists, "it is written")
    assert "redirectd_info{" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644


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

    assert journal_findings(machine, "daemon") == ["fault"]
    assert journal_findings(machine, "redirectd") == ["ok"]
    log(records[:5])
    start(machine)
    before = machine.until(lambda: sightings(machine), "what was in the journal is read")
    log(records[5:])
    machine.until(lambda: sightings(machine) > before, "what comes is read")


def journal_findings(machine: Machine, user: str) -> list[str]:
    """How `check` finds the source, with the eyes of `user`."""
    found = json.loads(machine.run("redirectd", "check", "--json", user=user, check=False).stdout)["findings"]
    return [one["level"] for one in found if one["where"] == "source journal"]


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
    chosen = next(remap for remap in pending if set(remap["flags"]) <= {"unkeyed"} and remap["kind"] == "user")
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
