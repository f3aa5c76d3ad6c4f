"""What all tests share: deterministic property tests and the way to the golden logs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", parent=settings.get_profile("ci"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real logs, with `expected.json` beside them."""
    return Path(__file__).parent / "corpus"


@pytest.fixture(autouse=True)
def logging_anew() -> Iterator[None]:
    """A command run within the process logs to a stream that ends with its test: the next one must not inherit it."""
    yield
    structlog.reset_defaults()
