"""Help is instant, complete, and says what the contract says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from redirectd.cli import commands
from redirectd.cli.main import COMMANDS, LazyGroup, cli
from tests.cli.conftest import Cli

HEAVY = ("sqlalchemy", "pydantic", "rich", "alembic", "structlog", "apscheduler", "phonenumbers", "asyncio")
CONTRACT = """
    init check demo ingest explain run status pending list show lookup simulate review approve reject revoke reopen
    plan apply events history rollback export import console notify db db-target snippet help
"""


@pytest.fixture(name="line")
def command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: Path) -> Cli:
    """The command line; `cli` is the group of commands here."""
    return Cli(tmp_path, capsys, corpus)


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
    """A command that is not there is wrong usage, exit code 2, and the nearest one is named."""
    done = subprocess.run([sys.executable, "-m", "redirectd", "aprove"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "redirectd: aprove",
        "  why:        there is no such command",
        "  what to do: did you mean 'approve'? see 'redirectd --help'",
    ]


def test_help_is_a_command(line: Cli) -> None:
    """`help`, `help COMMAND` and `help db prune` print what --help prints; a wrong name is an error."""
    for names in ([], ["approve"], ["db"], ["db", "prune"]):
        assert line("help", *names).out == line(*names, "--help").out
    assert "did you mean 'prune'?" in line("help", "db", "prun", code=2).err


def test_help_of_a_group_is_whole(line: Cli) -> None:
    """The texts of `db`'s commands are not cut."""
    text = " ".join(line("db", "--help").out.split())
    assert "Bring the database's tables to what this program needs; does nothing where they are." in text
    assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("args", "where", "why", "what_to_do"),
    [
        (["pendign"], "pendign", "there is no such command", "did you mean 'pending'? see 'redirectd --help'"),
        (["db", "purge"], "db purge", "there is no such command", "did you mean 'prune'? see 'redirectd db --help'"),
        (
            ["list", "--sate", "x"], "list", "there is no such option: --sate",
            "did you mean '--state'? see 'redirectd list --help'",
        ),
        (["list", "--state", "aproved"], "list --state", "there is no such value: aproved", "did you mean 'approved'?"),
        (["explain"], "explain", "missing argument 'FILE'", "see 'redirectd explain --help'"),
        (
            ["approve", "1", "--contact", "x"], "approve --contact", "'x' is not a valid integer range",
            "see 'redirectd approve --help'",
        ),
        (["check", "extra"], "check", "got unexpected extra argument (extra)", "see 'redirectd check --help'"),
        (["show"], "show", "no remap was named", "name one: redirectd show ID"),
        (["list", "--flag", "x"], "--flag x", "there is no such flag", None),
    ],
)  # fmt: skip
def test_errors_have_one_style(line: Cli, args: list[str], where: str, why: str, what_to_do: str | None) -> None:
    """Click's errors and our own say where, why and what to do; with --json the same is one JSON document."""
    result = line(*args, code=2)
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines[:2] == [f"redirectd: {where}", f"  why:        {why}"]
    assert what_to_do is None or lines[2] == f"  what to do: {what_to_do}"
    if args[0] in {"pendign", "db", "explain"}:
        return
    document = line(*args, "--json", code=2).json
    assert document["exit_code"] == 2
    assert document["error"].keys() == {"where", "why", "what_to_do"}
    assert document["error"]["why"] == why


def test_a_usage_error_is_a_json_document(line: Cli) -> None:
    """Whatever is wrong with the usage, --json gets one document, and standard error has the words."""
    for args in (["pendign", "--json"], ["db", "purge", "--json"], ["explain", "--json"], ["show", "99", "--json"]):
        result = line(*args, code=2)
        assert result.json["error"]["why"]
        assert result.err.startswith("redirectd: ")


def test_each_command_is_in_the_file_of_its_name() -> None:
    """A newcomer finds a command by its name alone, and no file there is without a command."""
    folder = Path(commands.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == {name.replace("-", "_") for name in COMMANDS}
