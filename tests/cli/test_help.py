"""Help is instant, complete, and says what the contract says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from redirectd.cli import commands
from redirectd.cli.main import COMMANDS, LazyGroup, cli

HEAVY = ("sqlalchemy", "pydantic", "rich", "alembic", "structlog", "apscheduler", "phonenumbers", "asyncio")
CONTRACT = """
    init check demo ingest explain run status pending list show lookup simulate review approve reject revoke reopen
    plan apply history rollback export import db snippet
"""


def loaded_after(*args: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a command line."""
    program = (
        "import sys\nfrom redirectd.cli.main import run\n"
        f"code = run({list(args)!r})\nassert code == 0, code\n"
        "sys.stderr.write(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("args", [("--help",), ("--version",)])
def test_help_loads_nothing_heavy(args: tuple[str, ...]) -> None:
    """`redirectd --help` and `--version` import click and nothing that is slow to import."""
    loaded = loaded_after(*args)
    assert "click" in loaded
    assert not loaded & set(HEAVY)


def test_help_of_a_command_loads_no_database() -> None:
    """Help of a command imports that command alone: no database, no configuration model."""
    assert not loaded_after("approve", "--help") & {"sqlalchemy", "alembic", "pydantic", "rich", "structlog"}


def test_commands_are_those_of_the_contract() -> None:
    """Every command of the contract is there, and none beside them."""
    assert list(COMMANDS) == CONTRACT.split()


@pytest.mark.parametrize("name", CONTRACT.split())
def test_every_command_is_documented(name: str) -> None:
    """Each command loads, its help begins as the list of commands says it, and each option says what it does."""
    assert isinstance(cli, LazyGroup)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_unknown_command_is_usage() -> None:
    """A command that is not there is wrong usage, exit code 2."""
    done = subprocess.run([sys.executable, "-m", "redirectd", "aprove"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "aprove" in done.stderr


def test_each_command_is_in_the_file_of_its_name() -> None:
    """A newcomer finds a command by its name alone, and no file there is without a command."""
    folder = Path(commands.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(COMMANDS)
