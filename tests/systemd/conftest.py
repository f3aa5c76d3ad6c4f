"""One machine for all tests of a worker, and the rule for hosts where none can be booted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, why_not


@pytest.fixture(scope="session")
def booted() -> Iterator[Machine]:
    """A machine; skipped where it can't be, a failure under CI=true."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no systemd could be booted: {reason}", pytrace=False)
        pytest.skip(f"no systemd can be booted here: {reason}")
    with tempfile.TemporaryDirectory(prefix="rdboot-") as folder, Machine(Path(folder)) as machine:
        yield machine
