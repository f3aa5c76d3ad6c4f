"""A short run of the apply campaign."""

from __future__ import annotations

from pathlib import Path

from tests.bench.apply_campaign import run


def test_campaign_finds_no_violation(tmp_path: Path) -> None:
    """Some seconds of SIGKILL at random moments, pairs of applies and failing servers leave no half file."""
    campaign = run(tmp_path, seconds=6, seed=3)
    assert campaign.violations == []
    assert campaign.kills > 0
