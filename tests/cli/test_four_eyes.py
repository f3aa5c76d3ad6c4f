"""Two people on the command line: who they are by the kernel, and what they see."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from redirectd.cli import app
from redirectd.cli.checks.sources_check import check_policy
from redirectd.config.load import parse
from tests.cli.conftest import Cli

TWO = """
[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8", "2001:db8::/32"]
approvals = 2
"""
PEOPLE = f'[policy.people]\nada = ["daemon", "bin"]\nbob = ["sys", "unix:{pwd.getpwuid(os.getuid()).pw_name}"]\n'
AUTO = '[policy.auto_approve]\npeers = ["127.0.0.1"]\nmin_calls = 3\nmin_age = "1d"\nallowed_domains = ["x.example"]\n'
IDS = {name: pwd.getpwnam(name).pw_uid for name in ("root", "daemon", "bin", "sys", "nobody")}
UNSET = 2**32 - 1


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's login id, which a test writes."""
    place = tmp_path / "loginuid"
    monkeypatch.setattr(app, "LOGINUID", place)
    place.write_text(str(UNSET))
    return place


@pytest.fixture
def strict(filled: Cli) -> Cli:
    """Two people must approve."""
    filled.config.write_text(filled.config.read_text().partition("[policy]")[0] + TWO + PEOPLE)
    return filled


def remap(cli: Cli, number: int) -> dict[str, object]:
    """A remap as `show --json` has it."""
    found: dict[str, object] = cli("show", number, "--json").json
    return found


def test_two_people_approve(strict: Cli, login: Path) -> None:
    """The first approval leaves the remap pending and the plan as it was; the second person's approves it."""
    login.write_text(str(IDS["daemon"]))
    first = strict("approve", "1", "--json").json["remaps"][0]
    assert (first["state"], first["approvals"], first["required"]) == ("pending", ["ada"], 2)
    listed = strict("pending", "--json").json["remaps"][0]
    assert (listed["id"], listed["approvals"], listed["required"]) == (1, ["ada"], 2)
    assert "1 of 2 approvals (ada)" in strict("show", "1").out
    assert "1 of 2 approvals (ada)" in strict("pending").out
    login.write_text(str(IDS["sys"]))
    assert "1 is approved" in strict("approve", "1").out
    shown = remap(strict, 1)
    assert (shown["state"], shown["approvals"], shown["required"]) == ("approved", [], 1)
    assert [entry["action"] for entry in shown["audit"]] == ["agree", "approve"]  # type: ignore[attr-defined]


def test_an_approval_that_waits_says_so(strict: Cli, login: Path) -> None:
    """One person's approval is reported as such, and ends with 0: it was noted."""
    login.write_text(str(IDS["daemon"]))
    assert "1 is pending" in (out := strict("approve", "1").out)
    assert "1 of 2 approvals (ada)" in out


def test_a_person_with_two_logins_is_one(strict: Cli, login: Path) -> None:
    """The second login of the same person is refused with 3, and so is a login that is nobody's."""
    login.write_text(str(IDS["daemon"]))
    strict("approve", "1")
    login.write_text(str(IDS["bin"]))
    assert "ada has approved it already" in strict("approve", "1", code=3).err
    login.write_text(str(IDS["nobody"]))
    assert "unix:nobody is nobody in [policy.people]" in strict("approve", "1", code=3).err
    assert remap(strict, 1)["approvals"] == ["ada"]


@pytest.mark.parametrize("name", ["USER", "LOGNAME", "SUDO_USER", "LNAME", "USERNAME", "SUDO_UID"])
def test_no_variable_makes_another_person(strict: Cli, login: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The kernel's login counts, whatever the environment says."""
    login.write_text(str(IDS["daemon"]))
    strict("approve", "1")
    monkeypatch.setenv(name, "sys" if not name.endswith("UID") else str(IDS["sys"]))
    assert "ada has approved it already" in strict("approve", "1", code=3).err
    assert remap(strict, 1)["audit"][0]["actor"] == "daemon"  # type: ignore[index]


@pytest.mark.parametrize("text", [str(UNSET), "", "nonsense"])
def test_without_a_login_the_user_of_the_process_counts(strict: Cli, login: Path, text: str) -> None:
    """A container has no login sessions: the process's user is the account, as the kernel knows it."""
    login.write_text(text)
    assert "1 of 2 approvals (bob)" in strict("approve", "1").out


def test_an_import_approves_nothing(strict: Cli, login: Path, tmp_path: Path) -> None:
    """`import --approve` is not a person: its rows stay pending, with 3."""
    login.write_text(str(IDS["daemon"]))
    rows = tmp_path / "rows.csv"
    rows.write_text("old_uri,new_uri,state\nsip:x@127.0.0.1,sip:y@127.0.0.2,approved\n")
    done = strict("import", rows, "--approve", "--json", code=3).json
    assert (done["approved"], done["held"][0]["why"].count("2 people must approve it")) == (0, 1)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("approvals = 6\n", "approvals"),
        ("approvals = 0\n", "approvals"),
        ('approvals = 3\n[policy.people]\nada = ["a"]\nbob = ["b"]\n', "names 2"),
        ('approvals = 2\n[policy.people]\nada = ["a"]\nbob = ["unix:a", "b"]\n', 'belongs to "ada" and to "bob"'),
        ('approvals = 2\n[policy.people]\nada = "a"\nbob = ["b"]\n', "must be a list of account names"),
        ('approvals = 2\n[policy.people]\nada = []\nbob = ["b"]\n', "must be a list of account names"),
    ],
)
def test_a_wrong_configuration_is_refused(cli: Cli, more: str, why: str) -> None:
    """Too few people, one account of two people, and a filter without effect are wrong configuration (2)."""
    cli.config.write_text(cli.config.read_text().partition("[policy]")[0] + "[policy]\n" + more)
    assert why in cli("pending", code=2).err


@pytest.mark.parametrize(
    ("more", "where", "why"),
    [
        (f"approvals = 2\n{AUTO}", "policy.auto_approve", "it never approves anything"),
        (
            f"approvals = 2\n{AUTO}[policy.approvals_for]\nheld = true\n",
            "policy.auto_approve",
            "it approves no remap that needs 2 people",
        ),
        ("[policy.approvals_for]\nheld = true\n", "policy.approvals_for", "it has no effect while approvals is 1"),
    ],
)
def test_check_warns_of_what_has_no_effect(more: str, where: str, why: str) -> None:
    """`check` warns of automatic approval of what several people must approve, and of a filter of nothing."""
    config = parse(f'[database]\nurl = "sqlite:///x.db"\n[policy]\n{more}', Path("/x/redirectd.toml"))
    assert [one.why for one in check_policy(config) if one.where == where] == [why]
