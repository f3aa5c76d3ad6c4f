"""The store that most tests of the review begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.review.remap_store import RemapStore, opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RemapStore]:
    """An empty database, 192.0.2.0/24 trusted."""
    with opened(tmp_path) as made:
        yield made
