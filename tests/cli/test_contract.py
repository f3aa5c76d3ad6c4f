"""The contract from outside: the console script as a process, its exit codes, and JSON alone on standard output."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CONFIG, TARGET

SCRIPT = Path(sys.executable).with_name("redirectd")
LOG = "asterisk/ast22-pjsip.full.log"
REMAP = {
    "id": int, "state": str, "kind": str, "old_uri": str, "new_uri": (str, type(None)), "contacts": list,
    "flags": list, "calls": int, "peers": list, "methods": list, "first_seen": str, "last_seen": str,
    "replaces": (int, type(None)), "note": str,
}  # fmt: skip
INGEST = {"bytes", "sightings", "remaps_new", "remaps_updated", "session_progress", "unpaired", "refused", "unparsed"}
PLANNED = {"name", "kind", "path", "create", "update", "delete", "unchanged", "diff", "refused"}


class Program:
    """Runs the installed console script in a folder with a configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "redirectd.toml"
        self.config.write_text(CONFIG + TARGET)
        self.out, self.err = b"", b""

    def __call__(
        self, *args: object, code: int = 0, stdin: bytes = b"", start: tuple[str, ...] = (str(SCRIPT),)
    ) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REDIRECTD_")}
        done = subprocess.run(
            [*start, "--config", self.config, *map(str, args)],
            input=stdin, capture_output=True, cwd=self.folder, env=environment, timeout=60, check=False,
        )  # fmt: skip
        self.out, self.err = done.stdout, done.stderr
        assert done.returncode == code, done

    def json(self, *args: object, code: int = 0, stdin: bytes = b"") -> Any:
        """Standard output as the one JSON document it must be."""
        self(*args, "--json", code=code, stdin=stdin)
        return json.loads(self.out)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_each_way_in_reads_the_same(program: Program, corpus: Path) -> None:
    """A file, standard input, a gzipped file and `python -m redirectd` count alike; 183s stay out of the JSON."""
    log = (corpus / LOG).read_bytes()
    packed = program.folder / "full.gz"
    packed.write_bytes(gzip.compress(log))
    found = program.json("ingest", corpus / LOG)
    assert found.keys() >= INGEST | {"seconds"}
    assert (found["sightings"], found["session_progress"], found["bytes"]) == (10, 6, len(log))
    assert program.err.count(b'"session_progress"') == 6
    for source, stdin in (("-", log), (packed, b"")):
        program.folder.joinpath("redirectd.db").unlink()
        again = program.json("ingest", source, stdin=stdin)
        assert {key: again[key] for key in INGEST - {"bytes"}} == {key: found[key] for key in INGEST - {"bytes"}}
    program("ingest", "--json", corpus / LOG, start=(sys.executable, "-m", "redirectd"))
    assert json.loads(program.out)["sightings"] == 0
    assert program.json("explain", "-", stdin=log)["summary"]["sightings"] == 10


def test_from_log_to_file(program: Program, corpus: Path) -> None:
    """The whole way, with the keys and types of the contract at each step."""
    program("ingest", "--session-progress", "count", corpus / LOG)
    remaps = program.json("pending")["remaps"]
    assert remaps
    assert remaps == program.json("list")["remaps"]
    for remap in remaps:
        for key, kind in REMAP.items():
            assert isinstance(remap[key], kind), key  # type: ignore[arg-type]
        assert {remap["state"]} <= {"pending", "approved", "rejected", "revoked", "superseded", "expired"}
        assert {remap["kind"]} <= {"user", "gateway", "registrar"}
        assert datetime.fromisoformat(remap["first_seen"]).utcoffset() == timedelta(0)
    moved = next(one for one in remaps if one["new_uri"] and one["kind"] == "user")
    assert program.json("lookup", moved["old_uri"])["result"] is None
    program.json("approve", moved["id"])
    program("plan", "--exit-code", code=2)
    plan = program.json("plan", "--exit-code", code=2)
    assert plan.keys() >= {"checksum", "targets", "conflicts", "cycles", "limit"}
    assert plan["targets"][0].keys() >= PLANNED
    rehearsed = program.json("apply", "--dry-run")
    assert rehearsed["checksum"] == plan["checksum"]
    assert rehearsed["generation"] is None
    assert rehearsed["targets"][0].keys() >= PLANNED | {"outcome", "error"}
    assert rehearsed["targets"][0]["outcome"] is None
    assert not program.folder.joinpath("redirectd_htable").exists()
    applied = program.json("apply")
    assert applied["generation"] == 1
    assert applied["targets"][0].keys() >= PLANNED | {"outcome", "error"}
    assert applied["targets"][0]["outcome"] == "installed"
    assert program.json("apply")["targets"][0]["outcome"] == "unchanged"
    program("plan", "--exit-code")
    looked = program.json("lookup", moved["old_uri"])
    assert looked.keys() >= {"uri", "result", "hops"}
    assert looked["result"] == moved["new_uri"]
    assert [hop["id"] for hop in looked["hops"]] == [moved["id"]]
    assert looked["hops"][0].keys() >= {"id", "old_uri", "new_uri", "state"}
    for reading in (["status"], ["history"], ["show", moved["id"]], ["check"], ["db", "current"], ["export"]):
        assert program.json(*reading)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--nope"], 2), (["nosuch"], 2), (["pending", "--nope"], 2), (["ingest"], 2), (["approve"], 2),
        (["ingest", "--dialect", "nope", "-"], 2), (["ingest", "--session-progress", "many", "-"], 2),
        (["ingest", "missing.log"], 1), (["explain", "missing.log"], 1), (["ingest", "."], 1),
        (["show", "99"], 2), (["rollback", "99"], 2), (["plan", "--target", "nope"], 2), (["db", "nope"], 2),
    ],
)  # fmt: skip
def test_wrong_usage_and_failures(program: Program, args: list[str], code: int) -> None:
    """2 for wrong usage, 1 for what failed; the reason is on standard error, and nothing on standard output."""
    program(*args, code=code)
    assert program.out == b""
    assert program.err
    assert b"Traceback" not in program.err


def test_refusals_end_with_3(program: Program, corpus: Path) -> None:
    """A hold that refuses an approval, and a safety limit that refuses an apply, end with 3 and say so as JSON, too."""
    program("ingest", "--session-progress", "count", corpus / LOG)
    remaps = program.json("pending")["remaps"]
    ambiguous = next(one for one in remaps if "ambiguous" in one["flags"])
    assert program.json("approve", ambiguous["id"], code=3)["errors"]
    program.json("approve", ambiguous["id"], "--contact", 1)
    program.config.write_text(CONFIG + TARGET + "\n[limits]\nmax_changes = 0\n")
    refused = program.json("apply", code=3)
    assert refused["limit"]
    assert refused["generation"] is None
    assert refused["targets"][0]["outcome"] == "refused"
    assert program.json("apply", "--force")["targets"][0]["outcome"] == "installed"


@pytest.mark.parametrize(
    "command", [["pending"], ["plan"], ["apply"], ["ingest", "-"], ["list"], ["lookup", "sip:a@b"]]
)
def test_all_faults_of_a_configuration_at_once(program: Program, command: list[str]) -> None:
    """A faulty configuration shows every fault with file and key and ends with 2; one that is missing does too."""
    program.config.write_text('[policie]\n[[source]]\nname = "a"\nkind = "fyle"\n[limits]\nmax_changes = "many"\n')
    program(*command, "--json", code=2)
    assert program.out == b""
    for key in (b"policie", b"source[0]", b"limits.max_changes"):
        assert key in program.err
    assert program.err.count(str(program.config).encode()) >= 3
    program.config.unlink()
    program(*command, "--json", code=2)
    assert program.out == b""
    assert str(program.config).encode() in program.err
