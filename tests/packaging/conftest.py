"""The archives, built once, and the rule for machines where a Debian can't be made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.debian import Debian
from tests.systemd.machine import kernel_forbids

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive, built as a release is, but without looking for build tools."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package."""
    folder = tmp_path_factory.mktemp("deb")
    _require("dpkg-deb", "debootstrap", "unshare", "chroot")
    command = [str(ROOT / "packaging/deb/build"), str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHON": sys.executable}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.deb")
    return made


@pytest.fixture
def debian(tmp_path: Path) -> Debian:
    """A clean Debian 12."""
    (tmp_path / "try").mkdir()
    reason = kernel_forbids(tmp_path / "try")
    if reason is not None:
        pytest.skip(f"no clean Debian can be made here: {reason}")
    root = tmp_path / "debian"
    root.mkdir()
    return Debian(root)


def _require(*programs: str) -> None:
    """Where Debian's programs are missing: skip, or fail under CI=true on a Debian 12, which has them."""
    missing = [name for name in programs if shutil.which(name) is None]
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    is_debian = "ID=debian" in release and 'VERSION_ID="12"' in release
    if not is_debian or os.geteuid() != 0:
        pytest.skip("the package is built and installed on Debian 12 as root")
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed: {', '.join(missing)}; .ci/install-peers installs it", pytrace=False)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
