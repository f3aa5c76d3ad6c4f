"""A log in a folder of its own, with who writes and rotates it and who follows it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources.rotator import Reader, Writer

NOBODY = 65534


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    return folder / "full"


@pytest.fixture
def writer(log: Path) -> Writer:
    return Writer(log)


@pytest.fixture
def reader(log: Path) -> Iterator[Reader]:
    reader = Reader(log)
    yield reader
    reader.follower.close()


@pytest.fixture
def plain_user() -> Iterator[Path]:
    """A folder of a user whom permissions bind, who is also the effective user of the test."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)
