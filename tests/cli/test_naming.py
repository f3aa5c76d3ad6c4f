"""Ids, old URIs and filters, wherever remaps are named."""

from __future__ import annotations

import os
import sys

import pexpect
import pytest

from tests.cli.conftest import Cli
from tests.cli.reviewing import states

ALICE = "sip:alice@127.0.31.1:6003"


def ids(remaps: list[dict[str, int]]) -> list[int]:
    """Their ids."""
    return [remap["id"] for remap in remaps]


def test_ids_and_uris_together(filled: Cli) -> None:
    """pending, list and show take ids and old URIs at once, each remap once, in the order given."""
    for command in ("pending", "list", "show"):
        remaps = filled(command, "3", ALICE, "1", "--json").json["remaps"]
        assert ids(remaps) == [3, 1]
    filled("approve", "3")
    assert ids(filled("pending", "3", "1", "--json").json["remaps"]) == [1]
    assert ids(filled("list", "3", "1", "--state", "approved", "--json").json["remaps"]) == [3]


@pytest.mark.parametrize(
    "wanted", [("--flag", "ambiguous"), ("--peer", "127.0.31.1"), ("--domain", "127.0.31.1"), ("--older-than", "1s")]
)
def test_every_command_takes_the_same_filters(filled: Cli, wanted: tuple[str, str]) -> None:
    """What pending finds by a filter, list, show and lookup find too, and the four decisions are about it."""
    found = filled("pending", *wanted, "--json").json["remaps"]
    assert found
    assert sorted(ids(filled("list", *wanted, "--json").json["remaps"])) == ids(found)
    assert ids(filled("show", *wanted, "--json").json["remaps"]) == ids(found)
    looked_up = [answer["uri"] for answer in filled("lookup", *wanted, "--json").json["lookups"]]
    assert looked_up == list(dict.fromkeys(remap["old_uri"] for remap in found))
    for action, state in (("reject", "rejected"), ("reopen", "pending")):
        assert ids(filled(action, *wanted, "--json").json["remaps"]) == ids(found)
        assert {states(filled)[number] for number in ids(found)} == {state}
    done = filled("approve", *wanted, "--json", code=3 if any(one["flags"] for one in found) else 0).json
    assert sorted([*ids(done["remaps"]), *(int(one["id"]) for one in done["errors"])]) == ids(found)
    if done["remaps"]:
        assert sorted(ids(filled("revoke", *wanted, "--json").json["remaps"])) == sorted(ids(done["remaps"]))


def test_show_in_words(filled: Cli) -> None:
    """Several remaps stand one behind the other with their evidence; one id gives one JSON object."""
    out = filled("show", "1", "3").out
    assert out.index("remap 1\n") < out.index("remap 3\n")
    assert out.count("| SIP/2.0 301") > 2
    assert filled("show", "1", "--json").json["id"] == 1
    assert "no remap matches domain=nowhere.invalid" in filled("show", "--domain", "nowhere.invalid").err
    filled("show", code=2)
    filled("show", "1", "--kind", "user", code=2)


def test_lookup_of_several(filled: Cli) -> None:
    """lookup takes URIs and ids; an id stands for its old URI, one name gives one JSON object."""
    filled("approve", "1")
    by_uri = filled("lookup", ALICE, "--json").json
    assert by_uri["result"] == "sip:newuser@127.0.30.2:5060"
    assert filled("lookup", "1", "--json").json == by_uri
    answers = filled("lookup", "1", "sip:nobody@example.com", "--json").json["lookups"]
    assert [answer["result"] for answer in answers] == [by_uri["result"], None]
    out = filled("lookup", "1", "nobody@example.com").out
    assert f"{ALICE} is routed to sip:newuser@127.0.30.2:5060" in out
    assert "sip:nobody@example.com is not moved" in out
    for wrong in ((), ("1", "--kind", "user"), ("9999",)):
        filled("lookup", *wrong, code=2)


@pytest.fixture
def crowd(cli: Cli) -> Cli:
    """Six hundred plain remaps, and six whose targets are private."""
    rows = [f"sip:u{number}@127.0.0.1,sip:v{number}@127.0.0.2" for number in range(600)]
    rows += [f"sip:w{number}@127.0.0.1,sip:w{number}@10.0.0.{number}" for number in range(6)]
    file = cli.folder / "remaps.csv"
    file.write_text("old_uri,new_uri\n" + "\n".join(rows) + "\n")
    cli("import", file)
    return cli


def test_many_are_counted_and_each_refusal_is_told(crowd: Cli) -> None:
    """Six hundred approvals are one line, and each of the six that are held is named with its reason."""
    result = crowd("approve", "--kind", "user", "--reason", "asked", code=3)
    assert "600 remaps are approved" in result.out
    assert len(result.out.splitlines()) < 10
    for number in range(601, 607):
        assert f"remap {number}" in result.err or f" {number}: suspicious" in result.err
    assert "6 were refused" in result.err
    again = crowd("approve", "--kind", "user", "--reason", "asked", "--json", code=3).json
    assert (again["remaps"], len(again["errors"])) == ([], 6)
    assert "600 remaps are revoked" in crowd("revoke", "--domain", "127.0.0.2").out


def test_many_ask_back_and_show_progress_on_a_terminal(crowd: Cli) -> None:
    """On a terminal a filter's number is asked back, no does nothing (1), and yes shows how far it is."""
    for answer in "ny":
        command = ["-m", "redirectd", "--config", str(crowd.config), "reject", "--domain", "127.0.0.2"]
        terminal = pexpect.spawn(sys.executable, command, timeout=60, env={**os.environ, "TERM": "vt100"})
        terminal.expect_exact("reject 600 remaps?")
        terminal.sendline(answer)
        if answer == "y":
            terminal.expect_exact("100%")
            terminal.expect_exact("600 remaps are rejected")
        else:
            terminal.expect_exact("nothing was changed")
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == (0 if answer == "y" else 1)
        assert list(states(crowd).values()).count("rejected") == (600 if answer == "y" else 0)


def test_a_number_of_no_remap_is_said_to_be_one(filled: Cli) -> None:
    """`lookup` of a number without a remap says so, instead of what is wrong with it as a URI."""
    said = filled("lookup", "+4930 0000", code=2).err
    assert "no remap of this number or user" in said
    assert "redirectd list" in said
