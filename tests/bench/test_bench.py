"""The benchmark itself works: tiny sizes, no opinion on any time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bench import Bench
from tests.bench.cases import CASES


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_case_measures(tmp_path: Path, name: str) -> None:
    """Each case makes its data, runs what it compares and gives lines with a figure or a ratio."""
    lines = list(CASES[name](Bench(tmp_path, 1, 1, 1000)))
    assert lines
    assert all(line.figure or line.ratio for line in lines)
