"""The Debian package: installed on a clean Debian 12, used there, removed and purged."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.debian import Debian

pytestmark = pytest.mark.xdist_group("packaging")

FILES = (
    "usr/bin/redirectd",
    "usr/lib/systemd/system/redirectd.service",
    "usr/lib/systemd/system/redirectd-apply.timer",
    "usr/lib/systemd/system/redirectd-console.service",
    "usr/lib/sysusers.d/redirectd.conf",
    "usr/lib/tmpfiles.d/redirectd.conf",
    "usr/share/man/man1/redirectd.1.gz",
    "usr/share/man/man5/redirectd.toml.5.gz",
    "usr/share/bash-completion/completions/redirectd",
    "usr/share/doc/redirectd/copyright",
    "usr/share/doc/redirectd/drop-ins/kamailio.conf",
)

STAYS = (
    "run",
    "etc/passwd",
    "etc/group",
    "etc/shadow",
    "etc/gshadow",
    "etc/.pwd.lock",
    "var/lib/dpkg",
    "var/log",
    "var/cache",
)
"""Where a purge may leave something: the user, what dpkg writes down itself, and what is gone with the next boot."""


def test_is_installed_used_and_purged(debian: Debian, package: Path) -> None:
    """From a clean system to a working program of a user of its own, and back: nothing of it stays but the user."""
    before = debian.files()
    shutil.copy(package, debian.root / "redirectd.deb")
    said = debian.run("dpkg", "-i", "/redirectd.deb").stdout
    assert "redirectd init" in said
    assert [name for name in FILES if not (debian.root / name).exists()] == []
    assert debian.run("stat", "-c", "%U:%G %a", "/var/lib/redirectd").stdout.split() == ["redirectd:redirectd", "750"]
    as_user = ("setpriv", "--reuid=redirectd", "--regid=redirectd", "--init-groups", "redirectd")
    assert "0.1" in debian.run("redirectd", "--version").stdout
    upgraded = json.loads(debian.run(*as_user, "db", "upgrade", "--json").stdout)
    assert upgraded["before"] is None
    assert (debian.root / "var/lib/redirectd/redirectd.db").stat().st_uid != 0
    debian.run("redirectd", "demo", "--folder", "/tmp/demo")
    verified = debian.run(
        "systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/redirectd.service", check=False
    )
    assert "redirectd" not in verified.stdout, verified.stdout
    (debian.root / "etc/redirectd/redirectd.toml").write_text("")
    debian.run("dpkg", "-i", "/redirectd.deb")  # as an upgrade does
    debian.run("dpkg", "--remove", "redirectd")
    assert not (debian.root / "usr/lib/redirectd").exists(), "nothing was written into the program's folder"
    assert (debian.root / "etc/redirectd/redirectd.toml").exists()
    assert (debian.root / "var/lib/redirectd/redirectd.db").exists()
    debian.run("dpkg", "--purge", "redirectd")
    shutil.rmtree(debian.root / "tmp/demo")
    (debian.root / "redirectd.deb").unlink()
    left = sorted(name for name in debian.files() - before if not name.startswith(STAYS))
    assert left == []
    assert before - debian.files() == set()


def test_names_no_place_of_its_building(package: Path) -> None:
    """Relocated from the folder it was built in: no text in it names one, and its files are root's."""
    listed = subprocess.run(["dpkg-deb", "--contents", str(package)], capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in listed.splitlines()} == {"root/root"}
    names = ["./usr/lib/redirectd/bin/redirectd", "./usr/lib/redirectd/pyvenv.cfg"]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as archive:
        text = subprocess.run(
            ["tar", "-xO", *names], stdin=archive.stdout, capture_output=True, text=True, check=True
        ).stdout
    assert text.startswith("#!/usr/lib/redirectd/bin/python3 -I\n")
    assert "home = /usr/bin" in text
    assert "/tmp/" not in text
