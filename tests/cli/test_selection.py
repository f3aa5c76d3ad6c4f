"""Decisions by filter, and what the next plan will contain."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime

import click
import pytest

from redirectd.store.database import Database
from redirectd.store.remap import Remap
from tests.bench.hot_incoming import fill
from tests.cli.conftest import Cli


def states(cli: Cli) -> dict[int, str]:
    """State by id."""
    return {remap["id"]: remap["state"] for remap in cli("list", "--json").json["remaps"]}


def test_approve_by_filter_tells_the_next_plan(filled: Cli) -> None:
    """All plain user remaps are approved at once, and the answer has the next plan's counts by target."""
    wanted = {r["id"] for r in filled("pending", "--flag", "none", "--kind", "user", "--json").json["remaps"]}
    assert len(wanted) > 3
    done = filled("approve", "--flag", "none", "--kind", "user", "--json").json
    assert {remap["id"] for remap in done["remaps"]} == wanted
    (target,) = done["next_plan"]["targets"]
    (planned,) = filled("plan", "--json").json["targets"]
    assert (target["name"], target["create"]) == ("users", planned["create"])
    assert {number for number, state in states(filled).items() if state == "approved"} == wanted


def test_approve_tells_the_next_plan_in_words(filled: Cli) -> None:
    """People read how many entries each target gets."""
    assert "next plan, users: 1 new" in filled("approve", "1").out
    assert "next plan, users: no change" in filled("revoke", "1").out


def test_reject_and_reopen_by_filter(filled: Cli) -> None:
    """The same filters reach reject, and reopen takes those that are in a state to be reopened."""
    count = len(filled("pending", "--flag", "ambiguous", "--json").json["remaps"])
    assert count
    filled("reject", "--flag", "ambiguous", "--reason", "later")
    assert list(states(filled).values()).count("rejected") == count
    filled("reopen", "--flag", "ambiguous")
    assert set(states(filled).values()) == {"pending"}


@pytest.mark.parametrize("args", [("approve",), ("approve", "1", "--kind", "user"), ("reject",)])
def test_ids_or_a_filter(filled: Cli, args: tuple[str, ...]) -> None:
    """Neither, or both, is wrong usage: nothing is decided by accident."""
    filled(*args, code=2)
    assert set(states(filled).values()) == {"pending"}


def test_a_filter_that_finds_nothing(filled: Cli) -> None:
    """It says so and ends with 0."""
    assert "nothing to reject" in filled("reject", "--domain", "nowhere.invalid").err


def test_r36_stale_is_shown_in_pending_and_confirmed_by_approve(filled: Cli) -> None:
    """R36: past its review date it stands first in pending, still approved, until approve gives it a new date."""
    filled("approve", "7")
    with closing(sqlite3.connect(filled.folder / "redirectd.db")) as database, database:
        database.execute("UPDATE remap SET revalidate_after = '2026-01-01 00:00:00.000000' WHERE id = 7")
    first = filled("pending", "--json").json["remaps"][0]
    assert (first["id"], first["state"], first["flags"]) == (7, "approved", ["stale"])
    assert [remap["id"] for remap in filled("list", "--flag", "stale", "--json").json["remaps"]] == [7]
    assert "stale" in filled("pending").out
    filled("approve", "7")
    assert 7 not in {remap["id"] for remap in filled("pending", "--json").json["remaps"]}
    assert states(filled)[7] == "approved"


@pytest.mark.parametrize("name", ["7", "--flag"])
def test_r36_stale_ones_are_confirmed_by_id_and_by_filter(filled: Cli, name: str) -> None:
    """R36: approve by id or --flag stale gives a new review date and leaves what is not due alone."""
    filled.config.write_text(filled.config.read_text().replace("[policy]\n", '[policy]\nrevalidate_after = "365d"\n'))
    filled("approve", "7", "3")
    with closing(sqlite3.connect(filled.folder / "redirectd.db")) as database, database:
        database.execute("UPDATE remap SET revalidate_after = '2026-01-01 00:00:00.000000' WHERE id = 7")
    names = ["7"] if name == "7" else ["--flag", "stale"]
    assert [remap["id"] for remap in filled("approve", *names, "--reason", "asked", "--json").json["remaps"]] == [7]
    last = filled("show", "7", "--json").json["audit"][-1]
    assert (last["action"], last["reason"]) == ("confirm", "asked")
    assert filled("list", "--flag", "stale", "--json").json == {"remaps": []}
    assert len(filled("show", "3", "--json").json["audit"]) == 1


def test_json_of_many_is_printed_while_it_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`list --json`, `pending --json` and `export` begin to print before all is read: no number fills the memory."""
    from redirectd.review import documents

    assert cli("db", "upgrade").code == 0
    database = Database(f"sqlite:///{cli.folder / 'redirectd.db'}")
    fill(database, 600, shared=False)
    database.close()
    made: list[int] = []
    printed: list[int] = []
    build, echo = documents.remap_json, click.echo

    def counted(remap: Remap, now: datetime) -> documents.RemapJson:
        made.append(remap.id)
        return build(remap, now)

    def noted(message: str, *, nl: bool = True, err: bool = False) -> None:
        printed.append(len(made))
        echo(message, nl=nl, err=err)

    monkeypatch.setattr(documents, "remap_json", counted)
    monkeypatch.setattr(click, "echo", noted)
    for words, count in ((["list", "--json"], 600), (["pending", "--json"], 540), (["export"], 600)):
        made.clear()
        printed.clear()
        assert len(cli(*words).json["remaps"]) == count
        assert printed[0] < count


def test_list_json_goes_by_state_and_id(filled: Cli) -> None:
    """All remaps as JSON are in the order of the table: by state, then by id; also behind an id."""
    filled("approve", "3", "1")
    filled("reject", "2")
    found = [(one["state"], one["id"]) for one in filled("list", "--json").json["remaps"]]
    order = ["pending", "approved", "rejected"]
    assert found == sorted(found, key=lambda one: (order.index(one[0]), one[1]))
    assert {state for state, _ in found} == set(order)
    behind = [(one["state"], one["id"]) for one in filled("list", "--json", "--after", "2").json["remaps"]]
    assert behind == [one for one in found if one[1] > 2]
