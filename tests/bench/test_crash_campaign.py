"""A short run of the crash campaign."""

from __future__ import annotations

from pathlib import Path

from tests.bench.crash_campaign import run


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    """Fifteen SIGKILLs while a log is written and rotated: each 301 that was written is counted once (R8)."""
    outcome = run(tmp_path, kills=15, seconds=60, seed=5)
    assert outcome.is_clean, outcome.lines()
    assert outcome.trials > 0
    assert outcome.sightings > 0
