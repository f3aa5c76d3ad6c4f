"""Storing, beside the yardstick: `python -m tests.bench.storing LOG TIMES` prints JSON.

The sightings of LOG go into an empty SQLite database as `redirectd ingest` stores them. Then all rows that it came to
go into another database with the same tables and indexes by bare executemany, in as many transactions. The best of
TIMES runs counts for each, since whatever else the machine does only adds to a run.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.service.ingestion import COMMIT_WEIGHT
from redirectd.sources.file import open_log
from redirectd.store import migrate
from redirectd.store.collecting import record
from redirectd.store.database import Database

NOW = datetime(2026, 11, 23, tzinfo=UTC)
_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL")


def main(log: Path, times: int) -> dict[str, float]:
    """Seconds of the clock for reading, storing, and storing bare; how many sightings and rows that was."""
    began = time.perf_counter()
    batches = _batches(log)
    figures: dict[str, float] = {
        "sightings": sum(len(one.verdicts) for one in batches),
        "reading_s": time.perf_counter() - began,
    }
    store, bare = [], []
    with tempfile.TemporaryDirectory(dir=log.parent) as folder:
        ours, theirs = Path(folder) / "ours.db", Path(folder) / "bare.db"
        for _ in range(times):
            store.append(_filled(ours, lambda path: _store(path, batches)))
            rows = _rows(ours)
            bare.append(_filled(theirs, lambda path: _insert(path, rows, len(batches))))  # noqa: B023 - called at once
            figures["rows"] = sum(map(len, rows.values()))
    return figures | {"store_s": min(store), "bare_s": min(bare)}


def _batches(log: Path) -> list[Batch]:
    """What a log comes to, in the parts that are committed at a time."""
    with open_log(str(log)) as opened:
        dialects = registry.detect(opened.read(0, 1 << 20))
        policy = Policy(new_per_peer=10**9, new_per_incoming=10**9)  # how fast, not how many (R46)
        reading = Reading("bench", dialects, UTC, policy, "count")
        reader = LogReader(opened, reading, clock=lambda: NOW)
        batches = [Batch("bench")]
        while reader.read(batches[-1], final=True):
            if batches[-1].weight >= COMMIT_WEIGHT:
                reader.confirm()
                batches.append(Batch("bench"))
    return [one for one in batches if not one.is_empty]


def _filled(path: Path, fill: Callable[[Path], float]) -> float:
    """What `fill` takes for a database that has its tables and nothing else."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    database = Database(f"sqlite:///{path}")
    migrate.ensure(database)
    database.close()
    return fill(path)


def _store(path: Path, batches: list[Batch]) -> float:
    database = Database(f"sqlite:///{path}")
    began = time.perf_counter()
    for batch in batches:
        with database.begin() as connection:
            record(connection, batch, node="bench", now=NOW)
    took = time.perf_counter() - began
    database.close()
    return took


def _rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows by table, in the order in which they were stored."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    wanted = sorted(set(tables) - {"alembic_version", "sqlite_sequence"}, key=lambda name: (name != "remap", name))
    rows = {name: connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in wanted}
    connection.close()
    return {name: found for name, found in rows.items() if found}


def _insert(path: Path, rows: dict[str, list[tuple[object, ...]]], parts: int) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    began = time.perf_counter()
    for part in range(parts):
        connection.execute("BEGIN IMMEDIATE")
        for name, those in rows.items():
            some = those[len(those) * part // parts : len(those) * (part + 1) // parts]
            if some:
                connection.executemany(f"INSERT INTO {name} VALUES ({','.join('?' * len(some[0]))})", some)
        connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.close()
    return took


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
