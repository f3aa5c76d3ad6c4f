"""review on a real terminal of 80 by 24: what is on the screen, what each key does, and the way back."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.cli.conftest import Cli
from tests.cli.reviewing import KEYS, Terminal, audit, reviewing, states


def test_card(filled: Cli) -> None:
    """A card shows both URIs with carets under what differs, calls, peers, routing today and after, and log lines."""
    with reviewing(filled, "--kind", "user") as terminal:
        screen = terminal.screen
        lines = screen.splitlines()
        place = next(number for number, line in enumerate(lines) if line.startswith("  new"))
        start = lines[place].index("newuser")
        assert lines[place + 1][start : start + len("newuser")] == "^" * len("newuser")
        assert lines[place + 1][lines[place].index("sip:")] == " "
        assert re.search(r"-- remap 1, user -+ \d+ to go --", screen)
        assert re.search(r"calls +3, first 2026-\S+ \S+, last 2026-", screen)
        assert re.search(r"peers +udp:127\.0\.31\.1:6003 \(3\)", screen)
        assert re.search(r"today +sip:alice@127\.0\.31\.1:6003 is not moved", screen)
        assert re.search(r"after +goes to sip:newuser@127\.0\.30\.2:5060 by remap 1", screen)
        assert "| SIP/2.0 301" in screen
        assert "| Contact: <sip:newuser@127.0.30.2:5060>" in screen
        assert b"\x1b" not in terminal.raw


def test_r15_numbers_choose_a_contact(filled: Cli) -> None:
    """R15: without a choice nothing is approved; c lists the Contacts, a number shows what it would do, a takes it."""
    with reviewing(filled, "--flag", "ambiguous", "--kind", "user") as terminal:
        number = filled("pending", "--flag", "ambiguous", "--json").json["remaps"][0]["id"]
        assert "1-3 Contact" in terminal.screen
        terminal.step("a", "choose one with its number or c")
        terminal.step("9", "there are Contacts 1 to 3")
        terminal.press("c")
        assert "  3 q=" in terminal.until("Contact 1 to 3 (Enter: none):")
        terminal.step("\n", "none is chosen")
        assert re.search(r"new +sip:new-low@", terminal.step("3", "after"))
        terminal.step("a", f"remap {number} is approved: to sip:new-low@")
    assert filled("show", number, "--json").json["new_uri"].startswith("sip:new-low@")


def test_approve_reject_skip_undo_quit(filled: Cli) -> None:
    """a approves, r rejects with a reason, s skips, u takes back step by step, q quits; all of it is in the audit."""
    with reviewing(filled, "--kind", "user", "--flag", "none") as terminal:
        first, second, third = (
            one["id"] for one in filled("pending", "--kind", "user", "--flag", "none", "--json").json["remaps"][:3]
        )
        terminal.step("a", f"remap {first} is approved")
        terminal.step("rnot ours\n", f"remap {second} is rejected", f"-- remap {third}, ")
        terminal.step("s", "-- remap ")
        terminal.step("u", f"undone: remap {third} is shown again", f"-- remap {third}, ")
        terminal.step("u", f"undone: remap {second} is pending again", f"-- remap {second}, ")
        terminal.step("u", f"undone: remap {first} is pending again", f"-- remap {first}, ")
        terminal.step("u", "there is nothing to undo")
        terminal.step("a", f"remap {first} is approved")
        terminal.step("r\n", f"remap {second} is rejected")
        terminal.press("q")
        screen = terminal.end()
    assert "1 approved, 1 rejected" in screen
    assert "next plan, users: 1 new" in screen
    assert [action for action, _ in audit(filled, first)] == ["approve", "revoke", "reopen", "approve"]
    assert audit(filled, second)[0] == ("reject", "not ours")
    assert states(filled)[third] == "pending"


def test_r27_suspicious_needs_force_and_reason(filled: Cli) -> None:
    """R27: a is refused with the way past it, F without a reason does nothing, F with one approves."""
    number = filled("pending", "--flag", "suspicious", "--json").json["remaps"][0]["id"]
    with reviewing(filled, "--flag", "suspicious") as terminal:
        assert "held     suspicious:" in terminal.screen
        assert "F force" in terminal.screen
        terminal.step("a", "F approves it all the same")
        terminal.step("F\n")
        terminal.press("Fasked the carrier\n")
        terminal.until(f"remap {number} is approved")
    assert audit(filled, number) == [("approve", "asked the carrier")]


def test_note_is_kept_and_taken_back(filled: Cli) -> None:
    """n keeps a note that the card shows, in any script; u gives back the one before."""
    with reviewing(filled, "--kind", "user") as terminal:
        assert "note     ask Köln 東京 first" in terminal.step("nask Köln 東京 first\n", "noted")
        terminal.step("nfound\n", "noted")
        assert "note     ask Köln 東京 first" in terminal.step("u", "the note on remap 1 is again what it was")
        terminal.step("\x1b[A\x1bOBX", "the key X does nothing here")
    assert filled("show", "1", "--json").json["note"] == "ask Köln 東京 first"
    assert states(filled)[1] == "pending"


def test_filter(filled: Cli) -> None:
    """f shows what passes another filter, keeps the one it has where nothing does, and - takes it away."""
    count = len(filled("pending", "--kind", "gateway", "--json").json["remaps"])
    with reviewing(filled) as terminal:
        terminal.step("fnonsense\n", "no filter reads so")
        terminal.step("fdomain=nowhere.invalid\n", "no waiting remap matches this filter")
        terminal.step("folder=soon\n", "not done:")
        terminal.step("f\n")
        assert ", gateway ---" in terminal.step("fkind=gateway\n", f"{count} waiting")
        terminal.step("f-\n", "filter: kind=gateway", "waiting")
        terminal.press("q")
        terminal.end()


def test_bulk_needs_the_number_typed(filled: Cli) -> None:
    """b on a filter tells the flags; a wrong number does nothing, the right one decides on all, and u takes it back."""
    wanted = [one["id"] for one in filled("pending", "--flag", "none", "--kind", "user", "--json").json["remaps"]]
    count = len(wanted)
    assert count > 3
    with reviewing(filled, "--flag", "none", "--kind", "user") as terminal:
        terminal.step("bx", f"{count} pending (flag=none kind=user); {count} without a flag", "nothing was done")
        terminal.step("ba1\n", f"type {count} to approve them:", "that is not the number")
        terminal.press(f"ba{count}\ntested\n")
        terminal.until(f"{count} approved, 0 refused; u takes all of it back")
        terminal.until("that was all")
        terminal.until("quit")
        assert {number for number, state in states(filled).items() if state == "approved"} == set(wanted)
        terminal.step("u", f"undone: {count} remaps are pending again", f"-- remap {wanted[0]}, ")
        terminal.press("q")
        assert "approved" not in terminal.end().splitlines()[-1]
    assert set(states(filled).values()) == {"pending"}
    assert audit(filled, wanted[0]) == [
        ("approve", "tested"),
        ("revoke", "undo of approve"),
        ("reopen", "undo of approve"),
    ]


def test_bulk_tells_each_refusal(filled: Cli) -> None:
    """b without a filter leaves out what is held, and says of each why."""
    pending = filled("pending", "--json").json["remaps"]
    held = {one["id"] for one in pending if {"ambiguous", "suspicious", "malformed", "unproven"} & set(one["flags"])}
    with reviewing(filled, rows=60) as terminal:
        terminal.press(f"ba{len(pending)}\n\n")
        screen = terminal.until("-- Enter: back")
        terminal.step("\n")
    left = {number for number, state in states(filled).items() if state == "pending"}
    assert held <= left < {one["id"] for one in pending}
    assert {int(number) for number in re.findall(r"(?m)^  remap (\d+): ", screen)} == left
    assert f"{len(pending) - len(left)} approved, {len(left)} refused" in screen


def test_help_and_everything_are_paged(filled: Cli) -> None:
    """? and e show a screen at a time and come back to the card, which e shows with all its tellings."""
    with reviewing(filled, "--kind", "user") as terminal:
        terminal.press("?")
        assert "b  decide on all that the filter passes" in terminal.until("-- Enter: back")
        assert "remap 1, user" in terminal.step("\n")
        terminal.press("e")
        terminal.until("lines (Enter: next page, q: back)")
        terminal.step("q", "-- remap 1, user")
        tellings = len(filled("show", "1", "--json").json["evidence"])
        terminal.press("e")
        while terminal.page():
            terminal.press("\n")
        terminal.step("\n")
        assert tellings > 1
        assert terminal.raw.count(b"| Call-ID:") >= tellings


def test_nothing_to_do(cli: Cli, filled: Cli) -> None:
    """With nothing to review it says what to do; with nothing that passes a filter, what waits without it."""
    screen = Terminal(filled, "--domain", "nowhere.invalid").end()
    assert re.search(r"no waiting remap matches domain=nowhere.invalid \(\d+ without the filter\)", screen)
    cli.config.write_text(cli.config.read_text().replace("redirectd.db", "empty.db"))
    assert "redirectd ingest FILE" in Terminal(cli).end()


def stale(cli: Cli, number: int) -> None:
    """Approves a remap, and lets its review date be past."""
    cli.config.write_text(cli.config.read_text().replace("[policy]\n", '[policy]\nrevalidate_after = "365d"\n'))
    cli("approve", number)
    with closing(sqlite3.connect(cli.folder / "redirectd.db")) as database, database:
        database.execute(f"UPDATE remap SET revalidate_after = '2026-01-01 00:00:00.000000' WHERE id = {number}")


def test_r36_stale_comes_first_and_can_be_kept(filled: Cli) -> None:
    """R36: an approved remap past its review date is shown before what is pending, and k gives it a new date."""
    stale(filled, 7)
    with reviewing(filled) as terminal:
        assert "-- remap 7, user, approved ---" in terminal.screen
        assert "look     stale:" in terminal.screen
        terminal.step("a", "approved already")
        terminal.step("kstill right\n", "remap 7 is kept")
        terminal.step("k", "only an approved one can be kept")
    shown = filled("show", "7", "--json").json
    assert (shown["state"], shown["stale"], shown["audit"][-1]["action"]) == ("approved", False, "confirm")


def test_r36_a_filter_passes_what_is_stale_too(filled: Cli) -> None:
    """R36: a filter that an approved remap past its review date passes shows it, first; one that it fails does not."""
    stale(filled, 7)
    with reviewing(filled, "--flag", "stale") as terminal:
        assert "1 waiting" in terminal.screen
        assert "-- remap 7, user, approved ---" in terminal.screen
        terminal.step("b", "no pending remap matches the filter")
        assert "-- remap 7, user, approved ---" in terminal.step("fkind=user\n", "waiting")
        assert ", gateway ---" in terminal.step("fkind=gateway\n", "waiting")
        terminal.press("q")
        terminal.end()
    assert "no waiting remap matches flag=failing" in Terminal(filled, "--flag", "failing").end()


def test_r35_a_revoked_one_can_be_given_back(filled: Cli) -> None:
    """R35: r revokes an approved one, and u makes the approval stand again, to the same URI."""
    stale(filled, 7)
    before = filled("show", "7", "--json").json
    with reviewing(filled) as terminal:
        terminal.step("rmoved back\n", "remap 7 is revoked")
        assert states(filled)[7] == "revoked"
        terminal.step("u", "undone: remap 7 is approved again", "-- remap 7, user, approved")
    after = filled("show", "7", "--json").json
    assert (after["state"], after["new_uri"], after["stale"]) == ("approved", before["new_uri"], True)


@pytest.mark.parametrize("decision", ["a", "r"])
def test_proposals(cli: Cli, decision: str) -> None:
    """p shows what most users of a host did; a1 approves the one gateway move, r1 rejects it, and u takes it back."""
    rows = [f"sip:u{number}@127.0.0.1,sip:u{number}@127.0.0.2" for number in range(6)]
    file = cli.folder / "remaps.csv"
    file.write_text("old_uri,new_uri\n" + "\n".join([*rows, "sip:x@127.0.0.1,sip:y@127.0.0.3"]) + "\n")
    cli("import", file)
    with reviewing(cli) as terminal:
        assert "7 waiting; 1 host may have moved as a whole: p\n" in terminal.screen
        terminal.press("p")
        screen = terminal.until("Enter: none):")
        assert "6 of 7 users (86 %) moved so" in screen
        assert "except   remap 7: sip:x@127.0.0.1 to sip:y@127.0.0.3" in screen
        terminal.step("z1\n", "nothing was done")
        word = {"a": "approved", "r": "rejected"}[decision]
        terminal.step(f"p{decision}1\ntold by the carrier\n", f"gateway remap 8 is {word}: sip:127.0.0.1 to")
        assert states(cli)[8] == word
        assert len(cli("pending", "--flag", "redundant", "--json").json["remaps"]) == (6 if decision == "a" else 0)
        if decision == "a":
            terminal.step("fflag=redundant\n", "6 waiting")
            terminal.press("b")
            screen = terminal.until("neither")
            assert "6 pending (flag=redundant); 0 without a flag, " in screen
            assert "6 redundant" in screen
            terminal.step("x", "nothing was done")
        terminal.step("u", "undone: remap 8 is pending again", "-- remap 8, gateway")


def test_without_a_terminal_lines_are_keys(filled: Cli) -> None:
    """Input from a pipe is read by lines, and its end is a quit; a reason that never came rejects nothing."""
    command = [sys.executable, "-m", "redirectd", "--config", str(filled.config), "review", "--kind", "user"]
    done = subprocess.run(command, input="a\nr\nnot ours\nr\n", text=True, capture_output=True, check=True)
    assert "1 approved, 1 rejected" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert [state for _, state in sorted(states(filled).items())][:4] == ["approved", "rejected", "pending", "pending"]
    assert KEYS in done.stdout
