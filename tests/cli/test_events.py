"""`redirectd events`: pages by a cursor, filters, and following."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.cli.conftest import Cli


def test_pages_by_the_cursor_are_the_whole(filled: Cli) -> None:
    """Going on with the last answer's cursor gives every event once; at the end the cursor stays."""
    every = filled("events", "--since", 0, "--limit", 10_000, "--json").json["events"]
    assert {one["kind"] for one in every} >= {"pending"}
    cursor, found = 0, []
    while page := (answer := filled("events", "--since", cursor, "--limit", 3, "--json").json)["events"]:
        found += page
        cursor = answer["cursor"]
    assert found == every
    assert answer["cursor"] == every[-1]["cursor"]
    assert answer["oldest"] == every[0]["cursor"]


def test_without_a_cursor_the_newest_are_shown(filled: Cli) -> None:
    """People see the last ones in a table, which says how to go on; text of the network is printable."""
    newest = filled("events", "--since", 0, "--limit", 10_000, "--json").json["events"][-2:]
    assert filled("events", "--limit", 2, "--json").json["events"] == newest
    shown = filled("events", "--limit", 2).out
    assert shown.splitlines()[-1] == f"go on with: redirectd events --since {newest[-1]['cursor']}"
    assert newest[0]["detail"]["old_uri"] in shown
    assert all(line.isprintable() for line in shown.splitlines())


def test_only_some_kinds(filled: Cli) -> None:
    """--kind restricts, a misspelt one is an error with a suggestion."""
    number = filled("pending", "--flag", "none", "--limit", 1, "--json").json["remaps"][0]["id"]
    filled("reject", number, "--reason", "wrong")
    (found,) = filled("events", "--kind", "rejected", "--json").json["events"]
    assert (found["id"], found["detail"]["reason"]) == (number, "wrong")
    assert "did you mean 'rejected'" in filled("events", "--kind", "rejectd", code=2).err


def test_nothing_yet(cli: Cli) -> None:
    """Before anything happened it says so, makes no database, and gives the cursor 0."""
    assert cli("events", "--json").json == {"events": [], "cursor": 0, "oldest": None}
    assert "no events" in cli("events").err
    assert not (cli.folder / "redirectd.db").exists()


def test_following_prints_a_line_for_each(filled: Cli) -> None:
    """--follow goes on after the cursor with one JSON object a line, and ends when its reader has gone."""
    command = [sys.executable, "-m", "redirectd", "--config", str(filled.config), "events", "--since", "0", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.terminate()
    assert lines == filled("events", "--since", 0, "--limit", 3, "--json").json["events"]
