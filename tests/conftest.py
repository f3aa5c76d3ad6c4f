"""What all tests share: deterministic property tests and the way to the golden logs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests of one `xdist_group` run one at a time, whichever process has them.

    pytest-xdist 3.8 puts the group behind a test's id, which pytest 9.2 does not let it: nothing else keeps them apart.
    """
    with ExitStack() as held:
        for name in sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")}):
            place = Path(tempfile.gettempdir()) / f"redirectd-tests-{name}.lock"
            fcntl.flock(held.enter_context(place.open("w")), fcntl.LOCK_EX)
        return (yield)
