"""A small run of the campaign of hostile messages; the whole one has a million."""

from __future__ import annotations

from typing import Any

from tests.bench.hostile_campaign import EVERY, PER_LOG, campaign


def test_no_forged_301_is_believed_and_no_real_one_vanishes() -> None:
    """R38, R39, R40: forged entries of every writer within messages of every writer, by right and lying lengths."""
    found: dict[str, Any] = campaign(len(EVERY) * PER_LOG, seed=7)
    assert found["believed"] == 0
    assert found["real"] > len(EVERY)
    assert (found["uncounted"], found["by_writer"]) == (0, {})
