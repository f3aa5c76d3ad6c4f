"""One machine for all tests of a worker, and the rule for hosts where none can be booted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, kernel_forbids, missing_tools


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
