"""What the tests of the booted service share: a log, a configuration, and the questions to it."""

from __future__ import annotations

from typing import Any

from redirectd.service.control import ask
from tests.systemd.machine import Machine

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
