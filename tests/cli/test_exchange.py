"""export and import: CSV and JSON, both ways, with a dry run and faults by row."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIG, Cli


def pairs(cli: Cli, *args: str) -> set[tuple[str, str, str, str]]:
    """What a list of remaps says, without what differs from database to database."""
    remaps = cli("list", "--json", *args).json["remaps"]
    return {(remap["state"], remap["kind"], remap["old_uri"], remap["new_uri"]) for remap in remaps}


@pytest.mark.parametrize("shape", ["csv", "json"])
def test_round_trip(filled: Cli, shape: str) -> None:
    """Approved remaps exported from one database and imported into another are approved there, once."""
    filled("approve", "1", "3", "4", "7")
    before = pairs(filled, "--state", "approved")
    exported = filled("export", "--format", shape, "--state", "approved").out
    file = filled.folder / f"remaps.{shape}"
    file.write_text(exported)
    filled.config.write_text(CONFIG.replace("redirectd.db", "other.db"))
    done = filled("import", file, "--approve", "--json").json
    assert (done["rows"], done["new"], done["approved"], done["faults"]) == (4, 4, 4, [])
    assert pairs(filled) == before
    again = filled("import", file, "--approve", "--json").json
    assert (again["new"], again["approved"]) == (0, 0)
    assert pairs(filled) == before


def test_export_json_is_list_json_and_more(filled: Cli) -> None:
    """The JSON export holds all of `list --json`, in the order of ids, and what an import needs beside."""
    exported = json.loads(filled("export").out)["remaps"]
    listed = sorted(filled("list", "--json").json["remaps"], key=lambda remap: remap["id"])
    assert [{key: row[key] for key in listed[0]} for row in exported] == listed
    assert exported[0]["peer_calls"]


@pytest.mark.parametrize("shape", ["csv", "json"])
def test_round_trip_of_everything(filled: Cli, shape: str) -> None:
    """All that the corpus gives, in several states, is the same in another database: evidence, holds and choices."""
    filled("approve", "1", "3", "4")
    filled("approve", "2", "--contact", "2")
    filled("reject", "5")
    filled("revoke", "4")
    exported = filled("export", "--format", shape).out
    file = filled.folder / f"remaps.{shape}"
    file.write_text(exported)
    filled.config.write_text(filled.config.read_text().replace("redirectd.db", "other.db"))
    filled("import", file, "--approve")
    ours = ("id", "replaces", "decided_at", "decided_by")

    def rows(text: str) -> list[dict[str, object]]:
        return [{key: value for key, value in row.items() if key not in ours} for row in json.loads(text)["remaps"]]

    filled.config.write_text(filled.config.read_text().replace("other.db", "redirectd.db"))
    before = rows(filled("export").out)
    filled.config.write_text(filled.config.read_text().replace("redirectd.db", "other.db"))
    assert rows(filled("export").out) == before


def test_dry_run_tells_what_approval_would_refuse(filled: Cli) -> None:
    """--dry-run with --approve does it all and takes it back: what a hold forbids is named by its row."""
    file = filled.folder / "remaps.csv"
    file.write_text(
        "old_uri,new_uri,state\nsip:x@127.0.0.1,sip:y@10.9.9.9,approved\nsip:z@127.0.0.1,sip:y@127.0.0.3,\n"
    )
    before = filled("list", "--json").out
    done = filled("import", file, "--approve", "--dry-run", "--json", code=3).json
    assert (done["imported"], done["new"], [held["row"] for held in done["held"]]) == (False, 2, [1])
    assert filled("list", "--json").out == before


def test_skip_faults(cli: Cli) -> None:
    """--skip-faults imports what is right, and still tells of the rest with the exit code."""
    file = cli.folder / "remaps.csv"
    file.write_text("old_uri,new_uri\nsip:a@127.0.0.1,sip:b@127.0.0.2\nsip:112@127.0.0.1,sip:b@127.0.0.2\n")
    done = cli("import", file, "--skip-faults", "--json", code=2).json
    assert (done["new"], [fault["row"] for fault in done["faults"]]) == (1, [2])
    assert len(cli("list", "--json").json["remaps"]) == 1


def test_export_csv_is_no_formula(filled: Cli) -> None:
    """No cell of a CSV export begins as a formula of a spreadsheet does."""
    rows = list(csv.reader(io.StringIO(filled("export", "--format", "csv").out)))
    assert len(rows) > 10
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_faults_by_row(cli: Cli) -> None:
    """All faulty rows are named with their number, and none of the file is imported."""
    file = cli.folder / "remaps.csv"
    file.write_text(
        "old_uri,new_uri,kind\n"
        "sip:a@127.0.0.1,sip:b@127.0.0.2,user\n"
        "sip:a@127.0.0.1,nonsense,user\n"
        "sip:112@127.0.0.1,sip:b@127.0.0.2,user\n"
        "sip:a@127.0.0.1,sip:a@127.0.0.1,user\n"
        "sip:a@127.0.0.1,sip:b@127.0.0.2,registrar\n"
    )
    done = cli("import", file, "--json", code=2).json
    assert [fault["row"] for fault in done["faults"]] == [2, 3, 4, 5]
    assert cli("list", "--json").json == {"remaps": []}


def test_dry_run(cli: Cli) -> None:
    """--dry-run says what is faulty and changes nothing."""
    file = cli.folder / "remaps.json"
    file.write_text(json.dumps([{"old_uri": "sip:a@127.0.0.1", "new_uri": "sip:b@127.0.0.2"}]))
    assert "none faulty" in cli("import", file, "--dry-run").out
    assert cli("list", "--json").json == {"remaps": []}


def test_import_does_not_approve_by_itself(cli: Cli) -> None:
    """What must never happen, 4: a row that says approved is pending until --approve, and a held one stays so."""
    file = cli.folder / "remaps.json"
    rows = [
        {"old_uri": "sip:a@127.0.0.1", "new_uri": "sip:b@127.0.0.2", "state": "approved"},
        {"old_uri": "sip:c@127.0.0.1", "new_uri": "sip:b@10.9.9.9", "state": "approved"},
    ]
    file.write_text(json.dumps(rows))
    cli("import", file)
    assert {state for state, *_ in pairs(cli)} == {"pending"}
    done = cli("import", file, "--approve", "--json", code=3).json
    assert (done["approved"], [held["row"] for held in done["held"]]) == (1, [2])


@pytest.mark.parametrize(("name", "text"), [("a.csv", "old,new\n1,2\n"), ("a.json", "{"), ("b.json", '{"remaps": 1}')])
def test_no_file_of_remaps(cli: Cli, tmp_path: Path, name: str, text: str) -> None:
    """A file that holds no remaps is wrong usage."""
    (tmp_path / name).write_text(text)
    assert "row 0" not in cli("import", tmp_path / name, code=2).err


@pytest.mark.parametrize(
    "text", ["old_uri,new_uri\nsip:a@b.test,sip:c@d.test\n", '[{"old_uri": "sip:a@b.test", "new_uri": "sip:c@d.test"}]']
)
def test_byte_order_mark(cli: Cli, tmp_path: Path, text: str) -> None:
    """What an editor or a spreadsheet puts before the text is not a part of it, in CSV and in JSON."""
    (tmp_path / "remaps").write_text(text, encoding="utf-8-sig")
    assert cli("import", tmp_path / "remaps", "--json").json["new"] == 1


def test_export_that_fails_prints_nothing(cli: Cli) -> None:
    """A database that can't be used, and a filter that is wrong, are told before the first piece of JSON."""
    (cli.folder / "redirectd.db").write_bytes(b"no database at all" * 100)
    assert cli("export", code=1).out == ""
    (cli.folder / "redirectd.db").unlink()
    assert cli("export", "--older-than", "soon", code=2).out == ""
