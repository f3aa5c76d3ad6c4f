"""Targets with programs of the operator, at the command line: check, reload, verify, and what is no such target."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from redirectd.apply.control import program
from tests.cli.conftest import Cli


def approve(cli: Cli, *rows: str) -> None:
    """Import moves as approved."""
    file = cli.folder / "import.csv"
    file.write_text("\n".join(["old_uri,new_uri,state", *(f"{row},approved" for row in rows), ""]))
    cli("import", "--approve", file)


PROGRAMS = """
[[target]]
name = "listing"
kind = "csv"
path = "moves.csv"
check = ["/bin/sh", "-c", "! grep -q bad $0 || {{ echo bad is not known; exit 1; }}", "{{file}}"]
reload = ["/bin/sh", "-c", "cp {folder}/moves.csv {folder}/loaded"]
verify = ["/bin/sh", "-c", "{verify}"]
"""


@pytest.fixture
def shared(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A folder that the user of the programs can write to."""
    monkeypatch.setattr(program, "SERVICE_USER", pwd.getpwuid(os.geteuid()).pw_name)
    return cli


def test_programs_check_reload_and_prove_a_file(shared: Cli) -> None:
    """`check` sees the staged file, `reload` the installed one, and `verify` makes it verified."""
    shared.configure(
        PROGRAMS.format(folder=shared.folder, verify=f"cmp {shared.folder}/moves.csv {shared.folder}/loaded")
    )
    approve(shared, "sip:a@old.test,sip:a@new.test")
    assert shared("apply", "--json").json["targets"][0]["outcome"] == "verified"
    good = (shared.folder / "moves.csv").read_bytes()
    assert (shared.folder / "loaded").read_bytes() == good
    whys = {one["where"]: one["why"] for one in shared("check", "--json").json["findings"]}
    assert (
        whys["target listing, check"] == whys["target listing, reload"] == whys["target listing, verify"] == "/bin/sh"
    )

    approve(shared, "sip:b@old.test,sip:bad@new.test")
    refused = shared("apply", code=1)

    assert "bad is not known" in refused.err
    assert (shared.folder / "moves.csv").read_bytes() == (shared.folder / "loaded").read_bytes() == good


def test_what_a_program_does_not_prove_is_put_back(shared: Cli) -> None:
    """A `verify` that fails, or a `reload` that does, is exit code 4: the old file is back and loaded again."""
    folder = shared.folder
    shared.configure(PROGRAMS.format(folder=folder, verify=f"! grep -q wrong {folder}/loaded"))
    approve(shared, "sip:a@old.test,sip:a@new.test")
    shared("apply")
    good = (folder / "moves.csv").read_bytes()
    approve(shared, "sip:b@old.test,sip:wrong@new.test")

    shared("apply", code=4)

    assert (folder / "moves.csv").read_bytes() == (folder / "loaded").read_bytes() == good


def test_only_files_of_no_known_server_take_programs(cli: Cli) -> None:
    """Kinds with a server, relative paths and a text beside programs are faults of the configuration, by name."""
    target = '[[target]]\nname = "x"\nkind = "{}"\npath = "x"\n{}\n'
    for kind, more, why in (
        ("kamailio-htable", 'reload = ["/bin/true"]', "a program is for the kinds template, csv and json"),
        ("csv", 'reload = ["true"]', "a program is its absolute path and its arguments"),
        ("csv", 'reload = "run:x"', "not a way to reload"),
        ("csv", 'verify = ["true"]', "verify is not a program's absolute path"),
        ("csv", 'verify = ["/bin/true"]\nreload = "kamcmd"', "check and verify are programs, and this is not one"),
        ("json", 'reload = ["/bin/cat", "{file}"]', "reload takes neither {file} nor {token}"),
    ):
        cli.configure(target.format(kind, more))
        assert why in cli("plan", code=2).err


def test_check_names_a_program_that_apply_would_not_run(cli: Cli) -> None:
    """A program that others may change, or that is not there, is a fault before an apply meets it."""
    own = cli.folder / "reload-it"
    own.touch(mode=0o755)
    cli.configure(f'[[target]]\nname = "x"\nkind = "csv"\npath = "x"\nreload = ["{own}"]\ncheck = ["/bin/none"]\n')
    whys = {one["where"]: one["why"] for one in cli("check", "--json", code=1).json["findings"]}
    assert "others than root may change" in whys["target x, reload"]
    assert whys["target x, check"] == "/bin/none is not run: No such file or directory"


PAGE = Path(__file__).parents[2] / "docs" / "howto-export.md"


def shown(section: str, language: str) -> str:
    """A block of the page on exports."""
    part = PAGE.read_text(encoding="utf-8").partition(f"### {section}\n")[2].partition("\n### ")[0]
    return part.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_export_to_git_commits_each_apply_once(shared: Cli) -> None:
    """The script of docs/howto-export.md: a commit for each apply that changes the file, of that file alone."""
    git = ["git", "-c", "init.defaultBranch=main", "-C", str(shared.folder)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    script = shared.folder / "moves-commit"
    script.write_text(shown("In git", "sh"))
    shared.configure(
        f'[[target]]\nname = "listing"\nkind = "csv"\npath = "moves.csv"\n'
        f'reload = ["/bin/sh", "{script}", "{shared.folder}", "moves.csv"]\n'
    )
    for user in "ab":
        approve(shared, f"sip:{user}@old.test,sip:{user}@new.test")
        shared("apply")
        shared("apply")
    log = subprocess.run([*git, "log", "--format=%an", "--name-only"], check=True, capture_output=True, text=True)
    assert log.stdout.split() == ["redirectd", "moves.csv"] * 2


def test_the_dialplan_for_freeswitch_is_read_back(shared: Cli) -> None:
    """The template of docs/howto-export.md is XML that has each move once; a `$` in a URI is refused by its `check`."""
    (shared.folder / "fs.j2").write_text(shown("FreeSWITCH", "jinja"))
    target = shown("FreeSWITCH", "toml").replace("/etc/freeswitch/dialplan/redirectd.xml", "fs.xml")
    lines = target.replace("/etc/redirectd/freeswitch.xml.j2", "fs.j2").splitlines()
    shared.configure("\n".join(line for line in lines if not line.startswith(("reload", "verify"))) + "\n")
    approve(shared, "sip:a.b@old.test,sip:a&b@new.test;x=%22", "sip:+49@old.test:5080,sip:c@new.test")
    shared("apply")
    context = ElementTree.parse(shared.folder / "fs.xml").getroot()[0]
    found = {one.get("name"): [item.get("expression") for item in one][:2] for one in context[1:]}
    assert found == {"a.b@old.test": [r"^old\.test$", r"^a\.b$"], "+49@old.test": [r"^old\.test$", r"^\+49$"]}
    assert [one[1][0].get("data") for one in context[1:]] == [
        f"sofia/external/sip:{new}" for new in ("c@new.test", "a&b@new.test;x=%22")
    ]
    approve(shared, "sip:d@old.test,sip:$1@new.test")
    assert "/bin/sh ended with exit code 1" in shared("apply", code=1).err
