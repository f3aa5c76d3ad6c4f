"""The contract from outside: the console script as a process, its exit codes, and JSON alone on standard output."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

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
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("REDIRECTD_")}

    def __call__(
        self, *args: object, code: int = 0, stdin: bytes = b"", start: tuple[str, ...] = (str(SCRIPT),)
    ) -> None:
        done = subprocess.run(
            [*start, "--config", self.config, *map(str, args)],
            input=stdin, capture_output=True, cwd=self.folder, env=self.environment, timeout=60, check=False,
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


@pytest.mark.parametrize("buffered", ["", "1"])
def test_streams_that_take_nothing(program: Program, corpus: Path, buffered: str) -> None:
    """Closed streams are as /dev/null, even where an apply opens files; a full disk fails with its own reason."""
    program.environment["PYTHONUNBUFFERED"] = buffered
    none = ("sh", "-c", 'exec "$0" "$@" >&- 2>&- <&-', str(SCRIPT))
    for command in (["ingest", corpus / LOG, "-"], ["list"], ["apply"]):
        program(*command, start=none)
    full = ("sh", "-c", 'exec "$0" "$@" >/dev/full', str(SCRIPT))
    for command in (["list"], ["list", "--json"]):
        program(*command, code=1, start=full)
        assert program.err.startswith(b"redirectd: output\n  why:        No space left on device\n"), command
        assert b"defect" not in program.err


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_terminal_that_is_not_of_utf8(program: Program, corpus: Path, encoding: str) -> None:
    """R25: what a terminal has no character for is shown as its number, and nothing fails for it."""
    program("ingest", "--session-progress", "count", corpus / LOG)
    program("reject", "1", "--reason", "Пр")
    program.environment |= {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    program("show", "1")
    assert b"\\u041f\\u0440" in program.out or "Пр".encode() in program.out


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


class WrongServer(BaseHTTPRequestHandler):
    """A Kamailio that says Ok to every reload and shows rows of its own afterwards."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Answers one JSON-RPC request."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(request["method"])
        item = {"item": {"name": "__gen__", "value": "of another file"}}
        result = item if request["method"] == "htable.get" else "Ok. Reloaded"
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Says nothing on the tests' standard error."""


@pytest.fixture
def wrong_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), WrongServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"jsonrpc:http://127.0.0.1:{server.server_port}/RPC"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_not_verified_ends_with_4(program: Program, wrong_server: str) -> None:
    """A server that does not show what was installed: 4, a table without moves, and JSON that says which target."""
    moves = program.folder / "moves.csv"
    moves.write_text("old_uri,new_uri,state\nsip:alice@old.test,sip:alice@new.test,approved\n")
    program("import", "--approve", moves)
    target = TARGET.replace('"none"', f'"{wrong_server}"\ntimeout = "2s"')
    program.config.write_text(CONFIG + target)
    file = program.folder / "redirectd_htable"
    applied = program.json("apply", code=4)
    assert "htable.reload" in WrongServer.asked
    assert applied["targets"][0]["outcome"] == "rolled-back"
    assert applied["targets"][0]["error"]
    assert b"alice@old.test" not in file.read_bytes()
    program("apply", code=4)
    program.config.write_text(CONFIG + TARGET)
    assert program.json("apply")["targets"][0]["outcome"] == "installed"
    assert b"alice@old.test" in file.read_bytes()
    program.config.write_text(CONFIG + target)
    installed = file.read_bytes()
    program("revoke", 1, "--reason", "it ended")
    program("apply", code=3)  # all that is installed would go
    program("apply", "--force", code=4)
    assert file.read_bytes() == installed


def test_the_database_of_the_environment_comes_first(program: Program) -> None:
    """REDIRECTD_DATABASE_URL beats the file's url; one that is not a URL is a fault, shown without its password."""
    elsewhere = program.folder / "elsewhere.db"
    program.environment["REDIRECTD_DATABASE_URL"] = f"sqlite:///{elsewhere}"
    program.json("ingest", "-")
    assert elsewhere.exists()
    assert not program.folder.joinpath("redirectd.db").exists()
    program.environment["REDIRECTD_DATABASE_URL"] = "nonsense://u:hidden@"
    program("pending", code=2)
    assert b"hidden" not in program.err


WRONG = {
    "[database]": ["url = 5", "password_file = 5"],
    "[limits]": ['max_change_percent = "x"', "max_change_percent = 101", "max_changes = -1", "max_changes = 1.5"],
    "[schedule]": ['apply = "61 * * * *"', "apply = 5", 'timezone = "Mars/X"', 'jitter = "soon"', 'pause = ["noon"]'],
    "[policy]": [
        'trusted_peers = ["192.0.2.1/24"]', 'trusted_peers = "192.0.2.0/24"', "own_domains = [5]",
        'gateways = ["gw:99999"]', 'allowed_target_networks = ["here"]', 'auto_approve = "yes"',
    ],
    "[daemon]": ['log_level = "loud"', 'metrics_listen = "9301"', "socket = 1"],
    "[retention]": ["generations = 1", 'evidence = "long"'],
    '[[source]]\nname = "a"\npath = "a.log"': [
        'kind = "fyle"', "dialect = 5", 'timezone = "Mars/X"', 'session_progress = "many"', "units = 5",
    ],
    '[[target]]\nname = "b"\nkind = "kamailio-htable"\npath = "b"': [
        'match = "both"', 'reload = "telnet"', "base = 5", 'timeout = "x"', 'mode = "999"',
    ],
}  # fmt: skip


@pytest.mark.parametrize("turn", range(6))
def test_each_key_refuses_what_it_cannot_hold(program: Program, turn: int) -> None:
    """A wrong type, a value out of range and an unknown key in each table: 2, each named with file and key."""
    lines = {table: (values[turn] if turn < len(values) else "unknown_key = 1") for table, values in WRONG.items()}
    program.config.write_text("".join(f"{table}\n{line}\n" for table, line in lines.items()))
    program("pending", "--json", code=2)
    assert program.out == b""
    told = program.err.decode()
    for table, line in lines.items():
        section = table.partition("]")[0].strip("[]")
        key = line.partition(" ")[0]
        assert any(section in one and key in one for one in told.splitlines()), (table, line, told)
    assert told.count(str(program.config)) >= len(lines)
