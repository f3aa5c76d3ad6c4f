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
from tests.apply.apply_host import ApplyHost, expected, moves, outcomes
from tests.apply.apply_host import table as moved
from tests.apply.kill import Steps, copy_of, stepped_host

FIRST, SECOND, THIRD = moves(3), moves(4, "second.test"), moves(5, "third.test")
ME = ApplyRequest(actor="ada", cause="rollback")


def _host(tmp_path: Path) -> ApplyHost:
    host = ApplyHost(tmp_path, {"users": "unix:one"})
    for wanted in (FIRST, SECOND, THIRD):
        assert outcomes(host.apply(wanted, force=True)) == {"users": "verified"}
    return host


def test_rollback_brings_the_one_before_into_service(tmp_path: Path) -> None:
    """Without a number the generation before is reinstalled, proven by the server, as a generation of its own."""
    host = _host(tmp_path)
    result = host.applier.rollback(None, ME)
    assert (outcomes(result), result.generation) == ({"users": "verified"}, 4)
    assert host.in_file() == expected(SECOND) == host.server.served("users")
    with host.database.read() as connection:
        generation = get_generation(connection, 4)
    assert generation is not None
    assert (generation.cause, generation.actor) == ("rollback", "ada")


def test_rollback_to_a_number(tmp_path: Path) -> None:
    """A number chooses the generation, past the limits on changes."""
    host = _host(tmp_path)
    assert outcomes(host.applier.rollback(1, ME)) == {"users": "verified"}
    assert host.server.served("users") == expected(FIRST)


def test_rollback_to_targets_that_are_not_configured_any_more(tmp_path: Path) -> None:
    """What a generation had for other targets is shown; with none left the usage is wrong, and nothing is held."""
    host = ApplyHost(tmp_path, {"users": "unix:one", "old": "none"}, server="host")
    host.apply(FIRST, force=True)
    host = ApplyHost(tmp_path, {"users": "unix:one", "new": "none"}, server="host")
    host.apply(SECOND, force=True)
    result = host.applier.rollback(1, ME)
    assert outcomes(result) == {"users": "verified"}
    assert result.left_alone == {"old": "not configured any more", "new": "had no file by generation 1"}
    assert host.in_file("new") == expected(SECOND)
    other = ApplyHost(tmp_path, {"third": "none"})
    other.applier.apply(lambda: moved(SECOND), ApplyRequest(actor="ada", resume=True, force=True))
    with pytest.raises(UsageError, match="no target of generation 1 is configured any more; it had old, users"):
        other.applier.rollback(1, ME)
    assert other.apply(SECOND).exit_code == 0  # not held


def test_applies_are_held_after_a_rollback(tmp_path: Path) -> None:
    """Schedule and command are refused with the reason until --resume; then what is approved is applied again."""
    host = _host(tmp_path)
    host.applier.rollback(1, ME)
    for cause in ("apply", "schedule"):
        error = host.apply(THIRD, cause=cause, force=True).error
        assert "rolled back to generation 1" in str(error)
        assert (error.exit_code, error.what_to_do) == (3, "redirectd apply --resume")
    assert host.server.served("users") == expected(FIRST)
    assert outcomes(host.apply(THIRD, resume=True, force=True)) == {"users": "verified"}
    assert outcomes(host.apply(THIRD)) == {"users": "unchanged"}


def test_rollback_to_what_is_in_place_holds_nothing(tmp_path: Path) -> None:
    """Asking for the generation that is installed changes no file, and keeps no later apply away."""
    host = _host(tmp_path)
    assert outcomes(host.applier.rollback(3, ME)) == {"users": "unchanged"}
    assert outcomes(host.apply(FIRST, force=True)) == {"users": "verified"}


def test_rollback_that_is_disproved_is_undone(tmp_path: Path) -> None:
    """A rollback goes through the same proof: exit code 4, and what was there is back."""
    host = _host(tmp_path)
    host.server.deaf = True
    result = host.applier.rollback(1, ME)
    assert (outcomes(result), result.exit_code) == ({"users": "rolled-back"}, 4)
    assert host.in_file() == expected(THIRD)


def test_rollback_that_is_disproved_leaves_no_hold(tmp_path: Path) -> None:
    """What the hold was to keep away is what routes again, so the schedule goes on with what is approved."""
    host = _host(tmp_path)
    host.server.deaf = True
    host.applier.rollback(1, ME)
    host.server.deaf = False
    assert outcomes(host.apply(THIRD, cause="schedule")) == {"users": "unchanged"}
    assert [each.action for each in audited(host)][-3:] == ["rollback", "hold", "resume"]


def test_rollback_that_is_disproved_keeps_an_earlier_hold(tmp_path: Path) -> None:
    """A second rollback that fails takes nothing away from the hold of the first."""
    host = _host(tmp_path)
    host.applier.rollback(2, ME)
    host.server.deaf = True
    host.applier.rollback(1, ME)
    assert "rolled back to generation 2" in str(host.apply(THIRD).error)


def test_rollback_that_was_killed_leaves_no_hold(tmp_path: Path) -> None:
    """Killed before its files were in place, a rollback is undone by the next apply, and its hold with it."""
    base = tmp_path / "base"
    base.mkdir()
    _host(base).database.close()
    for step in range(1, 200):
        home = copy_of(base, "trial")
        child = os.fork()
        if child == 0:
            steps = Steps(step, lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == "rename" else None)
            stepped_host(home, {"users": "unix:one"}, steps).applier.rollback(1, ME)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            break
    else:
        pytest.fail("no step was a rename")
    host = ApplyHost(home, {"users": "unix:one"})
    assert outcomes(host.apply(THIRD)) == {"users": "unchanged"}
    assert host.in_file() == expected(THIRD) == host.server.served("users")


def test_decisions_on_applies_are_audited(tmp_path: Path) -> None:
    """R35: forced applies, rollbacks, holds and their end are in the chain, with who, why and the generation."""
    host = _host(tmp_path)
    host.apply({}, force=True, actor="bob")
    host.applier.rollback(2, ME)
    host.apply(SECOND, resume=True, actor="eve")
    told = [(each.actor, each.action, each.reason, each.detail.get("generation")) for each in audited(host)]
    assert told[-4:] == [
        ("bob", "force-apply", "forced past: users: all 5 entries would go and none be left", 4),
        ("ada", "rollback", "rolled back to generation 2", 5),
        ("ada", "hold", "rolled back to generation 2", None),
        ("eve", "resume", told[-1][2], None),
    ]
    assert told[-1][2].startswith("ends the hold of 2026-05-01T12:")
    assert told[-1][2].endswith("by ada: rolled back to generation 2")
    with host.database.read() as connection:
        assert audit.broken_at(connection) is None


def test_a_plan_is_named_by_the_beginning_of_its_checksum(tmp_path: Path) -> None:
    """Twelve digits of what was seen are enough; fewer, or another plan's, are refused."""
    host = _host(tmp_path)
    seen = host.applier.plan(moved(SECOND)).checksum
    for wrong in ("", seen[:11], "0" * 64):
        result = host.apply(SECOND, checksums=[wrong], force=True)
        assert (outcomes(result), result.exit_code) == ({"users": "refused"}, 3)
    assert outcomes(host.apply(SECOND, checksums=[seen[:12].upper()], force=True)) == {"users": "verified"}


def audited(host: ApplyHost) -> list[audit.AuditEntry]:
    """Give all entries of the audit."""
    with host.database.read() as connection:
        rows = connection.execute(select(table.c.actor, table.c.action, table.c.reason, table.c.detail, table.c.at))
        return [
            audit.AuditEntry(
                actor=row.actor, action=row.action, reason=row.reason, at=row.at, detail=json.loads(row.detail)
            )
            for row in rows
        ]


def test_rollback_skips_what_did_not_stand(tmp_path: Path) -> None:
    """A generation that was itself put back is none to return to, and doesn't count as the one before."""
    host = _host(tmp_path)
    host.server.deaf = True
    host.apply(moves(6), force=True)
    host.server.deaf = False
    with pytest.raises(UsageError, match="generation 4"):
        host.applier.rollback(4, ME)
    host.applier.rollback(None, ME)
    assert host.in_file() == expected(SECOND)


def test_nothing_to_go_back_to(tmp_path: Path) -> None:
    """With one generation, or an unknown number, the usage is wrong, and nothing is held."""
    host = ApplyHost(tmp_path)
    host.apply(FIRST)
    with pytest.raises(UsageError, match="no generation before"):
        host.applier.rollback(None, ME)
    with pytest.raises(UsageError, match="generation 77"):
        host.applier.rollback(77, ME)
    assert outcomes(host.apply(FIRST)) == {"users": "unchanged"}


def test_rollback_does_not_overwrite_a_hand_edit(tmp_path: Path) -> None:
    """An edited file is refused here, too, with the command that goes past it."""
    host = _host(tmp_path)
    path = host.paths["users"]
    path.write_bytes(path.read_bytes() + b"# mine\n")
    result = host.applier.rollback(1, ME)
    assert (outcomes(result), result.exit_code) == ({"users": "refused"}, 3)
    assert result.error is not None
    assert "redirectd rollback 1 --force" in result.error.what_to_do


def test_each_target_returns_to_its_own_file_of_that_time(tmp_path: Path) -> None:
    """A generation stores what it changed; going back finds the others' files in earlier ones."""
    host = ApplyHost(tmp_path, {"users": "unix:one", "others": "unix:two"}, server="one host")
    host.apply(FIRST)
    host.apply(SECOND, force=True, only=["users"])
    host.apply(THIRD, force=True)
    host.applier.rollback(2, ME)
    assert host.in_file("users") == expected(SECOND)
    assert host.in_file("others") == expected(FIRST)
