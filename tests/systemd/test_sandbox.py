"""What the unit's settings hold back, tried from inside of the running service's sandbox."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.systemd import probe
from tests.systemd.machine import ROOT, Machine
from tests.systemd.usual import configure, drop_in

pytestmark = [pytest.mark.peer("systemd"), pytest.mark.xdist_group("systemd")]

PYTHON = "/opt/redirectd/python/bin/python3"
INSIDE = "/usr/local/lib/redirectd-probe.py"
ANSWER = "/var/lib/redirectd/probe.json"
LISTENER = "import socket\ns = socket.create_server(('0.0.0.0', 7))\nwhile True: s.accept()[0].close()"

NEEDED = {
    "write to its state",
    "write to its logs",
    "write to its runtime folder",
    "write to the granted folder",
    "connect to this host",
}
"""What the service must be able to do, and all it is."""

OPEN_TO_OTHERS = {
    "write to an open folder",
    "look into homes",
    "see other users' processes",
    "connect outside",
    "open a netlink socket",
    "map memory to write and run",
    "make a program with another's rights",
    "change its personality",
}
"""What the same user may do outside of the sandbox, so that it is the unit which holds it back."""


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The machine with something to be kept from."""
    shutil.copy(probe.__file__, booted.path(INSIDE))
    booted.run("ip", "address", "replace", f"{probe.OUTSIDE}/32", "dev", "lo")
    booted.run(
        "systemd-run", "--unit=listener", "--setenv=LD_LIBRARY_PATH=/opt/redirectd/python/lib", PYTHON, "-c", LISTENER
    )
    booted.run("install", "-d", "-m", "1777", "/srv/open")
    booted.run("install", "-d", "-m", "0755", "/home/somebody")
    booted.run("install", "-d", "-o", "redirectd", "-m", "0755", "/etc/kamailio/redirectd")
    booted.until(lambda: not booted.run(*_connect(), check=False).returncode, "the listener listens")
    booted.run(
        "systemctl", "reset-failed", "redirectd", "redirectd-apply", check=False
    )  # the starts counted so far, too
    yield booted
    booted.run("systemctl", "stop", "listener", "redirectd", check=False)
    booted.run("systemctl", "reset-failed", check=False)
    for place in ("/etc/systemd/system/redirectd.service.d", "/etc/kamailio/redirectd", "/srv/open", "/home/somebody"):
        shutil.rmtree(booted.path(place), ignore_errors=True)
    booted.run("ip", "address", "del", f"{probe.OUTSIDE}/32", "dev", "lo")
    booted.run("systemctl", "daemon-reload")


def _connect() -> list[str]:
    code = f"import socket; socket.create_connection(('{probe.OUTSIDE}', 7), 5)"
    return ["env", "LD_LIBRARY_PATH=/opt/redirectd/python/lib", PYTHON, "-c", code]


def tried_by_the_service(machine: Machine, *drop_ins: str) -> dict[str, Any]:
    """What came of the probe in the place of the service, with these drop-ins."""
    folder = machine.path("/etc/systemd/system/redirectd.service.d")
    folder.mkdir(exist_ok=True)
    for name in drop_ins:
        shutil.copy(ROOT / f"systemd/drop-ins/{name}.conf", folder)
    (folder / "probe.conf").write_text(
        f"[Service]\nType=oneshot\nExecStart=\nExecStart={PYTHON} {INSIDE} {ANSWER}\n"
        "Environment=LD_LIBRARY_PATH=/opt/redirectd/python/lib\n"
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "redirectd")
    found: dict[str, Any] = json.loads(machine.path(ANSWER).read_text())
    return found


def let_through(found: dict[str, Any]) -> set[str]:
    return {name for name in probe.ATTEMPTS if found[name] is True}


def test_the_service_can_do_what_it_needs_and_nothing_else(machine: Machine) -> None:
    """Files, devices, network, memory, namespaces, clock, kernel: of what is tried, only the needed goes through."""
    machine.run("groupadd", "--force", "--system", "kamailio")
    found = tried_by_the_service(machine, "kamailio")
    assert let_through(found) == NEEDED, found
    assert int(found["capabilities"], 16) == 0
    assert found["umask"] == "0077"


def test_it_is_the_unit_that_holds_it_back(machine: Machine) -> None:
    """The same user without the unit gets further: the attempts above are such as can succeed."""
    machine.run("install", "-d", "-o", "redirectd", "/var/lib/redirectd")
    command = ["env", "LD_LIBRARY_PATH=/opt/redirectd/python/lib", PYTHON, INSIDE, ANSWER]
    machine.run(*command, user="redirectd")
    found = json.loads(machine.path(ANSWER).read_text())
    assert let_through(found) >= OPEN_TO_OTHERS, found


def test_the_network_drop_in_lets_it_out(machine: Machine) -> None:
    """IPAddressAllow= of drop-ins/network.conf is what another host's database needs, and it opens nothing else."""
    machine.run("groupadd", "--force", "--system", "kamailio")
    assert let_through(tried_by_the_service(machine, "kamailio", "network")) == {*NEEDED, "connect outside"}


PROGRAMS = """
node = "machine"
[[target]]
name = "listing"
kind = "csv"
path = "/var/lib/redirectd/moves.csv"
check = ["/bin/sh", "-c", "echo tried > {place}/tried", "{{file}}"]
reload = ["/usr/local/sbin/moves-reload"]
verify = ["/bin/true"]
"""


def test_check_tries_own_programs_in_the_sandbox(machine: Machine) -> None:
    """Root's `check` runs a target's programs as the unit would: what that hides or does not let write is a fault."""
    machine.run("install", "-d", "-o", "redirectd", "/var/lib/redirectd")
    machine.path("/var/lib/redirectd/moves.csv").write_text("old_uri,new_uri\n")
    machine.run("cp", "/bin/true", "/usr/local/sbin/moves-reload")
    configure(machine, PROGRAMS.format(place="/var/lib/redirectd"))
    assert _of_programs(machine) == {
        name: f"{program}, tried in the sandbox of the service's unit"
        for name, program in (
            ("check", "/bin/sh"),
            ("reload", "/usr/local/sbin/moves-reload"),
            ("verify", "/bin/true"),
        )
    }
    drop_in(machine, "[Service]\nInaccessiblePaths=/usr/local/sbin/moves-reload\n")
    configure(machine, PROGRAMS.format(place="/srv/open"))  # where this user may write, but for the unit
    found = _of_programs(machine)
    assert "does not run in the sandbox of the service's unit" in found["reload"]
    assert "Read-only file system" in found["check"]
    assert "tried in the sandbox" in found["verify"]


def _of_programs(machine: Machine) -> dict[str, str]:
    done = machine.run("redirectd", "check", "--json", check=False)
    assert done.stdout, done.stderr
    findings = json.loads(done.stdout)["findings"]
    whys = {one["where"].removeprefix("target listing, "): one["why"] for one in findings}
    return {name: whys[name] for name in ("check", "reload", "verify")}
