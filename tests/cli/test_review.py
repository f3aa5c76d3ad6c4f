"""review on a real terminal of 80 columns: what is on the screen, what each key does, and the way back."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pexpect
import pyte
import pytest

from tests.cli.conftest import Cli

COLUMNS = 80
LAST = "? more keys"


class Terminal:
    """`redirectd review` on a pty; `screen` is what a person with 80 by 200 characters sees."""

    def __init__(self, cli: Cli, *args: str) -> None:
        command = ["-m", "redirectd", "--config", str(cli.config), "review", *args]
        environment = {**os.environ, "TERM": "vt100"}
        self.child = pexpect.spawn(sys.executable, command, dimensions=(200, COLUMNS), timeout=60, env=environment)
        self._screen = pyte.Screen(COLUMNS, 200)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    def until(self, text: str) -> str:
        """Waits for a text; gives the screen as it is then."""
        self.child.expect_exact(text.encode())
        return self._take()

    def end(self) -> str:
        """Waits for the end with exit code 0; gives the screen."""
        self.child.expect(pexpect.EOF)
        screen = self._take()
        self.child.close()
        assert self.child.exitstatus == 0
        return screen

    def press(self, keys: str) -> None:
        """Sends keys as they are."""
        self.child.send(keys)

    def _take(self) -> str:
        matched = self.child.after if isinstance(self.child.after, bytes) else b""
        seen = self.child.before + matched
        self.raw += seen
        self._stream.feed(seen)
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()


@pytest.fixture
def terminal(filled: Cli) -> Iterator[Terminal]:
    """A review of the users' remaps of the corpus."""
    opened = Terminal(filled, "--kind", "user")
    yield opened
    opened.child.close(force=True)


def states(cli: Cli) -> dict[int, str]:
    """State by id."""
    return {remap["id"]: remap["state"] for remap in cli("list", "--json").json["remaps"]}


def test_card(filled: Cli, terminal: Terminal) -> None:
    """A card shows both URIs with carets under what differs, calls, peers, routing today and after, and log lines."""
    screen = terminal.until(LAST)
    lines = screen.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("  new"))
    start = lines[place].index("newuser")
    assert lines[place + 1][start : start + len("newuser")] == "^" * len("newuser")
    assert lines[place + 1][lines[place].index("sip:")] == " "
    assert re.search(r"calls +3, 2026-", screen)
    assert re.search(r"peers +udp:127\.0\.31\.1:6003 \(3\)", screen)
    assert re.search(r"today +sip:alice@127\.0\.31\.1:6003 is not moved", screen)
    assert re.search(r"after +goes to sip:newuser@127\.0\.30\.2:5060 by remap 1", screen)
    assert "| SIP/2.0 301" in screen
    assert b"\x1b" not in terminal.raw


def test_no_line_is_wider_than_the_terminal(filled: Cli, terminal: Terminal) -> None:
    """All cards of the corpus, their evidence and the help fit 80 columns."""
    terminal.until(LAST)
    terminal.press("?e" + "se" * 60)
    terminal.end()
    lines = terminal.raw.decode().replace("\r", "").split("\n")
    assert len(lines) > 300
    assert [line for line in lines if len(line) > COLUMNS] == []


def test_keys(filled: Cli, terminal: Terminal) -> None:
    """a approves, a number chooses the Contact (R15), u takes back, r rejects with a reason, s skips, q quits."""
    terminal.until(LAST)
    terminal.press("a")
    terminal.until("remap 1 is approved")
    terminal.until(LAST)
    terminal.press("a")
    terminal.until("choose one with")
    terminal.press("3")
    terminal.until("after")
    terminal.until(LAST)
    terminal.press("a")
    terminal.until("remap 2 is approved")
    terminal.until(LAST)
    terminal.press("u")
    terminal.until("undone: remap 2 is pending again")
    terminal.until(LAST)
    terminal.press("rnot ours\n")
    terminal.until("remap 2 is rejected")
    terminal.until(LAST)
    terminal.press("s")
    terminal.until(LAST)
    terminal.press("q")
    screen = terminal.end()
    assert "1 approved, 1 rejected, 1 skipped" in screen
    assert "next: redirectd plan" in screen
    found = states(filled)
    assert (found[1], found[2], found[4]) == ("approved", "rejected", "pending")
    audit = filled("show", "2", "--json").json["audit"]
    assert [entry["action"] for entry in audit] == ["approve", "revoke", "reopen", "reject"]
    assert audit[-1]["reason"] == "not ours"


def test_bulk_needs_the_number_typed(filled: Cli) -> None:
    """b on a filter: a wrong number does nothing, the right one decides on all, and u takes all of it back."""
    terminal = Terminal(filled, "--flag", "none", "--kind", "user")
    count = len(filled("pending", "--flag", "none", "--kind", "user", "--json").json["remaps"])
    assert count > 3
    before = states(filled)
    terminal.until(LAST)
    terminal.press("ba")
    terminal.until("to approve them:")
    terminal.press("1\n")
    terminal.until("nothing was done")
    terminal.press("ba")
    terminal.until(f"type {count} to approve them:")
    terminal.press(f"{count}\n")
    terminal.until("why")
    terminal.press("tested\n")
    terminal.until(f"{count} approved, 0 refused")
    terminal.end()
    after = states(filled)
    assert sum(after[one] == "approved" for one in before) == count


def test_bulk_can_be_undone(filled: Cli) -> None:
    """u after a bulk rejection puts every one of it back."""
    terminal = Terminal(filled)
    before = states(filled)
    terminal.until(LAST)
    terminal.press("ffl")
    terminal.press("ag=ambiguous\n")
    terminal.until("waiting")
    terminal.until(LAST)
    count = len(filled("pending", "--flag", "ambiguous", "--json").json["remaps"])
    terminal.press("s" if count == 0 else "br")
    terminal.until("to reject them:")
    terminal.press(f"{count}\n\n")
    terminal.until(f"{count} rejected, 0 refused")
    terminal.end()
    assert sum(state == "rejected" for state in states(filled).values()) == count
    assert set(before.values()) == {"pending"}


def test_suspicious_needs_force_and_reason(filled: Cli) -> None:
    """R27: a is refused with the way past it, F without a reason does nothing, F with one approves."""
    terminal = Terminal(filled, "--flag", "suspicious")
    number = filled("pending", "--flag", "suspicious", "--json").json["remaps"][0]["id"]
    screen = terminal.until(LAST)
    assert "held     suspicious:" in screen
    terminal.press("a")
    terminal.until("F approves it all the same")
    terminal.press("F\n")
    terminal.until(LAST)
    terminal.press("Fasked the carrier\n")
    terminal.until(f"remap {number} is approved")
    terminal.press("q")
    terminal.end()
    assert filled("show", number, "--json").json["audit"][-1]["reason"] == "asked the carrier"


def test_note_and_unknown_keys(filled: Cli, terminal: Terminal) -> None:
    """n keeps a note, arrows and unknown keys do nothing, Ctrl-D quits."""
    terminal.until(LAST)
    terminal.press("\x1b[A\x1bOBnask Berlin first\n")
    terminal.until("noted")
    terminal.press("X")
    terminal.until("the key X does nothing here")
    terminal.press("\x04")
    terminal.end()
    assert filled("show", "1", "--json").json["note"] == "ask Berlin first"
    assert states(filled)[1] == "pending"


def test_interrupt_leaves_the_terminal_as_it_was(filled: Cli, terminal: Terminal) -> None:
    """Ctrl-C ends it with what was decided standing, and the terminal echoes again."""
    terminal.until(LAST)
    terminal.press("a")
    terminal.until("remap 1 is approved")
    terminal.until(LAST)
    terminal.press("\x03")
    terminal.until("1 approved")
    assert terminal.child.getecho()
    terminal.child.expect(pexpect.EOF)
    assert states(filled)[1] == "approved"


def test_without_a_terminal_lines_are_keys(filled: Cli) -> None:
    """Input that is no terminal is read line by line, and its end is a quit."""
    command = [sys.executable, "-m", "redirectd", "--config", str(filled.config), "review", "--kind", "user"]
    done = subprocess.run(command, input="a\nr\nnot ours\n", text=True, capture_output=True, check=True)
    assert "1 approved" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= COLUMNS
    assert states(filled)[1] == "approved"
    assert states(filled)[2] == "rejected"


def test_nothing_to_do(cli: Cli) -> None:
    """With nothing to review it says what to do, and ends with 0."""
    cli("db", "upgrade")
    terminal = Terminal(cli)
    assert "redirectd ingest FILE" in terminal.end()


def test_stale_comes_first_and_can_be_kept(filled: Cli) -> None:
    """R36: an approved remap past its review date is shown before what is pending, and k gives it a new date."""
    filled.config.write_text(filled.config.read_text().replace("[policy]\n", '[policy]\nrevalidate_after = "365d"\n'))
    filled("approve", "7")
    with closing(sqlite3.connect(filled.folder / "redirectd.db")) as database, database:
        database.execute("UPDATE remap SET revalidate_after = '2026-01-01 00:00:00.000000' WHERE id = 7")
    terminal = Terminal(filled)
    screen = terminal.until(LAST)
    assert "remap 7, " in screen
    assert "stale:" in screen
    terminal.press("kstill right\n")
    terminal.until("remap 7 is kept")
    terminal.until(LAST)
    terminal.press("q")
    terminal.end()
    shown = filled("show", "7", "--json").json
    assert (shown["state"], shown["stale"], shown["audit"][-1]["action"]) == ("approved", False, "confirm")


def test_proposals(cli: Cli) -> None:
    """p shows what most users of a host did, a1 approves the one gateway move, and the users' remaps are redundant."""
    rows = [f"sip:u{number}@127.0.0.1,sip:u{number}@127.0.0.2" for number in range(6)]
    file = cli.folder / "remaps.csv"
    file.write_text("old_uri,new_uri\n" + "\n".join([*rows, "sip:x@127.0.0.1,sip:y@127.0.0.3"]) + "\n")
    cli("import", file)
    terminal = Terminal(cli)
    terminal.until(LAST)
    terminal.press("p")
    screen = terminal.until("Enter: none):")
    assert "6 of 7 users (86 %) moved so" in screen
    assert "except   remaps 7" in screen
    terminal.press("a1\ntold by the carrier\n")
    terminal.until("gateway remap 8 is approved: sip:127.0.0.1 to sip:127.0.0.2")
    terminal.until("6 remaps say the same")
    terminal.until(LAST)
    terminal.press("q")
    terminal.end()
    assert len(cli("pending", "--flag", "redundant", "--json").json["remaps"]) == 6
    assert cli("show", "8", "--json").json["state"] == "approved"
