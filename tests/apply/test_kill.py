"""SIGKILL at every step of an apply: no half file is ever in service, and the next apply finishes the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apply.kill import at_rest, copy_of, killed_at, whole
from tests.apply.world import WIDE, World, expected, moves

TWO = {"users": "unix:one", "others": "unix:two"}
OLD, NEW = moves(3), moves(5, "newer.test")


def _base(tmp_path: Path, *, installed: bool) -> Path:
    home = tmp_path / "base"
    home.mkdir()
    world = World(home, TWO, limits=WIDE)
    if installed:
        world.apply(OLD)
    world.database.close()
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
        world = World(home, TWO, limits=WIDE)
        blank = {} if old is None else old  # a first installation that fails leaves an empty table
        faults += [f"step {step}: {fault}" for fault in whole(world, old, blank, expected(NEW))]
        world.apply(NEW)
        faults += [f"step {step}: {fault}" for fault in at_rest(world, expected(NEW))]
        world.database.close()
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
        world = World(home, TWO, limits=WIDE)
        world.apply(OLD)
        faults += [f"step {step}: {fault}" for fault in at_rest(world, expected(OLD))]
        world.database.close()
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
            world = World(home, TWO, limits=WIDE)
            faults += [f"step {step}, {second}: {fault}" for fault in whole(world, expected(OLD), expected(NEW))]
            world.apply(NEW)
            faults += [f"step {step}, {second}: {fault}" for fault in at_rest(world, expected(NEW))]
            world.database.close()
    assert faults == []


@pytest.mark.parametrize("wanted", [moves(6, "newest.test"), OLD], ids=["other", "old"])
def test_killed_while_replacing_what_waits_for_a_server(tmp_path: Path, wanted: dict[str, str]) -> None:
    """A file that waits for its server, unproven, is replaced, and that is killed at every other step.

    The next apply doesn't take what waited for a hand edit, and brings what is wanted into service.
    """
    base = tmp_path / "trial"
    base.mkdir()
    world = World(base, TWO, limits=WIDE)
    world.apply(OLD)
    world.servers["unix:two"].down = True
    world.apply(NEW)
    world.database.close()
    kept = copy_of(base, "kept")
    faults: list[str] = []
    step = 0
    while True:
        step += 2
        home = copy_of(kept, "trial")
        if not killed_at(step, home, TWO, wanted, down=True):
            break
        world = World(home, TWO, limits=WIDE)
        faults += [f"step {step}: {fault}" for fault in whole(world, *map(expected, (OLD, NEW, wanted)))]
        result = world.apply(wanted)
        faults += [f"step {step}: {result.error}"] if result.error else []
        faults += [f"step {step}: {fault}" for fault in at_rest(world, expected(wanted))]
        world.database.close()
    assert faults == []
    assert step > 30
