"""Going back to an earlier generation, and the hold that keeps it there."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import select

from redirectd.apply.applier import ApplyRequest
from redirectd.errors import UsageError
from redirectd.store import audit
from redirectd.store.generations import get_generation
from redirectd.store.schema import audit as table
from tests.apply.kill import Steps, copy_of, stepped_world
from tests.apply.world import World, expected, moves, outcomes
from tests.apply.world import table as moved

FIRST, SECOND, THIRD = moves(3), moves(4, "second.test"), moves(5, "third.test")
ME = ApplyRequest(actor="ada", cause="rollback")


def _world(tmp_path: Path) -> World:
    world = World(tmp_path, {"users": "unix:one"})
    for wanted in (FIRST, SECOND, THIRD):
        assert outcomes(world.apply(wanted, force=True)) == {"users": "verified"}
    return world


def test_rollback_brings_the_one_before_into_service(tmp_path: Path) -> None:
    """Without a number the generation before is reinstalled, proven by the server, as a generation of its own."""
    world = _world(tmp_path)
    result = world.applier.rollback(None, ME)
    assert (outcomes(result), result.generation) == ({"users": "verified"}, 4)
    assert world.in_file() == expected(SECOND) == world.server.served("users")
    with world.database.read() as connection:
        generation = get_generation(connection, 4)
    assert generation is not None
    assert (generation.cause, generation.actor) == ("rollback", "ada")


def test_rollback_to_a_number(tmp_path: Path) -> None:
    """A number chooses the generation, past the limits on changes."""
    world = _world(tmp_path)
    assert outcomes(world.applier.rollback(1, ME)) == {"users": "verified"}
    assert world.server.served("users") == expected(FIRST)


def test_rollback_to_targets_that_are_not_configured_any_more(tmp_path: Path) -> None:
    """What a generation had for other targets is shown; with none left the usage is wrong, and nothing is held."""
    world = World(tmp_path, {"users": "unix:one", "old": "none"}, server="host")
    world.apply(FIRST, force=True)
    world = World(tmp_path, {"users": "unix:one", "new": "none"}, server="host")
    world.apply(SECOND, force=True)
    result = world.applier.rollback(1, ME)
    assert outcomes(result) == {"users": "verified"}
    assert result.left_alone == {"old": "not configured any more", "new": "had no file by generation 1"}
    assert world.in_file("new") == expected(SECOND)
    other = World(tmp_path, {"third": "none"})
    other.applier.apply(lambda: moved(SECOND), ApplyRequest(actor="ada", resume=True, force=True))
    with pytest.raises(UsageError, match="no target of generation 1 is configured any more; it had old, users"):
        other.applier.rollback(1, ME)
    assert other.apply(SECOND).exit_code == 0  # not held


def test_applies_are_held_after_a_rollback(tmp_path: Path) -> None:
    """Schedule and command are refused with the reason until --resume; then what is approved is applied again."""
    world = _world(tmp_path)
    world.applier.rollback(1, ME)
    for cause in ("apply", "schedule"):
        error = world.apply(THIRD, cause=cause, force=True).error
        assert "rolled back to generation 1" in str(error)
        assert (error.exit_code, error.what_to_do) == (3, "redirectd apply --resume")
    assert world.server.served("users") == expected(FIRST)
    assert outcomes(world.apply(THIRD, resume=True, force=True)) == {"users": "verified"}
    assert outcomes(world.apply(THIRD)) == {"users": "unchanged"}


def test_rollback_to_what_is_in_place_holds_nothing(tmp_path: Path) -> None:
    """Asking for the generation that is installed changes no file, and keeps no later apply away."""
    world = _world(tmp_path)
    assert outcomes(world.applier.rollback(3, ME)) == {"users": "unchanged"}
    assert outcomes(world.apply(FIRST, force=True)) == {"users": "verified"}


def test_rollback_that_is_disproved_is_undone(tmp_path: Path) -> None:
    """A rollback goes through the same proof: exit code 4, and what was there is back."""
    world = _world(tmp_path)
    world.server.deaf = True
    result = world.applier.rollback(1, ME)
    assert (outcomes(result), result.exit_code) == ({"users": "rolled-back"}, 4)
    assert world.in_file() == expected(THIRD)


def test_rollback_that_is_disproved_leaves_no_hold(tmp_path: Path) -> None:
    """What the hold was to keep away is what routes again, so the schedule goes on with what is approved."""
    world = _world(tmp_path)
    world.server.deaf = True
    world.applier.rollback(1, ME)
    world.server.deaf = False
    assert outcomes(world.apply(THIRD, cause="schedule")) == {"users": "unchanged"}
    assert [each.action for each in audited(world)][-3:] == ["rollback", "hold", "resume"]


def test_rollback_that_is_disproved_keeps_an_earlier_hold(tmp_path: Path) -> None:
    """A second rollback that fails takes nothing away from the hold of the first."""
    world = _world(tmp_path)
    world.applier.rollback(2, ME)
    world.server.deaf = True
    world.applier.rollback(1, ME)
    assert "rolled back to generation 2" in str(world.apply(THIRD).error)


def test_rollback_that_was_killed_leaves_no_hold(tmp_path: Path) -> None:
    """Killed before its files were in place, a rollback is undone by the next apply, and its hold with it."""
    base = tmp_path / "base"
    base.mkdir()
    _world(base).database.close()
    for step in range(1, 200):
        home = copy_of(base, "trial")
        child = os.fork()
        if child == 0:
            steps = Steps(step, lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == "rename" else None)
            stepped_world(home, {"users": "unix:one"}, steps).applier.rollback(1, ME)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            break
    else:
        pytest.fail("no step was a rename")
    world = World(home, {"users": "unix:one"})
    assert outcomes(world.apply(THIRD)) == {"users": "unchanged"}
    assert world.in_file() == expected(THIRD) == world.server.served("users")


def test_decisions_on_applies_are_audited(tmp_path: Path) -> None:
    """R35: forced applies, rollbacks, holds and their end are in the chain, with who, why and the generation."""
    world = _world(tmp_path)
    world.apply({}, force=True, actor="bob")
    world.applier.rollback(2, ME)
    world.apply(SECOND, resume=True, actor="eve")
    told = [(each.actor, each.action, each.reason, each.detail.get("generation")) for each in audited(world)]
    assert told[-4:] == [
        ("bob", "force-apply", "forced past: users: all 5 entries would go and none be left", 4),
        ("ada", "rollback", "rolled back to generation 2", 5),
        ("ada", "hold", "rolled back to generation 2", None),
        ("eve", "resume", told[-1][2], None),
    ]
    assert told[-1][2].startswith("ends the hold of 2026-05-01T12:")
    assert told[-1][2].endswith("by ada: rolled back to generation 2")
    with world.database.read() as connection:
        assert audit.broken_at(connection) is None


def test_a_plan_is_named_by_the_beginning_of_its_checksum(tmp_path: Path) -> None:
    """Twelve digits of what was seen are enough; fewer, or another plan's, are refused."""
    world = _world(tmp_path)
    seen = world.applier.plan(moved(SECOND)).checksum
    for wrong in ("", seen[:11], "0" * 64):
        result = world.apply(SECOND, checksums=[wrong], force=True)
        assert (outcomes(result), result.exit_code) == ({"users": "refused"}, 3)
    assert outcomes(world.apply(SECOND, checksums=[seen[:12].upper()], force=True)) == {"users": "verified"}


def audited(world: World) -> list[audit.AuditEntry]:
    """Give all entries of the audit."""
    with world.database.read() as connection:
        rows = connection.execute(select(table.c.actor, table.c.action, table.c.reason, table.c.detail, table.c.at))
        return [
            audit.AuditEntry(
                actor=row.actor, action=row.action, reason=row.reason, at=row.at, detail=json.loads(row.detail)
            )
            for row in rows
        ]


def test_rollback_skips_what_did_not_stand(tmp_path: Path) -> None:
    """A generation that was itself put back is none to return to, and doesn't count as the one before."""
    world = _world(tmp_path)
    world.server.deaf = True
    world.apply(moves(6), force=True)
    world.server.deaf = False
    with pytest.raises(UsageError, match="generation 4"):
        world.applier.rollback(4, ME)
    world.applier.rollback(None, ME)
    assert world.in_file() == expected(SECOND)


def test_nothing_to_go_back_to(tmp_path: Path) -> None:
    """With one generation, or an unknown number, the usage is wrong, and nothing is held."""
    world = World(tmp_path)
    world.apply(FIRST)
    with pytest.raises(UsageError, match="no generation before"):
        world.applier.rollback(None, ME)
    with pytest.raises(UsageError, match="generation 77"):
        world.applier.rollback(77, ME)
    assert outcomes(world.apply(FIRST)) == {"users": "unchanged"}


def test_rollback_does_not_overwrite_a_hand_edit(tmp_path: Path) -> None:
    """An edited file is refused here, too, with the command that goes past it."""
    world = _world(tmp_path)
    path = world.paths["users"]
    path.write_bytes(path.read_bytes() + b"# mine\n")
    result = world.applier.rollback(1, ME)
    assert (outcomes(result), result.exit_code) == ({"users": "refused"}, 3)
    assert result.error is not None
    assert "redirectd rollback 1 --force" in result.error.what_to_do


def test_each_target_returns_to_its_own_file_of_that_time(tmp_path: Path) -> None:
    """A generation stores what it changed; going back finds the others' files in earlier ones."""
    world = World(tmp_path, {"users": "unix:one", "others": "unix:two"}, server="one host")
    world.apply(FIRST)
    world.apply(SECOND, force=True, only=["users"])
    world.apply(THIRD, force=True)
    world.applier.rollback(2, ME)
    assert world.in_file("users") == expected(SECOND)
    assert world.in_file("others") == expected(FIRST)
