"""Real servers send random calls where `lookup` says that they do (R41); `make field` asks ten times as many."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.asked_around import TARGETS, tally

PAIRS = 200


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.peer(kind.partition("-")[0])) for kind in TARGETS]
)
def test_r41_a_server_does_what_lookup_says(kind: str, short_folder: Path) -> None:
    """R41: for random remaps and URIs around them, the server and `lookup` name the same new URI, or none."""
    found = tally(kind, short_folder, seed=1, pairs=PAIRS)

    assert found.differences == []
    assert found.pairs == PAIRS
    assert found.moved > PAIRS // 10
