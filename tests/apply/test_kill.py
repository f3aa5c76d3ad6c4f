"""SIGKILL at every step of an apply: no half file is ever in service, and the next apply finishes the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.errors import VerifyError
from tests.apply.apply_host import WIDE, ApplyHost, expected, moves
from tests.apply.kill import at_rest, copy_of, killed_at, whole

TWO = {"users": "unix:one", "others": "unix:two"}
OLD, NEW = moves(3), moves(5, "newer.test")


def _base(tmp_path: Path, *, installed: bool) -> Path:
    home = tmp_path / "base"
    home.mkdir()
    host = ApplyHost(home, TWO, limits=WIDE)
    if installed:
        host.apply(OLD)
    host.database.close()
    return home


@pytest.mark.parametrize("installed", [False, True], ids=["first", "update"])
@pytest.mark.parametrize("deaf", [False, True], ids=["proven", "disproved"])
def test_killed_at_every_step(tmp_path: Path, *, installed: bool, deaf: bool) -> None:
    """Killed at step after step of an apply that succeeds, and of one that has to put everything back.

    Each time the file in place is a whole old or new one, and one more apply brings the new one into
    service, with nothing left over.
    """
    base = _base(tmp_path, installed=installed)
    old = expected(OLD) if installed else None
    stride = 1 if installed else 2  # the first apply passes the same steps; every other one is enough
    faults: list[str] = []
    step = 0
    while True:
        step += stride
        home = copy_of(base, "trial")
        if not killed_at(step, home, TWO, NEW, deaf=deaf):
            break
        host = ApplyHost(home, TWO, limits=WIDE)
        blank = {} if old is None else old  # a first installation that fails leaves an empty table
        faults += [f"step {step}: {fault}" for fault in whole(host, old, blank, expected(NEW))]
        host.apply(NEW)
        faults += [f"step {step}: {fault}" for fault in at_rest(host, expected(NEW))]
        host.database.close()
    assert faults == []
    assert step > 40


def test_killed_and_approval_taken_back(tmp_path: Path) -> None:
    """After a kill at any step the next apply can just as well want the old state again."""
    base = _base(tmp_path, installed=True)
    faults: list[str] = []
    step = 0
    while True:
        step += 3
        home = copy_of(base, "trial")
        if not killed_at(step, home, TWO, NEW):
            break
        host = ApplyHost(home, TWO, limits=WIDE)
        host.apply(OLD)
        faults += [f"step {step}: {fault}" for fault in at_rest(host, expected(OLD))]
        host.database.close()
    assert faults == []


def test_killed_twice(tmp_path: Path) -> None:
    """The run that finishes a killed one can be killed, too."""
    base = _base(tmp_path, installed=True)
    faults: list[str] = []
    step = 0
    while True:
        step += 7
        home = copy_of(base, "trial")
        if not killed_at(step, home, TWO, NEW):
            break
        once = copy_of(home, "killed-once")
        for second in range(1, 60, 11):
            home = copy_of(once, "trial")  # in the same place again: the record names it
            killed_at(second, home, TWO, NEW)
            host = ApplyHost(home, TWO, limits=WIDE)
            faults += [f"step {step}, {second}: {fault}" for fault in whole(host, expected(OLD), expected(NEW))]
            host.apply(NEW)
            faults += [f"step {step}, {second}: {fault}" for fault in at_rest(host, expected(NEW))]
            host.database.close()
    assert faults == []


@pytest.mark.parametrize("wanted", [moves(6, "newest.test"), OLD], ids=["other", "old"])
def test_killed_while_replacing_what_waits_for_a_server(tmp_path: Path, wanted: dict[str, str]) -> None:
    """A file that waits for its server, unproven, is replaced, and that is killed at every other step.

    The next apply doesn't take what waited for a hand edit, and brings what is wanted into service.
    """
    base = tmp_path / "trial"
    base.mkdir()
    host = ApplyHost(base, TWO, limits=WIDE)
    host.apply(OLD)
    host.servers["unix:two"].down = True
    host.apply(NEW)
    host.database.close()
    kept = copy_of(base, "kept")
    faults: list[str] = []
    step = 0
    while True:
        step += 2
        home = copy_of(kept, "trial")
        if not killed_at(step, home, TWO, wanted, down=True):
            break
        host = ApplyHost(home, TWO, limits=WIDE)
        faults += [f"step {step}: {fault}" for fault in whole(host, *map(expected, (OLD, NEW, wanted)))]
        result = host.apply(wanted)
        faults += [f"step {step}: {result.error}"] if result.error else []
        faults += [f"step {step}: {fault}" for fault in at_rest(host, expected(wanted))]
        host.database.close()
    assert faults == []
    assert step > 30


def test_killed_while_halving(tmp_path: Path) -> None:
    """Killed at step after step of the search for an entry that its server refuses: the next apply ends the search.

    Where the killed one left a file that is refused, the next one puts the old file back first, and that after it ends.

    Meanwhile the file in place is a whole table of old and new entries, and what the server has is one of those.
    """
    one = {"users": "unix:one"}
    base = tmp_path / "base"
    base.mkdir()
    host = ApplyHost(base, one, limits=WIDE)
    host.apply(OLD)
    host.database.close()
    sound = {key: to for key, to in expected(NEW).items() if "u3@" not in key}
    allowed = set(expected(OLD).items()) | set(expected(NEW).items())
    faults: list[str] = []
    step = 0
    while True:
        step += 5
        home = copy_of(base, "trial")
        if not killed_at(step, home, one, NEW, chokes="u3@"):
            break
        host = ApplyHost(home, one, limits=WIDE)
        host.server.chokes = "u3@"
        for where, table in (("the file", host.in_file("users")), ("the server", host.server.served("users"))):
            faults += [
                f"step {step}: {where} has {dict(strange)}" for strange in [set(table.items()) - allowed] if strange
            ]
        result = host.apply(NEW)
        if isinstance(result.error, VerifyError):  # it proved what the killed one left, and put the old file back
            back = set(host.in_file("users").items())
            faults += (
                [] if back <= allowed and not any("u3@" in key for key, _ in back) else [f"step {step}: not put back"]
            )
            result = host.apply(NEW)
        refused = [refusal.id for target in result.plan.targets for refusal in target.refused]
        faults += [] if refused == [4] else [f"step {step}: refused are {refused}"]
        faults += [f"step {step}: {fault}" for fault in at_rest(host, sound)]
        host.database.close()
    assert faults == []
    assert step > 100
