"""One machine for all tests of a worker, and the rule for hosts where none can be booted."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, kernel_forbids, missing_tools
from tests.systemd.usual import GOOD, LOG, configure


@pytest.fixture(scope="session")
def booted() -> Iterator[Machine]:
    """A machine. Skipped where none can be; under CI=true that is a failure if a package would mend it."""
    with tempfile.TemporaryDirectory(prefix="rdboot-") as name:
        folder = Path(name)
        missing = missing_tools()
        if missing is not None and os.environ.get("CI") == "true":
            pytest.fail(f"no systemd can be booted: {missing}; .ci/install-peers installs it", pytrace=False)
        reason = missing or kernel_forbids(folder)
        if reason is not None:
            pytest.skip(f"no systemd can be booted here: {reason}")
        with Machine(folder) as machine:
            yield machine


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The machine with a configuration and an empty log as rsyslog makes it, and nothing running."""
    configure(booted, GOOD)
    log = booted.path(LOG)
    log.write_bytes(b"")
    booted.run("chown", "root:adm", LOG)
    log.chmod(0o640)
    booted.run(
        "systemctl", "reset-failed", "redirectd", "redirectd-apply", check=False
    )  # the starts counted so far, too
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
