"""Logs that were once read wrongly, each to the result that `tests/corpus/cases/expected.json` gives it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from redirectd.collect.batch import Batch
from redirectd.collect.capture import CapturedLog, searchable
from redirectd.collect.console_streams import reader_of
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.collect.verdict import Learnt
from redirectd.dialects import registry
from redirectd.sources.file import open_log

CASES = Path(__file__).parent.parent / "corpus" / "cases"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())
POLICY = Policy(trusted_peers=(ip_network("0.0.0.0/0"),))


def result(path: Path) -> dict[str, Any]:
    """What reading a file with `dialect = "auto"` comes to; moves as old, new and authenticity."""
    with open_log(path) as opened:
        log = searchable(opened)
        dialects = (log.dialect,) if isinstance(log, CapturedLog) else registry.detect(log.read(log.start, 1 << 20))
        reading = Reading("t", dialects, UTC, POLICY)
        reader, batch = reader_of(log, reading, clock=lambda: datetime(2026, 11, 30, tzinfo=UTC)), Batch("t")
        while reader.read(batch, final=True):
            pass
    learnt = [one for one in batch.verdicts.values() if isinstance(one, Learnt)]
    return {
        "sightings": len(batch.verdicts),
        "session_progress": len(batch.progress),
        "unreadable": len(batch.quarantined),
        "moves": [f"{one.old_uri} > {one.candidates[0].key}: {one.answer.authenticity.name.lower()}" for one in learnt],
        "losses": batch.losses,
    }


def test_each_case_has_an_expectation() -> None:
    """A case without one would prove nothing."""
    assert {path.name for path in CASES.iterdir()} == EXPECTED.keys() | {"expected.json"}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_case(name: str) -> None:
    """R38 to R40: what is learnt, how well it is known, and what is counted, is what the case lists."""
    assert result(CASES / name) == EXPECTED[name]
