"""review where things go wrong: small and changing terminals, hostile logs, lost connections, other people, locks."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pexpect
import pytest

from redirectd.store.database import BUSY_TIMEOUT_MS
from tests.cli.conftest import CONFIG, TARGET, Cli
from tests.cli.reviewing import KEYS, Terminal, audit, reviewing, states
from tests.review.remap_store import POLICY, RemapStore, opened

HOSTILE = (
    "SIP/2.0 301 \x1b[2J\x1b]0;owned\x07Moved\n"
    'Contact: "\u6771\u4eac\u652f\u5e97' + "\u6771" * 90 + '" <sip:a@new.example>\n'
    "X-Bidi: \u202egnp.\u2066 \u05d0\u05d1\u05d2 e\u0301\x9b31m\u2028next"
)


@contextmanager
def filled_by_hand(cli: Cli) -> Iterator[RemapStore]:
    """A database with remaps of our own making, and the policy that trusts their peer."""
    cli.config.write_text((CONFIG + TARGET).replace("127.0.0.0/8", "192.0.2.0/24", 1))
    with opened(cli.folder, POLICY) as store:
        yield store


@pytest.fixture
def odd(cli: Cli) -> Cli:
    """A hostile log line, URIs of thousands of characters, and more Contacts than a screen has rows."""
    long = "L" * 3000
    with filled_by_hand(cli) as store:
        store.sighted("sip:a@old.example", "sip:a@new.example", text=HOSTILE)
        store.sighted(f"sip:{long}@old.example", f"sip:{long}x@new.example", text=f"SIP/2.0 301 Moved\nVia: {long}")
        store.sighted("sip:p@old.example", "sip:p@new.example;" + ";".join(f"p{one}=v{one}" for one in range(90)))
        store.sighted("sip:m@old.example", *(f"sip:m{one}@h{one}.example;x={'y' * 60}" for one in range(40)))
    return cli


def columns_of(line: str) -> int:
    """The columns a line takes, where all that is not ASCII is wide, as it is in these tests."""
    return sum(1 if char.isascii() else 2 for char in line)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (72, 24), (120, 30), (200, 50)])
def test_a_card_fits_the_screen_with_its_keys(odd: Cli, columns: int, rows: int) -> None:
    """Whatever a remap holds, its title, both URIs and the keys stand on the screen, and no line is too wide."""
    with reviewing(odd, columns=columns, rows=rows) as terminal:
        for number in range(1, 5):
            screen = terminal.screen
            assert f"-- remap {number}, user" in screen
            for label in ("old", "new", "calls", "today", "log"):
                assert re.search(rf"(?m)^  {label} ", screen), label
            terminal.press("s")
            terminal.until(KEYS if number < 4 else "that was all")
        lines = terminal.raw.decode().replace("\r", "").split("\n")
        assert max(map(columns_of, lines)) <= columns


def test_a_tiny_screen_keeps_the_title_and_the_keys(odd: Cli) -> None:
    """Where even the least of a card has no room, what is cut is the end of it."""
    with reviewing(odd, columns=40, rows=12) as terminal:
        for number in (1, 2, 3):
            assert f"-- remap {number}, user" in terminal.screen
            assert len(terminal.screen.splitlines()) <= 12
            terminal.step("s")


def test_hostile_characters_reach_no_terminal(odd: Cli) -> None:
    """ESC, C1, bidi controls, right-to-left letters and combining marks are shown by number; CJK as it is."""
    with reviewing(odd, TERM="dumb") as terminal:
        terminal.press("e")
        while terminal.page():
            terminal.press("\n")
        text = terminal.raw.decode()
        assert not set(text) & set("\x1b\x07\x9b\u202e\u2066\u2028\u05d0\u0301")
        for shown in ("\\x1b[2J", "\\x07", "\\u202e", "\\u05d0", "\\u0301", "\u6771\u4eac\u652f\u5e97"):
            assert shown in text


def test_what_is_cut_can_be_seen_whole(odd: Cli) -> None:
    """A long URI is cut in its middle on the card, and e has all of it, and all Contacts."""
    with reviewing(odd) as terminal:
        assert "characters]..." in terminal.step("s", "-- remap 2, ")
        terminal.press("e")
        while terminal.page():
            terminal.press("\n")
        terminal.step("\n")
        assert len(re.findall("L{69}", terminal.raw.decode())) > 3 * 3000 // 69
        terminal.step("s", "-- remap 3, ")
        terminal.step("s", "-- remap 4, ", "more lines: e")
        terminal.press("c")
        while terminal.child.expect_exact([b"Enter: next page", b"Contact 1 to 40 (Enter: none):"]) == 0:
            terminal.press("\n")
        assert "sip:m39@h39.example" in terminal.step("40\n", "-- remap 4, ")


def test_another_size_draws_the_card_anew(filled: Cli) -> None:
    """A resized terminal gets the card in its new width, and the key that was waited for still works."""
    with reviewing(filled, "--kind", "user") as terminal:
        terminal.resize(60, 30)
        screen = terminal.step("", "-- remap 1, user")
        assert re.search(r"(?m)^-- remap 1, user -+ \d+ to go --$", screen)
        assert max(map(len, screen.splitlines())) <= 60
        os.kill(terminal.child.pid, signal.SIGCONT)
        terminal.step("", "-- remap 1, user")
        terminal.step("a", "remap 1 is approved")
    assert states(filled)[1] == "approved"


@pytest.mark.parametrize("key", ["\x03", "\x04", "q"])
def test_leaving_keeps_what_was_decided(filled: Cli, key: str) -> None:
    """Ctrl-C, Ctrl-D and q end it with what was decided standing, and the terminal echoes again."""
    with reviewing(filled, "--kind", "user") as terminal:
        terminal.step("a", "remap 1 is approved")
        terminal.press(key)
        terminal.until("1 approved")
        assert terminal.child.getecho()
        terminal.end()
    assert states(filled)[1] == "approved"


def test_ctrl_c_works_where_it_was_ignored(filled: Cli) -> None:
    """Ctrl-C ends a review that was started with SIGINT ignored, as by a job in the background."""
    with reviewing(filled, "--kind", "user", interruptible=False) as terminal:
        terminal.step("a", "remap 1 is approved")
        terminal.press("\x03")
        terminal.until("1 approved")
        terminal.end()


@pytest.mark.parametrize("breaks_off", ["\x03", "\x04", "\x1b\n"])
def test_a_question_that_is_broken_off_does_nothing(filled: Cli, breaks_off: str) -> None:
    """Ctrl-C, Ctrl-D and Escape at a reason or a note leave the remap as it is, and the review goes on."""
    with reviewing(filled, "--kind", "user") as terminal:
        for key, question in (("r", "why (Enter: no reason):"), ("n", "note:"), ("f", "none):")):
            terminal.press(key)
            terminal.until(question)
            terminal.step(breaks_off, "nothing was done")
        terminal.step("a", "remap 1 is approved")
    assert audit(filled, 1) == [("approve", "")]


def test_a_lost_connection_rejects_nothing(filled: Cli) -> None:
    """A terminal that goes away while a reason is asked for ends it, and the remap still waits."""
    terminal = Terminal(filled, "--kind", "user")
    terminal.until(KEYS)
    terminal.press("r")
    terminal.until("why (Enter: no reason):")
    os.close(terminal.child.child_fd)
    terminal.child.child_fd = -1
    os.waitpid(terminal.child.pid, 0)
    assert states(filled)[1] == "pending"


def test_keys_typed_ahead_decide_on_nothing_unseen(filled: Cli) -> None:
    """A key that was pressed twice decides once: what was typed before a card was shown is dropped."""
    with reviewing(filled, "--kind", "user", "--flag", "none") as terminal:
        terminal.press("aaaaaaaa")
        terminal.until("is approved")
        terminal.until(KEYS)
        terminal.press("q")
        terminal.end()
    assert list(states(filled).values()).count("approved") == 1


def test_another_person_was_quicker(filled: Cli) -> None:
    """What somebody else has decided meanwhile is told and left alone; what has changed is shown again first."""
    with reviewing(filled, "--kind", "user", "--flag", "none") as terminal:
        filled("reject", "1", "--reason", "theirs")
        terminal.step("a", "decided meanwhile: remap 1 is rejected", "-- remap ")
        second = int(re.findall(r"-- remap (\d+), ", terminal.screen)[-1])
        with closing(sqlite3.connect(filled.folder / "redirectd.db")) as database, database:
            database.execute('UPDATE remap SET flags = \'{"malformed": "a test"}\' WHERE id = ?', (second,))
        assert "held     malformed: a test" in terminal.step("a", "it has changed since it was shown")
        terminal.step("a", "F approves it all the same")
    assert audit(filled, 1) == [("reject", "theirs")]
    assert states(filled)[second] == "pending"


def test_undo_leaves_alone_what_somebody_decided_since(filled: Cli) -> None:
    """u after another person's revocation says so and changes nothing."""
    with reviewing(filled, "--kind", "user") as terminal:
        terminal.step("a", "remap 1 is approved")
        filled("revoke", "1", "--reason", "theirs")
        terminal.step("u", "it is revoked by now", "nothing was taken back")
        terminal.step("u", "there is nothing to undo")
    assert audit(filled, 1)[-1] == ("revoke", "theirs")


def test_a_locked_database_is_told_and_tried_again(filled: Cli) -> None:
    """A database that another process holds for long costs no decision: the same key works once it is free."""
    with reviewing(filled, "--kind", "user") as terminal:
        with closing(sqlite3.connect(filled.folder / "redirectd.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            terminal.step("a", "not done: database is locked", "what to do:")
            assert time.monotonic() - began > BUSY_TIMEOUT_MS / 1000 / 2
            database.execute("ROLLBACK")
        terminal.step("a", "remap 1 is approved")
    assert states(filled)[1] == "approved"


@pytest.mark.parametrize(("term", "no_color", "coloured"), [("xterm-256color", "", True), ("xterm", "1", False)])
def test_colours(filled: Cli, term: str, no_color: str, *, coloured: bool) -> None:
    """What differs is coloured where the terminal has colours and NO_COLOR is not set; the carets stay."""
    with reviewing(filled, "--kind", "user", columns=120, TERM=term, NO_COLOR=no_color) as terminal:
        assert (b"\x1b[32m" in terminal.raw) is coloured
        assert (b"\x1b" in terminal.raw) is coloured
        assert "^^^^^^^" in terminal.screen


@pytest.fixture
def crowd(cli: Cli, request: pytest.FixtureRequest) -> Cli:
    """Twelve hundred plain remaps: three batches; or as many as the test says."""
    count = getattr(request, "param", 1200)
    rows = [f"sip:u{number}@127.0.0.1,sip:v{number}@127.0.0.2" for number in range(count)]
    file = Path(cli.folder / "remaps.csv")
    file.write_text("old_uri,new_uri\n" + "\n".join(rows) + "\n")
    cli("import", file)
    return cli


def test_many_at_once_show_their_progress(crowd: Cli) -> None:
    """b on more than a batch says how far it is, decides on all, and u takes all of it back as quickly."""
    with reviewing(crowd) as terminal:
        terminal.press("br1200\n\n")
        for text in ("500 of 1,200 decided", "1,000 of 1,200 decided", "1,200 of 1,200 decided", "1,200 rejected"):
            terminal.until(text)
        terminal.until("that was all")
        assert set(states(crowd).values()) == {"rejected"}
        terminal.step("u", "1,200 of 1,200 taken back", "undone: 1,200 remaps are pending again")
    assert set(states(crowd).values()) == {"pending"}


@pytest.mark.parametrize("crowd", [6000], indirect=True)
def test_many_at_once_can_be_stopped(crowd: Cli) -> None:
    """Ctrl-C in the middle of many keeps the batches that are done, says how many are left, and u takes them back."""
    with reviewing(crowd) as terminal:
        terminal.press("br6000\n\n")
        terminal.until("500 of 6,000 decided")
        terminal.press("\x03")
        found = terminal.child.expect([rb"([0-9,]+) rejected, 0 refused, ([0-9,]+) not looked at", pexpect.EOF])
        assert found == 0
        done, left = (int(terminal.child.match[place].replace(b",", b"")) for place in (1, 2))
        assert done + left == 6000
        assert done % 500 == 0
        assert list(states(crowd).values()).count("rejected") == done
        terminal.until(KEYS)
        terminal.step("u", "pending again")
    assert set(states(crowd).values()) == {"pending"}
