"""Retention drops what is old and nothing that is needed, and the disk gets its space back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from redirectd.service import maintenance
from redirectd.service.maintenance import Retention, prune, vacuum
from redirectd.store.apply_requests import add_request, requests
from redirectd.store.database import Database
from redirectd.store.generations import Generation, GenerationFile, GenerationOutcome, add_generation, files_at, history
from redirectd.store.migrate import ensure
from redirectd.store.schema import event, evidence, generation, quarantine, target_state

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEEP = Retention(evidence=timedelta(days=30), quarantine=timedelta(days=10), generations=3)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'redirectd.db'}")
    ensure(made)
    yield made
    made.close()


def evidence_row(age_days: float, text: str = "x") -> dict[str, Any]:
    return {
        "seen_at": NOW - timedelta(days=age_days),
        "source": "s",
        "position": 0,
        "dialect": "d",
        "peer": "p",
        "method": "INVITE",
        "call_id": "c",
        "text": text,
    }


def quarantine_row(age_days: float) -> dict[str, Any]:
    return {
        "identity": str(age_days),
        "source": "s",
        "position": 0,
        "dialect": "d",
        "seen_at": NOW - timedelta(days=age_days),
        "why": "w",
        "content": b"c",
    }


def count(database: Database, table: Any) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_drops_what_is_older_than_its_time(database: Database) -> None:
    """Evidence and quarantine go at their own ages, and what is younger stays."""
    with database.begin() as connection:
        connection.execute(evidence.insert(), [evidence_row(31), evidence_row(29)])
        connection.execute(quarantine.insert(), [quarantine_row(11), quarantine_row(9)])
        connection.execute(
            event.insert(),
            [
                {
                    "key": str(age),
                    "event_key": "e",
                    "call_key": "c",
                    "rank": 1,
                    "peer": "p",
                    "method": "INVITE",
                    "seen_at": NOW - timedelta(days=age),
                }
                for age in (31, 29)
            ],
        )
    pruned = prune(database, KEEP, node="n", now=NOW)
    assert (pruned.evidence, pruned.quarantine, pruned.events, pruned.generations) == (1, 1, 1, 0)
    assert (count(database, evidence), count(database, quarantine), count(database, event)) == (1, 1, 1)
    assert prune(database, KEEP, node="n", now=NOW).total == 0


def test_many_rows_go_in_short_transactions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than one transaction takes are all dropped, so that readers get their turn between."""
    monkeypatch.setattr(maintenance, "ROWS_AT_ONCE", 7)
    with database.begin() as connection:
        connection.execute(evidence.insert(), [evidence_row(40) for _ in range(50)])
    assert prune(database, KEEP, node="n", now=NOW).evidence == 50
    assert count(database, evidence) == 0


def test_requests_to_apply_go_with_the_events(database: Database) -> None:
    """A request that ended longer ago than events are kept goes, whatever became of it; a later one stays."""
    ends = {days: NOW - timedelta(days=days) for days in (91, 89)}
    with database.begin() as connection:
        numbers = {
            days: add_request(connection, "n", "c", "local:ann", {}, now=end - timedelta(minutes=5), expires_at=end)
            for days, end in ends.items()
        }
    assert prune(database, KEEP, node="n", now=NOW).apply_requests == 1
    with database.read() as connection:
        assert [one.id for one in requests(connection)] == [numbers[89]]


def install(database: Database, node: str, *targets: str) -> int:
    """A verified generation that changed these targets."""
    made = Generation(
        node=node, created_at=NOW, actor="a", cause="apply", checksum="c", plan={}, outcome=GenerationOutcome.VERIFIED
    )
    files = [
        GenerationFile(target, "kind", f"/{target}", "hash", b"content", GenerationOutcome.VERIFIED)
        for target in targets
    ]
    with database.begin() as connection:
        return add_generation(connection, made, files)


def test_generations_are_kept_by_number_and_rollback_stays_possible(database: Database) -> None:
    """Of a target that changed long ago its file is kept, so every kept generation can be installed whole."""
    first = install(database, "n", "dialplan", "dispatcher")
    others = [install(database, "n", "dispatcher") for _ in range(9)]
    elsewhere = [install(database, "m", "dispatcher") for _ in range(2)]
    assert prune(database, KEEP, node="n", now=NOW).generations > 0
    with database.read() as connection:
        left = [found.number for found in history(connection, "n")]
        assert left[:3] == others[:-4:-1], "the newest three"
        assert first in left, "the dialplan still stands in it"
        for number in left[:3]:
            assert set(files_at(connection, "n", number)) == {"dialplan", "dispatcher"}
        assert [found.number for found in history(connection, "m")] == elsewhere[::-1], "another node's are not ours"
    assert len(left) == 4


def test_a_generation_that_a_target_stands_in_is_kept(database: Database) -> None:
    """What a file on disk was installed from is not dropped."""
    first = install(database, "n", "old-target")
    for _ in range(6):
        install(database, "n", "dispatcher")
    with database.begin() as connection:
        connection.execute(
            target_state.insert().values(
                node="n", target="x", sha256="", number=first, pending_reload=False, detail="{}", updated_at=NOW
            )
        )
    prune(database, KEEP, node="n", now=NOW)
    with database.read() as connection:
        assert first in connection.scalars(select(generation.c.number)).all()


def test_vacuum_gives_the_space_back(database: Database) -> None:
    """After pruning the file on disk is smaller, and the database works on."""
    with database.begin() as connection:
        connection.execute(evidence.insert(), [evidence_row(40, "x" * 4000) for _ in range(4000)])
    prune(database, KEEP, node="n", now=NOW)
    file = database.file
    assert file is not None
    before = database.file_bytes()
    freed = vacuum(database)
    assert freed > 10_000_000
    assert file.stat().st_size == before - freed
    assert count(database, evidence) == 0


def test_vacuum_counts_the_log_beside_the_file(database: Database) -> None:
    """What was written lies in the write-ahead log at first: emptying it frees that much, though the file grows."""
    with database.begin() as connection:
        connection.execute(evidence.insert(), [evidence_row(1, "x" * 4000) for _ in range(100)])
    file = database.file
    assert file is not None
    log = file.with_name(file.name + "-wal")
    before, written = file.stat().st_size, log.stat().st_size
    freed = vacuum(database)
    grown = file.stat().st_size - before
    assert 0 < freed == written - grown
    assert log.stat().st_size == 0


def test_vacuum_leaves_a_full_file_alone(database: Database) -> None:
    """Rewriting gigabytes for nothing would only stop the readers."""
    with database.begin() as connection:
        connection.execute(evidence.insert(), [evidence_row(1, "x" * 4000) for _ in range(100)])
    vacuum(database)
    assert vacuum(database) == 0
    assert count(database, evidence) == 100
