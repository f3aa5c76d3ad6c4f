"""`check` as a doctor, fault by fault: provoked, told with its place and reason, and gone after what it says to do."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redirectd.cli.checks import as_user
from redirectd.cli.checks.database_check import check_apply_lock
from redirectd.config import load
from tests.cli.checked_setup import NOBODY, SOUND, CheckedSetup
from tests.cli.faults import CASES, Case


@pytest.fixture
def checked(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckedSetup]:
    for name in ("REDIRECTD_DATABASE_URL", "TZ"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(prefix="redirectd-setup-") as name:
        Path(name).chmod(0o777)
        yield CheckedSetup(Path(name), corpus)


def test_a_sound_setup_has_nothing_to_mend(checked: CheckedSetup) -> None:
    """What the cases below change is well before: each of their findings is theirs alone."""
    assert checked.ill() == []


def test_lock_that_an_apply_could_not_take(tmp_path: Path) -> None:
    """The lock's folder may be missing, since an apply makes it; with the folder around it that is a fault."""
    assert list(check_apply_lock(tmp_path / "run" / "apply.lock")) == []
    (fault,) = check_apply_lock(tmp_path / "not" / "there" / "apply.lock")
    assert str(tmp_path / "not") in fault.why


@pytest.mark.skipif(os.geteuid() != 0, reason="looks with the eyes of another user, which only root can")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_is_told_and_mended(checked: CheckedSetup, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Place, reason and remedy are told, and after the remedy this fault is no longer found."""
    monkeypatch.setenv("TZ", "")
    if case.user is not None:
        checked.database.chmod(0o666)
    case.provoke(checked)
    where, why, remedy = (part.format(folder=checked.folder) for part in case.says)

    def found() -> list[dict[str, Any]]:
        return [one for one in checked.ill(user=case.user) if where in one["where"] and why in one["why"]]

    told = found()
    assert [one["level"] for one in told] == [case.level], checked.ill(user=case.user)
    assert remedy in told[0]["what_to_do"]
    case.mend(checked, told[0])
    assert found() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="looks with the eyes of another user, which only root can")
def test_root_looks_with_the_eyes_of_another_user(checked: CheckedSetup) -> None:
    """`--as` finds what that user may not do, which root's own check does not; an unknown user is wrong usage."""
    checked.out.chmod(0o755)
    assert checked.ill() == []
    answer = checked.folder / "answer"
    child = os.fork()
    if child == 0:
        as_user.program_files = tuple  # all is imported: that user may not read this program
        code, text = checked("check", "--as", "nobody", "--json")
        answer.write_text(text)
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    reasons = [
        one["why"] for one in json.loads(answer.read_text())["findings"] if one["where"].startswith("target users")
    ]
    assert any("may not write to the folder" in why for why in reasons)
    assert checked("check", "--as", "no-such-user")[0] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="looks with the eyes of another user, which only root can")
def test_a_program_that_the_other_user_may_not_read(checked: CheckedSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--as` a user that can't read Python or redirectd is one fault with its place: it was called a defect."""
    program = checked.folder / "root's"
    program.mkdir(mode=0o700)
    (program / "python").touch()
    monkeypatch.setattr(as_user, "program_files", lambda: ("/etc/passwd", str(program / "python")))
    code, text = checked("check", "--as", "nobody", "--json")
    assert os.geteuid() == 0
    assert code == 1
    fault, *others = json.loads(text)["findings"]
    assert not others
    assert fault["level"] == "fault"
    assert fault["where"] == f"program, {program}/python"
    assert "/opt" in fault["what_to_do"]
    assert checked("check", "--as", "no-such-user")[0] == 2


TEMPLATE = """
[[target]]
name = "own"
kind = "template"
width = "user@host"
path = "{folder}/table"
base = "base.txt"
entry = '(?P<old>\\S+) (?P<new>\\S+)'
check = ["/usr/bin/true"]
reload = "none"
"""
READING = (
    "pending",
    "list",
    "status",
    "show 1",
    "lookup sip:a@b.test",
    "plan",
    "history",
    "export",
    "review",
    "db current",
)


@pytest.mark.skipif(os.geteuid() != 0, reason="runs commands as another user, which only root can")
@pytest.mark.parametrize("command", READING)
def test_a_database_that_this_user_may_not_look_at(checked: CheckedSetup, command: str) -> None:
    """Whoever forgets sudo learns why, and which user to run it as: it is neither a defect nor an empty database."""
    hidden = checked.folder / "state"
    hidden.mkdir(mode=0o700)
    checked.write(SOUND, instead={"redirectd.db": f"{hidden}/redirectd.db"})
    checked("db", "upgrade")
    code, text = checked.by(NOBODY, *command.split())
    assert code == (0 if command == "status" else 1)
    assert "defect" not in text
    assert f"{hidden}/redirectd.db" in text
    assert "as root or as the user redirectd" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="runs commands as another user, which only root can")
def test_a_configuration_in_a_folder_that_this_user_may_not_look_into(
    checked: CheckedSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read or is an error: neither a defect, nor silently the built-in defaults."""
    hidden = checked.folder / "etc"
    hidden.mkdir(mode=0o700)
    monkeypatch.setattr(load, "DEFAULT_FILES", (checked.config.rename(hidden / "redirectd.toml"),))
    checked.start = []
    code, text = checked.by(NOBODY, "pending")
    assert code == 2
    assert "Permission denied" in text


@pytest.mark.skipif(os.geteuid() != 0, reason="looks with the eyes of another user, which only root can")
def test_a_target_in_a_folder_that_this_user_may_not_look_into(checked: CheckedSetup) -> None:
    """Its own program is still looked at: the check ended as a defect."""
    hidden = checked.folder / "hidden"
    hidden.mkdir(mode=0o700)
    (checked.folder / "base.txt").write_text("")
    checked.write(TEMPLATE.format(folder=hidden))
    findings = checked.ill(user=NOBODY)
    assert [one["why"] for one in findings if one["where"].startswith("target own,")] == [
        f"this user may not write to the folder {hidden}"
    ]
