"""The package under a running systemd: installed, in use, upgraded to a newer version, removed and purged."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import ROOT
from tests.systemd.machine import Machine, kernel_forbids, missing_tools

pytestmark = pytest.mark.xdist_group("packaging")

NEWER = "0.999.0"
CONFIG = (
    'node = "kept"\n[schedule]\napply = ""\n[[source]]\nname = "log"\npath = "/var/log/moves.log"\n# my own words\n'
)


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The package of a later version, built from a copy of the tree that says so."""
    tree, folder = tmp_path / "tree", tmp_path / "newer"
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", "redirectd-demo")
    )
    for file in (tree / "pyproject.toml", tree / "redirectd/__init__.py"):
        text, found = re.subn(
            r'^(version|__version__) = ".*"$', rf'\1 = "{NEWER}"', file.read_text(), flags=re.MULTILINE
        )
        assert found == 1
        file.write_text(text)
    command = [str(tree / "packaging/deb/build"), str(folder)]
    environ = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob(f"redirectd_{NEWER}_*.deb")
    return made


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A booted machine of the test's own, on which the package may do as it does."""
    with tempfile.TemporaryDirectory(prefix="rdboot-") as name:
        reason = missing_tools() or kernel_forbids(Path(name))
        if reason is not None:
            pytest.skip(f"no systemd can be booted here: {reason}")
        with Machine(Path(name), installed=False) as booted:
            booted.path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
            yield booted


def install(machine: Machine, package: Path) -> None:
    shutil.copy(package, machine.path("/srv/redirectd.deb"))
    machine.run("dpkg", "-i", "/srv/redirectd.deb")


def remaps(machine: Machine) -> Any:
    return json.loads(machine.run("redirectd", "list", "--json", user="redirectd").stdout)["remaps"]


def test_an_upgrade_keeps_what_is_there_and_restarts_the_service(
    machine: Machine, package: Path, newer: Path, corpus: Path
) -> None:
    """Configuration and decisions stay, the enabled service runs the new version; a purge leaves nothing running."""
    install(machine, package)
    config, log = machine.path("/etc/redirectd/redirectd.toml"), machine.path("/var/log/moves.log")
    config.write_text(CONFIG)
    log.write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())
    log.chmod(0o644)
    machine.run("systemctl", "enable", "--now", "redirectd")
    machine.until(lambda: remaps(machine), "the log is read")
    chosen = next(remap for remap in remaps(machine) if remap["kind"] == "user")
    machine.run("redirectd", "reject", str(chosen["id"]), "--reason", "kept over the upgrade", user="redirectd")
    before, pid = remaps(machine), machine.show("redirectd", "MainPID")

    install(machine, newer)
    assert NEWER in machine.run("redirectd", "--version").stdout
    assert machine.show("redirectd", "MainPID") not in {pid, "0"}
    assert machine.run("systemctl", "is-enabled", "redirectd").stdout.strip() == "enabled"
    machine.until(lambda: f'"version": "{NEWER}"' in machine.journal(), "the new version runs")
    assert config.read_text() == CONFIG
    assert remaps(machine) == before
    assert "kept over the upgrade" in machine.run("redirectd", "show", str(chosen["id"]), user="redirectd").stdout

    machine.run("dpkg", "--remove", "redirectd")
    assert machine.show("redirectd", "ActiveState") == "inactive"
    assert config.read_text() == CONFIG
    machine.run("dpkg", "--purge", "redirectd")
    assert not [one for one in ("/etc/redirectd", "/var/lib/redirectd") if machine.path(one).exists()]
    assert machine.run("systemctl", "is-enabled", "redirectd", check=False).returncode != 0
