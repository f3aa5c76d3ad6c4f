"""Recorded screens: every command on a terminal of 80 by 24, line by line.

`RECORD_SCREENS=1 pytest tests/cli/test_screens.py` writes them anew; look at the difference before you keep it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from redirectd.cli.main import COMMANDS
from tests.cli.terminal import Shown, masked, on_screen, short_folder

SCREENS = Path(__file__).with_name("screens")
ELSEWHERE = {"demo", "run", "review", "init", "db-target", "console"}
"""Commands whose screens others look at: test_setup, tests/service, test_review, tests/docs, tests/console."""

CONFIG = """\
node = "sip1"

[database]
url = "sqlite:///redirectd.db"

[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8", "2001:db8::/32"]

[daemon]
socket = "status.sock"

[[target]]
name = "users"
kind = "kamailio-htable"
path = "redirectd_htable"
reload = "none"

[[target]]
name = "gateways"
kind = "kamailio-dispatcher"
path = "dispatcher.list"
base = "base.list"
reload = "none"
"""
BASE = "1 sip:127.0.30.1:5060 8 10 duid=carrier-a\n1 sip:127.0.30.7:5060 8 10 duid=carrier-b\n"

STEPS: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("help", ("help",), 0),
    ("help-db", ("help", "db"), 0),
    ("wrong-command", ("pendign",), 2),
    ("wrong-option", ("pending", "--flags", "untrusted"), 2),
    ("wrong-flag", ("pending", "--flag", "untrsted"), 2),
    ("wrong-choice", ("list", "--state", "aproved"), 2),
    ("missing-argument", ("explain",), 2),
    ("pending-nothing", ("pending",), 0),
    ("ingest", ("ingest", "full", "kamailio.log"), 0),
    ("ingest-again", ("ingest", "full", "kamailio.log"), 0),
    ("explain", ("explain", "full"), 0),
    ("check", ("check",), 0),
    ("pending", ("pending", "--limit", "6"), 0),
    ("pending-hidden", ("pending", "--domain", "no.such"), 0),
    ("list", ("list", "--kind", "gateway"), 0),
    ("show", ("show", "7"), 0),
    ("approve", ("approve", "1", "3"), 0),
    ("approve-refused", ("approve", "2"), 3),
    ("reject", ("reject", "4", "--reason", "not ours"), 0),
    ("reopen", ("reopen", "4"), 0),
    ("plan", ("plan",), 0),
    ("apply-dry-run", ("apply", "--dry-run"), 0),
    ("apply-another-plan", ("apply", "--plan", "0" * 64), 3),
    ("apply", ("apply",), 0),
    ("lookup", ("lookup", "sip:alice@127.0.31.1:6003"), 0),
    ("approve-more", ("approve", "8", "--reason", "asked the carrier"), 0),
    ("apply-more", ("apply",), 0),
    ("history", ("history",), 0),
    ("history-one", ("history", "1"), 0),
    ("events", ("events", "--limit", "4"), 0),
    ("notify-test", ("notify", "test"), 2),
    ("rollback", ("rollback",), 0),
    ("apply-held", ("apply",), 3),
    ("revoke", ("revoke", "8"), 0),
    ("apply-resume", ("apply", "--resume"), 0),
    ("status", ("status",), 0),
    ("status-losses", ("status", "--losses"), 0),
    ("status-healthy", ("status", "--healthy"), 2),
    ("export", ("export", "--format", "csv", "--state", "approved", "--kind", "gateway"), 0),
    ("import", ("import", "rows.csv", "--dry-run"), 0),
    ("db-current", ("db", "current"), 0),
    ("db-upgrade", ("db", "upgrade"), 0),
    ("db-prune", ("db", "prune"), 0),
    ("snippet", ("snippet", "asterisk", "--generic"), 0),
    ("simulate", ("simulate", "full"), 0),
)


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest) -> Iterator[dict[str, Shown]]:
    """Each step's screen, masked, one after another in one folder with the logs of the corpus."""
    corpus = Path(__file__).parents[1] / "corpus"
    found: dict[str, Shown] = {}
    with short_folder() as folder:
        (folder / "redirectd.toml").write_text(CONFIG)
        (folder / "base.list").write_text(BASE)
        (folder / "rows.csv").write_text("old_uri,new_uri\nsip:a@127.0.0.1,sip:b@127.0.0.1\n")
        shutil.copy(corpus / "asterisk/ast22-pjsip.full.log", folder / "full")
        shutil.copy(corpus / "kamailio/snippet-all-cases.log", folder / "kamailio.log")
        for name, args, _ in STEPS:
            if args[0] in COMMANDS or name.startswith("wrong"):
                one = on_screen(folder, *args)
                found[name] = Shown(masked(one.screen, folder), one.lines, one.raw, one.code)
        yield found


@pytest.mark.parametrize(("name", "args", "code"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_screen(shown: dict[str, Shown], name: str, args: tuple[str, ...], code: int) -> None:
    """The command shows what was recorded, with the recorded exit code."""
    if name not in shown:
        pytest.skip(f"no command {args[0]}")
    file = SCREENS / f"{name}.txt"
    if os.environ.get("RECORD_SCREENS"):
        SCREENS.mkdir(exist_ok=True)
        file.write_text(shown[name].screen)
    assert shown[name].screen == file.read_text()
    assert shown[name].code == code


def test_every_command_has_a_screen() -> None:
    """No command is left out."""
    assert set(COMMANDS) - ELSEWHERE <= {args[0] for _, args, _ in STEPS}
    assert {file.stem for file in SCREENS.iterdir()} <= {name for name, _, _ in STEPS}


def test_no_word_is_broken(shown: dict[str, Shown]) -> None:
    """No line but one with a long word alone, and those of files and diffs, is wider than the terminal."""
    theirs = {
        "explain",
        "show",
        "plan",
        "apply-dry-run",
        "history-one",
        "export",
        "snippet",
        "simulate",
        "status-losses",
    }
    for name, one in shown.items():
        wide = [line for line in one.lines if len(line) > 80 and "\r" not in line and len(line.split()) > 2]
        assert name in theirs or not wide, (name, wide)
