"""What a command says is true: nothing hidden is taken for nothing there, nothing known for new."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from redirectd import collect, review
from redirectd.review.holds import ALL_FLAGS, LOOKS
from tests.cli.conftest import Cli

LOG = "asterisk/ast22-pjsip.full.log"
GATEWAYS = """
[[target]]
name = "gateways"
kind = "kamailio-dispatcher"
path = "dispatcher.list"
base = "base.list"
reload = "none"
"""


@pytest.mark.parametrize("command", ["pending", "list", "show", "lookup", "export", "approve", "reject"])
def test_an_unknown_flag_is_an_error(filled: Cli, command: str) -> None:
    """A misspelt flag is wrong usage with the nearest name, in every command with filters: nothing is done."""
    result = filled(command, "--flag", "untrsted", code=2)
    assert result.out == ""
    assert "there is no such flag" in result.err
    assert "did you mean 'untrusted'?" in result.err
    assert "use one of: none, ambiguous," in filled(command, "--flag", "zzzzzz", code=2).err


def test_every_flag_that_the_code_sets_is_known() -> None:
    """No rule sets a flag that the filters would refuse."""
    folders = [Path(room.__file__).parent for room in (collect, review) if room.__file__]
    text = "".join(file.read_text() for folder in folders for file in folder.glob("*.py"))
    found = set(re.findall(r'flags\["([a-z-]+)"\] \+?=', text))
    assert len(found) > 6
    assert found | LOOKS <= ALL_FLAGS


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["pending", "--domain", "no.such"], "no pending remap matches domain=no.such (28 without the filter)"),
        (["list", "--flag", "stale"], "no remap matches flag=stale (28 without the filter)"),
        (["list", "--state", "rejected"], "no rejected remap (28 in other states)"),
        (["list", "--state", "rejected", "--peer", "x"], "no rejected remap matches peer=x (0 without the filter)"),
        (["pending", "--after", "99"], "no pending remap after id 99 (28 before it)"),
        (["show", "--domain", "no.such"], "no remap matches domain=no.such (28 without the filter)"),
        (["lookup", "--domain", "no.such"], "no remap matches domain=no.such (28 without the filter)"),
        (["export", "--domain", "no.such"], "no remap matches domain=no.such (28 without the filter)"),
        (
            ["approve", "--domain", "no.such"],
            "nothing to approve: no pending remap matches domain=no.such (28 without the filter)",
        ),
    ],
)
def test_an_empty_answer_says_what_the_filter_hides(filled: Cli, args: list[str], said: str) -> None:
    """Where remaps are there and none passes, their number is said; exit code 0."""
    assert said in filled(*args).err.splitlines()


def test_a_named_remap_in_another_state_is_not_nothing(filled: Cli) -> None:
    """`pending ID` of an approved remap says that it is approved, instead of that nothing waits."""
    filled("approve", 1)
    result = filled("pending", 1)
    assert (result.out, result.err) == ("", "remap 1 is approved\n")


def test_reading_a_log_again_says_that_all_is_known(cli: Cli) -> None:
    """R8: a log that was read before has its 301s still; they are counted as known, in JSON too."""
    log = cli.corpus / LOG
    assert "       10  301s, each counted once\n" in cli("ingest", log).out
    again = cli("ingest", log).out
    assert "       10  301s, all known\n" in again
    assert "0  301s, each" not in again
    found = cli("ingest", "--json", log).json
    assert (found["sightings"], found["known"]) == (0, 10)


def test_base_lines_are_not_new(cli: Cli) -> None:
    """In a dispatcher list that is not there yet, `approve` and `plan` count the gateways that move, and no others."""
    (cli.folder / "base.list").write_text("1 sip:127.0.0.1:5060\n1 sip:127.0.0.9:5060\n")
    cli.configure(GATEWAYS)
    rows = cli.folder / "rows.csv"
    rows.write_text("kind,old_uri,new_uri\ngateway,sip:127.0.0.1:5060,sip:127.0.0.2:5060\n")
    cli("import", rows)
    assert "next plan, gateways: 1 changed\n" in cli("approve", 1, "--reason", "moved").out
    counts = {"create": 0, "update": 1, "delete": 0, "unchanged": 1}
    target = cli("plan", "--json").json["targets"][0]
    assert {name: target[name] for name in counts} == counts


def test_apply_of_another_plan_shows_no_table(filled: Cli) -> None:
    """`apply --plan` with the checksum of another plan is refused before any table: nobody asked for this plan."""
    filled("approve", 1)
    result = filled("apply", "--plan", "0" * 64, code=3)
    assert result.out == ""
    assert result.err.startswith("redirectd: --plan\n  why:        the plan has changed")


def test_a_rollback_that_changes_nothing_holds_nothing(filled: Cli) -> None:
    """A rollback to what is installed leaves applies as they are, and says so; a real one holds them."""
    filled("approve", 1)
    filled("apply")
    assert filled("rollback", 1).out.splitlines()[-1] == "nothing to change"
    filled("apply")
    filled("approve", 7)
    filled("apply")
    assert "applies are held" in filled("rollback", 1).out
    filled("apply", code=3)
