"""Colour on a terminal, and none where NO_COLOR is set or output is not a terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import pexpect
import pytest

from tests.cli.conftest import Cli
from tests.cli.terminal import on_screen

COLOUR = "\x1b[3"
"""How a foreground colour begins (ECMA-48 SGR 30 to 37)."""


def on_terminal(cli: Cli, *args: str, **environ: str) -> str:
    """What a command prints on a terminal of 80 columns."""
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    env |= {"TERM": "xterm", "PAGER": "cat"} | environ
    command = ["-m", "redirectd", "--config", str(cli.config), *args]
    terminal = pexpect.spawn(
        sys.executable,
        command,
        dimensions=(60, 80),
        timeout=60,
        encoding="utf-8",
        env=env,
    )
    terminal.expect(pexpect.EOF)
    return str(terminal.before)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_diff_colours(filled: Cli, no_color: str) -> None:
    """A plan's diff is coloured on a terminal, unless NO_COLOR is set to anything but an empty text."""
    filled("approve", "1")
    out = on_terminal(filled, "plan", NO_COLOR=no_color)
    assert "alice@127.0.31.1" in out
    assert (COLOUR in out) is not bool(no_color)


def test_no_color_is_no_style_at_all(filled: Cli) -> None:
    """With NO_COLOR a table has no style either; without it its head is bold."""
    assert "\x1b[1m" in on_terminal(filled, "list")
    assert "\x1b" not in on_terminal(filled, "list", NO_COLOR="1")


def test_remaps_in_two_lines(filled: Cli) -> None:
    """On 80 columns a remap takes two lines, all of them short enough, with its URIs whole."""
    lines = on_terminal(filled, "pending", NO_COLOR="1").splitlines()
    assert max(map(len, lines)) <= 80
    place = next(number for number, line in enumerate(lines) if line.startswith(" 6  user     sip:"))
    assert lines[place] == " 6  user     sip:c10@gw10.carrier.test;user=phone"
    assert lines[place + 1].startswith("    -> sip:new10@127.0.0.1:20001  1 call  2026-11-22 ")
    assert lines[place + 1].endswith("  expiring")


def test_times_within_reasons_are_local(filled: Cli) -> None:
    """A hold's reason has its times in the local zone, which it names; JSON keeps UTC."""
    (utc,) = re.findall(r"until (\S+Z)", filled("show", "6", "--json").json["reasons"]["expiring"])
    local = datetime.fromisoformat(utc).astimezone(ZoneInfo("Asia/Tokyo"))
    assert f"until {local:%Y-%m-%d %H:%M:%S} (Asia/Tokyo)" in " ".join(
        on_terminal(filled, "show", "6", TZ="Asia/Tokyo", NO_COLOR="1").split()
    )


def test_remaps_in_one_line(filled: Cli) -> None:
    """With --wide a remap is in one line on any terminal, and so is one that is printed elsewhere."""
    wanted = "sip:c10@gw10.carrier.test;user=phone  sip:new10@127.0.0.1:20001"
    assert wanted in on_terminal(filled, "pending", "--wide")
    assert wanted in filled("pending").out


def test_a_long_uri_is_left_whole(filled: Cli) -> None:
    """A URI longer than a line is printed in one piece, so that it can be copied from the terminal as a whole."""
    uri = f"sip:{'a' * 90}@old.example;user=phone"
    rows = filled.folder / "rows.csv"
    rows.write_text(f"old_uri,new_uri\n{uri},sip:b@127.0.0.1\n")
    filled("import", rows)
    lines = on_terminal(filled, "list", "--domain", "old.example").splitlines()
    assert any(line.strip() == uri for line in lines), lines


def test_paths_are_shown_with_wide_alone(filled: Cli) -> None:
    """`plan` leaves paths out of its table, and shows them with --wide."""
    filled("approve", "1")
    filled("apply")
    assert "redirectd_htable" not in on_terminal(filled, "plan")
    assert "redirectd_htable" in on_terminal(filled, "plan", "--wide")
    assert "redirectd_htable" not in filled("history", 1).out.split("---")[0]
    assert "redirectd_htable" in filled("history", 1, "--wide").out.split("---")[0]


@pytest.mark.skipif(shutil.which("less") is None, reason="no less on this machine")
def test_the_pager(filled: Cli) -> None:
    """What is longer than a screen goes through $PAGER, less by default, as with git; q ends it, with exit code 0."""
    config = ("--config", str(filled.config))
    pager = "LESS=FRX less"
    shown = on_screen(filled.folder, *config, "list", keys="q", PAGER=pager)
    assert shown.code == 0
    assert shown.screen.startswith("id  state")
    assert len(shown.lines) < 30
    for args in (["--no-pager", *config, "list"], [*config, "list", "--limit", "3"], [*config, "list", "--json"]):
        assert on_screen(filled.folder, *args, PAGER=pager).raw.count("\n:") == 0
    assert on_screen(filled.folder, *config, "list", PAGER="head -n 1").lines[0].startswith("id  state")
    assert len(on_screen(filled.folder, *config, "list", PAGER="no-such-pager").lines) > 50


def test_the_pager_keeps_the_exit_code(filled: Cli) -> None:
    """A pager that takes nothing changes no exit code, and errors are seen behind what was printed before them."""
    filled("approve", "--flag", "none")
    config = ("--config", str(filled.config))
    shown = on_screen(filled.folder, *config, "plan", "--exit-code", PAGER="false", rows=5)
    assert shown.code == 2
    assert on_screen(filled.folder, *config, "list", "--flag", "untrsted", PAGER="false").code == 2


@pytest.mark.parametrize(("zone", "time"), [("Europe/Berlin", "17:26"), ("America/New_York", "11:26")])
def test_times_are_local(filled: Cli, zone: str, time: str) -> None:
    """A terminal shows local times and names their zone once; JSON has UTC."""
    for command in (["list", "1"], ["show", "1"]):
        shown = on_screen(filled.folder, "--config", str(filled.config), *command, TZ=zone)
        text = "\n".join(shown.lines)
        assert f"2026-11-22 {time}" in text
        assert text.count(zone) == 1
    assert filled("show", 1, "--json").json["first_seen"].startswith("2026-11-22T16:26:0")


def test_no_microseconds(filled: Cli) -> None:
    """Times of now have seconds and no more, in local time, where applies are held too."""
    config = ("--config", str(filled.config))
    for command in (["approve", "1"], ["apply"], ["approve", "7"], ["apply"], ["rollback", "--force"]):
        filled(*command)
    for name in ("history", "status", "apply"):
        text = "\n".join(on_screen(filled.folder, *config, name, TZ="Asia/Tokyo").lines)
        assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", text), text
        assert not re.search(r"\d\d:\d\d\.\d|T\d\d:|\d\d\.\d{3}", text), text
