"""The console under a real systemd: what its unit lets it reach."""

from __future__ import annotations

import http.client
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine
from tests.systemd.usual import GOOD, LOG, configure

pytestmark = [pytest.mark.peer("systemd"), pytest.mark.xdist_group("systemd")]

UNIT = "redirectd-console"
SOCKET = f"/run/{UNIT}/console.sock"
CONSOLE = f'{GOOD}\n[console]\nlisten = "unix:{SOCKET}"\n'


@pytest.fixture
def host(machine: Machine) -> Iterator[Machine]:
    """A machine with [console], stopped afterwards."""
    configure(machine, CONSOLE)
    machine.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/redirectd.conf")
    machine.run("redirectd", "db", "upgrade", user="redirectd")
    yield machine
    machine.run("systemctl", "stop", UNIT, check=False)
    shutil.rmtree(machine.path(f"/etc/systemd/system/{UNIT}.service.d"), ignore_errors=True)


def drop_in(machine: Machine) -> None:
    """The database is an SQLite file of the service's."""
    folder = machine.path(f"/etc/systemd/system/{UNIT}.service.d")
    folder.mkdir()
    shutil.copy(Path(__file__).parents[2] / "systemd/drop-ins/console-sqlite.conf", folder)
    machine.run("systemctl", "daemon-reload")


def sent(machine: Machine, method: str, path: str, form: str = "") -> tuple[int, str]:
    """Status and cookie of a request over the socket."""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(str(machine.path(SOCKET)))
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    connection.request(method, path, form.encode(), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("Set-Cookie", "")


def test_somebody_signs_in_within_the_sandbox(host: Machine) -> None:
    """Passwords are checked and pages shown with all that the unit forbids; logs are out of reach."""
    drop_in(host)
    host.run("sh", "-c", "echo correct horse battery | redirectd console add-user ada", user="redirectd")
    host.run("systemctl", "start", UNIT)
    host.until(host.path(SOCKET).exists, "it listens")
    assert sent(host, "GET", "/sign-in")[0] == 200
    status, cookie = sent(host, "POST", "/sign-in", "name=ada&password=correct+horse+battery")
    assert (status, cookie.startswith("redirectd=")) == (303, True)
    process = host.show(UNIT, "MainPID")
    seen = ["nsenter", "-t", process, "-m", "sh", "-c"]
    assert host.run(
        *seen, f"setpriv --reuid redirectd --regid redirectd --init-groups cat {LOG}", check=False
    ).returncode
    assert host.run(*seen, "touch /etc/kamailio/x", check=False).returncode


def test_its_own_user_reaches_nothing_of_the_services(host: Machine) -> None:
    """Without the drop-in it has no right to the record key, the state folder and logs, and says what it lacks."""
    key = host.path("/etc/redirectd/record.key")
    key.write_text("0" * 64)
    key.chmod(0o640)
    host.run("chgrp", "redirectd", "/etc/redirectd/record.key")
    for file in ("/etc/redirectd/record.key", "/var/lib/redirectd/redirectd.db", LOG):
        assert host.run("cat", file, user=UNIT, check=False).returncode
    host.run("systemctl", "start", UNIT, check=False)
    host.until(lambda: "redirectd.db" in host.journal(UNIT), "it names the database")
    key.unlink()
