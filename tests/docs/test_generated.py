"""Reference pages, man pages and completions are those that the program makes of itself today."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from redirectd.cli.main import COMMANDS
from redirectd.cli.manual import ENVIRONMENT, FILES, pages
from redirectd.config.model import Config
from redirectd.targets import target_kinds
from tests.docs.page import ROOT

DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", pages())
def test_generated_files_are_fresh(name: str) -> None:
    """A changed help text or key without `make docs` is found here."""
    assert (DOCS / name).read_text(encoding="utf-8") == pages()[name], "stale: run 'make docs'"


def test_nothing_else_is_in_the_generated_folders() -> None:
    """A file that the program no longer makes is not left behind."""
    found = {str(file.relative_to(DOCS)) for folder in ("man", "completions") for file in (DOCS / folder).iterdir()}
    assert found == {name for name in pages() if "/" in name}


@pytest.mark.parametrize("page", ["man/redirectd.1", "man/redirectd.toml.5"])
@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff on this machine to format man pages")
def test_man_pages_format_without_a_warning(page: str) -> None:
    """groff has nothing to say about the pages, and nothing is lost on the way to text."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", str(DOCS / page)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    words = re.sub(r"[\u2010-]\n *|\s+", " ", done.stdout)
    expected = [f"redirectd {name}" for name in COMMANDS] if page.endswith("1") else list(Config.model_fields)
    for text in [*expected, *(target_kinds.kinds() if page.endswith("5") else [*ENVIRONMENT, *FILES])]:
        assert text in words, text


def _completed(line: str) -> list[str]:
    """What the program offers for the last word of a command line."""
    words = line.split(" ")
    environ = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_REDIRECTD_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", "from redirectd.cli.main import main; main()"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return [row.partition(",")[2] for row in done.stdout.splitlines()]


def test_commands_options_and_values_complete() -> None:
    """Each command is offered, and the options and choices of a command."""
    assert _completed("redirectd ") == list(COMMANDS)
    assert _completed("redirectd ro") == ["rollback"]
    assert "--contact" in _completed("redirectd approve --")
    assert _completed("redirectd list --state re") == ["rejected", "revoked"]
    assert _completed("redirectd snippet k") == ["kamailio"]
    assert _completed("redirectd db ") == ["current", "prune", "upgrade"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_the_bash_completion_works_in_bash(tmp_path: Path) -> None:
    """The shipped file, sourced by a bash, fills in the command."""
    program = tmp_path / "redirectd"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m redirectd "$@"\n')
    program.chmod(0o755)
    script = (
        f'source "{DOCS}/completions/redirectd.bash"; COMP_WORDS=(redirectd roll); COMP_CWORD=1; '
        '_redirectd_completion redirectd; echo "${COMPREPLY[@]}"; complete -p redirectd'
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == "rollback"
    assert "_redirectd_completion" in done.stdout


@pytest.mark.parametrize(("shell", "file"), [("zsh", "_redirectd"), ("fish", "redirectd.fish")])
def test_the_other_completions_are_read_by_their_shell(shell: str, file: str) -> None:
    """Where the shell is there, it finds no fault in the file."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    subprocess.run([shell, "-n", str(DOCS / "completions" / file)], check=True)
