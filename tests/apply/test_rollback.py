"""Going back to an earlier generation, and the hold that keeps it there."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirectd.apply.applier import Request
from redirectd.errors import RefusedError, UsageError
from redirectd.store.generations import get_generation
from tests.apply.world import World, expected, moves, outcomes

FIRST, SECOND, THIRD = moves(3), moves(4, "second.test"), moves(5, "third.test")
ME = Request(actor="ada", cause="rollback")


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


def test_applies_are_held_after_a_rollback(tmp_path: Path) -> None:
    """Schedule and command are refused with the reason until --resume; then what is approved is applied again."""
    world = _world(tmp_path)
    world.applier.rollback(1, ME)
    for cause in ("apply", "schedule"):
        with pytest.raises(RefusedError, match="rolled back to generation 1") as caught:
            world.apply(THIRD, cause=cause, force=True)
        assert (caught.value.exit_code, caught.value.what_to_do) == (3, "redirectd apply --resume")
    assert world.server.served("users") == expected(FIRST)
    assert outcomes(world.apply(THIRD, resume=True, force=True)) == {"users": "verified"}
    assert outcomes(world.apply(THIRD)) == {"users": "unchanged"}


def test_rollback_to_what_is_in_place_holds_too(tmp_path: Path) -> None:
    """Asking for the generation that stands changes no file and still keeps later applies away."""
    world = _world(tmp_path)
    assert outcomes(world.applier.rollback(3, ME)) == {"users": "unchanged"}
    with pytest.raises(RefusedError):
        world.apply(FIRST)
    assert world.applier.resume()
    assert not world.applier.resume()


def test_rollback_that_is_disproved_is_undone(tmp_path: Path) -> None:
    """A rollback goes through the same proof: exit code 4, and what was there is back."""
    world = _world(tmp_path)
    world.server.deaf = True
    result = world.applier.rollback(1, ME)
    assert (outcomes(result), result.exit_code) == ({"users": "rolled-back"}, 4)
    assert world.in_file() == expected(THIRD)


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
    world = World(tmp_path, {"users": "unix:one", "others": "unix:two"})
    world.apply(FIRST)
    world.apply(SECOND, force=True, only=["users"])
    world.apply(THIRD, force=True)
    world.applier.rollback(2, ME)
    assert world.in_file("users") == expected(SECOND)
    assert world.in_file("others") == expected(FIRST)
