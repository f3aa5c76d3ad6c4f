"""A small run of the campaign of hostile messages; the whole one has a million."""

from __future__ import annotations

from tests.bench.hostile_campaign import EVERY, PER_LOG, campaign


def test_no_forged_301_is_believed_and_no_real_one_vanishes() -> None:
    """R38, R39, R40: forged entries of every writer within messages of every writer, by right and lying lengths."""
    found = campaign(len(EVERY) * PER_LOG, seed=7)
    assert not found.believed
    assert not found.uncounted
    assert found.real > len(EVERY)
