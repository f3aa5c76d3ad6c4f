"""`ingest --jobs`: several logs read at once come to what they come to one after another."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from redirectd.errors import RedirectdError
from redirectd.service.reading_jobs import reading_at_once, shares_of
from tests.cli.conftest import Cli

LOGS = (
    "asterisk/ast22-pjsip.full.log",
    "kamailio/snippet-all-cases.log",
    "asterisk/ast16-pjsip-and-chan_sip.full.log",
    "kamailio/xlog-syslog.log",
)
TABLES = ("remap", "remap_peer", "remap_method", "remap_incoming", "refusal", "quarantine", "loss", "evidence", "event")
CLOCKS = {"at", "last_at", "seen_at"}  # of the reading itself, not of the log


def kept(database: Path) -> dict[str, list[Any]]:
    """All rows of a database that sightings make, without the clock's times."""
    found = {}
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in sorted(there & set(TABLES)):
            rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
            found[table] = [{name: value for name, value in row.items() if name not in CLOCKS} for row in rows]
    return found


def copies(cli: Cli, logs: tuple[str, ...] = LOGS) -> list[Path]:
    """Logs in the folder of the test, of which two are one rotated log."""
    files = []
    for number, name in enumerate(logs):
        files.append(cli.folder / f"{number}.log")
        shutil.copy(cli.corpus / name, files[-1])
    files.append(cli.folder / "0.log.1")
    shutil.copy(cli.corpus / logs[1], files[-1])
    return files


@pytest.mark.parametrize("jobs", [2, 3])
def test_jobs_change_nothing(cli: Cli, jobs: int) -> None:
    """Counts by file, remaps, their ids, evidence, refusals and losses are those of one job (R8, R46)."""
    files = copies(cli)
    database = cli.folder / "redirectd.db"
    one = cli("ingest", "--session-progress", "count", "--json", "--jobs", 1, *files).json
    alone = kept(database)
    database.unlink()
    for beside in cli.folder.glob("redirectd.db-*"):
        beside.unlink()
    more = cli("ingest", "--session-progress", "count", "--json", "--jobs", jobs, *files).json
    assert one["sightings"] > 0
    assert alone["remap"]
    again = kept(database)
    for table, rows in alone.items():
        assert again[table] == rows, table
    for document in (one, more):
        document.pop("seconds")
        for file in document["files"]:
            file.pop("seconds")
    assert more == one
    assert cli("ingest", "--session-progress", "count", "--json", "--jobs", jobs, *files).json["sightings"] == 0


def test_records_come_in_the_order_of_the_files(cli: Cli) -> None:
    """183s are logged as one job logs them: the first file's before the second's (R3)."""
    files = [file for file in copies(cli) if not file.name.endswith(".1")]
    logged = {}
    for jobs in (1, 2):
        lines = cli("ingest", "--session-progress", "each", "--jobs", jobs, *files).err.splitlines()
        logged[jobs] = [line.partition('"timestamp"')[0] for line in lines]
    assert logged[1]
    assert logged[1] == logged[2]


def test_file_that_fails_ends_the_command_at_its_turn(cli: Cli, tmp_path: Path) -> None:
    """What was named before it is counted, and the error is the one of a single job."""
    files = copies(cli)[:2]
    bad = tmp_path / "bad.log"
    bad.write_bytes(b"nothing")
    errors = [cli("ingest", "--dialect", "pcap", "--jobs", jobs, bad, *files, code=2).err for jobs in (1, 2)]
    assert errors[0] == errors[1]
    assert "bad.log" in errors[0]


def test_process_that_is_ended_is_an_error() -> None:
    """A reading process that somebody ends is named with its log: its log does not pass for one without 301s."""

    def read(name: str) -> Any:
        yield name
        if name == "b":
            os._exit(1)

    from redirectd.errors import RedirectdError

    with reading_at_once([["a"], ["b"]], read) as of:
        assert list(of("a")) == ["a"]
        with pytest.raises(RedirectdError, match=r"^b: the process that read it has ended"):
            list(of("b"))


def test_shares_keep_a_rotated_log_together() -> None:
    """The files of one log stay in one share and in their order; shares are of about one size."""
    sizes = {"a": 9, "b.1": 1, "b": 2, "c": 5}
    assert shares_of([["a"], ["b", "b.1"], ["c"]], sizes, 2) == [["a"], ["b.1", "b", "c"]]
    assert shares_of([["a"]], sizes, 2) == [["a"]]


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what was read can't be kept, it is said where, why and what to do, and nothing is shown as a defect."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with (
        reading_at_once([["a"], ["b"]], lambda name: iter([name])) as parts,
        pytest.raises(RedirectdError, match="No space left on device") as raised,
    ):
        list(parts("a"))
    assert (raised.value.where, "TMPDIR" in raised.value.what_to_do) == (tempfile.gettempdir(), True)
