"""The world that most tests of the review begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.review.world import World, opened


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty database, 192.0.2.0/24 trusted."""
    with opened(tmp_path) as made:
        yield made
