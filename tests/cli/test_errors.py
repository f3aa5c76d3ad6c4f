"""Errors: where, why and what to do on standard error, the contract's exit codes, and nothing on standard output."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.cli import main
from redirectd.errors import RefusedError, StoreError, VerifyError
from tests.cli.conftest import Cli


def test_all_configuration_faults_are_shown(cli: Cli) -> None:
    """A command with a faulty configuration shows all faults, each with place, reason and mend, and ends with 2."""
    cli.configure('[policie]\n[[source]]\nname = "a"\n[limits]\nmax_changes = "many"\n')
    result = cli("pending", code=2)
    assert result.out == ""
    assert "3 faults" in result.err
    assert result.err.count("what to do:") == 3
    for place in ("policie", "source[0].path", "limits.max_changes"):
        assert f"{place}\n" in result.err
    assert 'did you mean "policy"?' in result.err


@pytest.mark.parametrize("option", ["foo=1", "read_timeout=abc", "ssl_ca=/not/there"])
def test_a_database_url_that_the_driver_refuses(cli: Cli, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """What a driver doesn't take in the database's URL is an error with advice, not a defect, and shows no password."""
    pytest.importorskip("pymysql")
    monkeypatch.setenv("REDIRECTD_DATABASE_URL", f"mysql+pymysql://u:hunter2@127.0.0.1:9/d?{option}")
    code = 2 if option.startswith("read_timeout") else 1
    error = cli("pending", code=code).err
    assert error.startswith("redirectd: database")
    assert "what to do: correct what follows the ?" in error
    assert "hunter2" not in error


@pytest.mark.parametrize(("error", "code"), [(StoreError, 1), (RefusedError, 3), (VerifyError, 4)])
def test_exit_code_of_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch, error: type[StoreError], code: int) -> None:
    """Each kind of error ends with the contract's code."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise error("somewhere", "something", "do this")

    monkeypatch.setattr("redirectd.config.load.load", fail)
    result = cli("pending", code=code)
    assert result.err == "redirectd: somewhere\n  why:        something\n  what to do: do this\n"


def test_defect_shows_no_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error nobody foresaw ends with 1 and says how to get the traceback, which REDIRECTD_DEBUG=1 shows."""

    def fail(*_args: object) -> None:
        raise ZeroDivisionError("one by\x1b[31m none")

    monkeypatch.setattr("redirectd.config.load.load", fail)
    plain = cli("pending", code=1).err
    assert "REDIRECTD_DEBUG=1" in plain
    assert "Traceback" not in plain
    assert "\x1b" not in plain
    monkeypatch.setenv("REDIRECTD_DEBUG", "1")
    assert "Traceback" in cli("pending", code=1).err


def test_terminal_commands_in_an_error_are_harmless(cli: Cli) -> None:
    """An error that quotes what was typed or read can't steer the terminal."""
    assert "\x1b" not in cli("lookup", "sip:\x1b[2Jx@host", code=2).err


def test_missing_configuration_file(cli: Cli) -> None:
    """A file named with --config that is not there: exit code 2, and how to write one."""
    cli.config.unlink()
    assert "redirectd init" in cli("pending", code=2).err


def test_folder_as_configuration(cli: Cli) -> None:
    """A configuration that can't be read for another reason is a fault like all, also in `check --json`."""
    cli.config.unlink()
    cli.config.mkdir()
    assert "what to do: name an existing file" in cli("pending", code=2).err
    assert "Is a directory" in cli("check", "--json", code=2).json["findings"][0]["why"]


@pytest.mark.parametrize("words", ["pending --after {}", "list --limit {}", "history {}", "rollback {}", "show {}"])
def test_number_that_is_too_large(cli: Cli, words: str) -> None:
    """A number that no database holds is wrong usage, not a defect."""
    assert "defect" not in cli(*words.format(10**24).split(), code=2).err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends with 0 and goes to standard output."""
    assert main.run(["pending", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: redirectd pending")


def test_unreadable_log(cli: Cli, tmp_path: Path) -> None:
    """A log that is not there fails with 1 and prints no JSON."""
    result = cli("ingest", "--json", tmp_path / "missing.log", code=1)
    assert result.out == ""
    assert "missing.log" in result.err
    assert not (cli.folder / "redirectd.db").exists(), "a misspelt name leaves no database behind"


def test_unreadable_among_several(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    """The one of several logs that can't be read is told before any is: nothing is counted that goes unreported."""
    log = corpus / "kamailio/xlog-syslog.log"
    result = cli("ingest", "--json", log, tmp_path / "missing.log", code=1)
    assert (result.out, "missing.log" in result.err) == ("", True)
    assert cli("ingest", "--session-progress", "count", "--json", log).json["sightings"] == 32


def test_an_administrator_of_another_kind_of_database(cli: Cli) -> None:
    """--admin at a PostgreSQL for a table in MariaDB is wrong usage, whose password is not shown; one JSON document."""
    cli.configure(
        '[[target]]\nname = "users"\nkind = "kamailio-htable"\ndatabase = "mysql+pymysql://redirectd@db.test/kamailio"\n'
    )
    result = cli(
        "db-target", "create", "users", "--admin", "postgresql+psycopg://root:s3cret@db.test/x", "--json", code=2
    )
    assert result.json["error"]["where"] == "--admin"
    assert "s3cret" not in result.out + result.err
