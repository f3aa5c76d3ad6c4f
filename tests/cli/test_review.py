"""review on a real terminal: keys decide, and every decision can be taken back."""

from __future__ import annotations

import sys

import pexpect
import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def terminal(filled: Cli) -> pexpect.spawn:
    """`redirectd review` on a pty of 80 columns."""
    args = ["-m", "redirectd", "--config", str(filled.config), "review", "--kind", "user"]
    return pexpect.spawn(sys.executable, args, dimensions=(50, 80), timeout=60, encoding="utf-8")


def say(terminal: pexpect.spawn, after: str, key: str) -> None:
    """Presses a key once `after` was shown and the keys are offered again."""
    terminal.expect_exact(after)
    terminal.expect_exact("[q]uit")
    terminal.send(key)


def test_keys(filled: Cli, terminal: pexpect.spawn) -> None:
    """a approves, a number chooses the Contact (R15), u takes back, r rejects with a reason, s skips, q quits."""
    say(terminal, "remap 1\r\n", "a")
    say(terminal, "remap 2\r\n", "a")
    say(terminal, "choose one", "3")
    say(terminal, "remap 4\r\n", "u")
    say(terminal, "2 is pending again", "r")
    terminal.expect_exact("why")
    terminal.send("not ours\r")
    say(terminal, "remap 5\r\n", "s")
    say(terminal, "remap 6\r\n", "q")
    terminal.expect_exact("1 approved, 1 rejected, 1 skipped")
    terminal.expect(pexpect.EOF)
    states = {remap["id"]: remap["state"] for remap in filled("list", "--json").json["remaps"]}
    assert {number: states[number] for number in (1, 2, 4, 5)} == {
        1: "approved",
        2: "pending",
        4: "rejected",
        5: "pending",
    }
    audit = filled("show", "2", "--json").json["audit"]
    assert [entry["action"] for entry in audit] == ["approve", "revoke", "reopen"]


def test_needs_a_terminal(cli: Cli) -> None:
    """Without a terminal it is wrong usage, and says which commands to use."""
    assert "redirectd approve" in cli("review", code=2).err


def test_nothing_to_do(cli: Cli) -> None:
    """With nothing pending it says what to do, and ends with 0."""
    cli("db", "upgrade")
    args = ["-m", "redirectd", "--config", str(cli.config), "review"]
    terminal = pexpect.spawn(sys.executable, args, timeout=60, encoding="utf-8")
    terminal.expect_exact("redirectd ingest")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
