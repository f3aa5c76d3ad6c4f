"""Completion in the real shells: commands, options and their values, ids with their old URI, files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.cli.terminal import on_screen, short_folder

ROOT = Path(__file__).parents[2]
CONFIG = """\
[database]
url = "sqlite:///redirectd.db"

[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8"]

[[target]]
name = "users"
kind = "kamailio-htable"
path = "redirectd_htable"
reload = "none"

[[target]]
name = "exported"
kind = "csv"
path = "moves.csv"
reload = "none"
"""
CASES: tuple[tuple[str, set[str], set[str]], ...] = (
    ("redirectd rev", {"review", "revoke"}, set()),
    ("redirectd approve 1", {"10", "11", "12"}, {"1", "2"}),
    ("redirectd revoke ", {"1"}, {"2", "10"}),
    ("redirectd reopen ", set(), {"1", "2"}),
    ("redirectd show ", {"1", "2", "10"}, set()),
    ("redirectd apply --target ", {"users", "exported"}, set()),
    ("redirectd pending --flag un", {"unproven", "untrusted", "unkeyed"}, {"none", "ambiguous"}),
    ("redirectd ingest --dialect asterisk-", {"asterisk-pjsip", "asterisk-json"}, {"sngrep"}),
    ("redirectd rollback ", {"1", "2", "3", "4"}, {"5"}),
    ("redirectd list --state re", {"rejected", "revoked"}, {"pending"}),
    ("redirectd list --ki", {"--kind"}, {"--flag"}),
    ("redirectd ingest full", {"full.log", "full.old"}, {"redirectd.toml"}),
    ("redirectd explain full.l", {"full.log"}, {"full.old"}),
    ("redirectd --config redirectd.toml db ", {"current", "prune", "upgrade"}, set()),
    ("redirectd help roll", {"rollback"}, set()),
)  # fmt: skip
"""A line, what has to be offered for its last word, and what must not be."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a configuration, remaps of which the first is approved, two generations, logs, and the program."""
    with short_folder() as place:
        (place / "redirectd.toml").write_text(CONFIG)
        shutil.copy(ROOT / "tests/corpus/kamailio/snippet-all-cases.log", place / "full.log")
        (place / "full.old").touch()
        (place / "bin").mkdir()
        program = place / "bin/redirectd"
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m redirectd "$@"\n')
        program.chmod(0o755)
        for args in (
            ["ingest", "full.log"],
            ["approve", "1", "--reason", "x"],
            ["apply"],
            ["approve", "4", "--reason", "x"],
            ["apply"],
        ):
            assert on_screen(place, *args).code == 0
        yield place


def environ(folder: Path) -> dict[str, str]:
    """The program first in the path, and nothing of the user's own set-up."""
    return {
        **os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": str(folder), "TERM": "dumb",
        "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder),
    }  # fmt: skip


START = {
    "bash": [
        "--norc", "--noprofile", "-i",
        "bind 'set show-all-if-ambiguous on'; bind 'set completion-query-items 0'; bind 'set page-completions off'; "
        f"source {ROOT}/docs/completions/redirectd.bash",
    ],
    "zsh": [
        "-f", "-i",
        "autoload -Uz compinit; compinit -D -u; LISTMAX=10000; setopt no_list_ambiguous; "
        f"source {ROOT}/docs/completions/_redirectd",
    ],
}  # fmt: skip


def typed(shell: str, folder: Path) -> Iterator[list[str]]:
    """What an interactive shell shows when the tab key is pressed behind each of the lines, word by word."""
    *args, start = START[shell]
    child = pexpect.spawn(
        shell, args, cwd=folder, env=environ(folder), timeout=120, encoding="utf-8", dimensions=(200, 200)
    )
    child.sendline(start)
    child.sendline("echo READY-$((40+2))")
    child.expect("READY-42")
    for number, (line, _, _) in enumerate(CASES):
        child.send(f"{line}\t\x15echo END-$((100+{number}))\r")
        child.expect(f"END-{100 + number}\r?\n")
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x08", " ", child.before)
        yield shown.split()
    child.close(force=True)


def asked(folder: Path) -> Iterator[list[str]]:
    """What fish offers for each of the lines."""
    for line, _, _ in CASES:
        script = f'source {ROOT}/docs/completions/redirectd.fish; complete -C "{line}"'
        done = subprocess.run(
            ["fish", "-N", "-c", script], cwd=folder, env=environ(folder), capture_output=True, text=True, check=True
        )
        yield [row.partition("\t")[0] for row in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, folder: Path) -> None:
    """Commands, options, files, ids, targets, flags, dialects, generations and states, in the shell itself."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    found = asked(folder) if shell == "fish" else typed(shell, folder)
    for (line, wanted, unwanted), words in zip(CASES, found, strict=True):
        missing = wanted - set(words)
        if len(wanted) == 1 and shell != "fish":  # the only one is put into the line: its rest is what is shown
            missing = {one for one in wanted if not any(one.endswith(word) or one in word for word in words)}
        assert not missing, (line, missing, words)
        assert not unwanted & (set(words) - set(line.split())), (line, words)


def test_a_broken_configuration_completes_nothing_and_says_nothing(folder: Path) -> None:
    """Completion is silent whatever is wrong: no traceback, no message between the person's words."""
    (folder / "broken.toml").write_text("[policie]\n")
    line = "redirectd --config broken.toml approve "
    done = subprocess.run(
        [folder / "bin/redirectd"],
        cwd=folder,
        env={**environ(folder), "COMP_WORDS": line, "COMP_CWORD": "4", "_REDIRECTD_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_help_lists_the_values(folder: Path) -> None:
    """`--help` names the dialects, and the targets of this configuration."""
    text = " ".join(" ".join(on_screen(folder, "apply", "--help").lines).split())
    assert "One of: users, exported." in text
    text = " ".join(" ".join(on_screen(folder, "ingest", "--help").lines).split())
    assert "Log format. Default: auto-detect. One of: auto, " in text
    assert ", hep, " in text
    assert "did you mean 'asterisk-pjsip'?" in on_screen(folder, "ingest", "--dialect", "asterisk-pjsp", "x").raw
