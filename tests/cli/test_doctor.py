"""`check` as a doctor, fault by fault: provoked, told with its place and reason, and gone after what it says to do."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redirectd.cli.checks.database_check import check_apply_lock
from tests.cli.checked_setup import CheckedSetup
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
