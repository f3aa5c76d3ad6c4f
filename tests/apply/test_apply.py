"""An apply as a whole, on real files and a real database, with a server that reads files as db_text does."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from redirectd.apply.control import AnswerError
from redirectd.apply.result import result_json
from redirectd.errors import PeerError, UsageError, VerifyError
from redirectd.plan.limits import Limits
from redirectd.plan.target import Target
from redirectd.store.database import Database
from redirectd.store.generations import files_of, get_generation
from redirectd.store.schema import metadata
from redirectd.targets.kamailio_alias_db import KamailioAliasDb
from tests.apply.apply_host import RELOADING, ApplyHost, expected, moves, outcomes, states, table

TWO = {"users": "unix:one", "others": "unix:two"}
SHARED = {"users": "unix:one", "others": "unix:one"}


def test_first_apply_is_installed_reloaded_and_proven(tmp_path: Path) -> None:
    """What is approved is in the file and in service, recorded as generation 1, and nothing else is left."""
    host = ApplyHost(tmp_path)
    result = host.apply(moves(3))
    assert (outcomes(result), result.generation, result.exit_code) == ({"users": "verified"}, 1, 0)
    assert host.in_file() == expected(moves(3)) == host.server.served("users")
    assert host.strays() == []


def test_lost_entries_are_put_back(tmp_path: Path) -> None:
    """A server that lost its table is given the unchanged file again, and the result names what it lost."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    host.server.forget("users")
    result = host.apply(moves(3))
    assert (outcomes(result), result.generation, result.exit_code) == ({"users": "verified"}, None, 0)
    assert host.server.served("users") == expected(moves(3))
    assert "__gen__" in result.lost["users"]
    again = host.apply(moves(3))
    assert (outcomes(again), dict(again.lost)) == ({"users": "unchanged"}, {})


def test_lost_entries_that_can_not_be_put_back_wait(tmp_path: Path) -> None:
    """A server that does not take the file again leaves it installed and waiting, exit code 1, not verified (R45)."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    host.server.forget("users")
    host.server.deaf = True
    result = host.apply(moves(3))
    assert (outcomes(result), result.exit_code, result.waiting) == ({"users": "installed"}, 1, ("users",))
    host.server.deaf = False
    host.clock.sleep(3600)
    host.apply(moves(3))
    assert host.server.served("users") == expected(moves(3))


def test_every_entry_is_asked_for_on_demand(tmp_path: Path) -> None:
    """A wrong value behind a right sentinel is found by `verify` alone, and put right."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    host.server.forget("users", "sip:u1@old.test:;")
    assert outcomes(host.apply(moves(3))) == {"users": "unchanged"}
    assert outcomes(host.apply(moves(3), verify=True)) == {"users": "verified"}
    assert host.server.served("users") == expected(moves(3))


def test_server_that_is_away_has_lost_nothing(tmp_path: Path) -> None:
    """Where nothing changes, a server that can't be asked is not a failure: it reads its file when it starts."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    host.server.down = True
    result = host.apply(moves(3))
    assert (outcomes(result), result.exit_code) == ({"users": "unchanged"}, 0)


def test_unchanged_file_is_neither_written_nor_reloaded(tmp_path: Path) -> None:
    """The second apply of the same finds nothing to do: same inode, same mtime, no reload, no generation."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    before = host.paths["users"].stat()
    result = host.apply(moves(3))
    after = host.paths["users"].stat()
    assert (outcomes(result), result.generation) == ({"users": "unchanged"}, None)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert host.server.reloads == 1


def test_one_server_is_reloaded_once_for_several_files(tmp_path: Path) -> None:
    """Two files of one server: each of its tables is reloaded once, in one go."""
    host = ApplyHost(tmp_path, SHARED)
    host.apply(moves(3))
    assert host.server.reloads == 2  # htable.reload users, htable.reload others
    assert host.clock.monotonic() == ApplyHost(tmp_path, SHARED).clock.monotonic()  # nobody waited between them


def test_json_of_an_apply_is_that_of_the_contract(tmp_path: Path) -> None:
    """apply --json is plan --json with the generation, and outcome and error by target."""
    document = json.loads(json.dumps(result_json(ApplyHost(tmp_path).apply(moves(2)))))
    assert document["generation"] == 1
    target = document["targets"][0]
    assert (target["name"], target["create"], target["outcome"], target["error"]) == ("users", 2, "verified", None)
    assert {"checksum", "targets", "conflicts", "cycles", "limit"} <= document.keys()


def test_generation_tells_who_what_and_how_it_went(tmp_path: Path) -> None:
    """A generation keeps actor, cause, checksum, plan, the file with its hash, and the stages."""
    host = ApplyHost(tmp_path)
    result = host.apply(moves(2), actor="ada", cause="schedule")
    with host.database.read() as connection:
        generation = get_generation(connection, 1)
        files = files_of(connection, 1)
    assert generation is not None
    assert (generation.actor, generation.cause, generation.outcome) == ("ada", "schedule", "verified")
    assert generation.checksum == result.plan.checksum == generation.plan["checksum"]
    assert [stage.stage for stage in generation.stages] == ["stage", "check", "install", "verify"]
    assert files[0].content == host.paths["users"].read_bytes()


def test_silent_reload_is_found_out_and_put_back(tmp_path: Path) -> None:
    """A server that says Ok and keeps the old data: exit code 4, old file back with its bytes, old data in service."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    old = host.paths["users"].read_bytes()
    host.server.deaf = True
    result = host.apply(moves(4))
    assert (outcomes(result), result.exit_code) == ({"users": "rolled-back"}, 4)
    assert isinstance(result.error, VerifyError)
    assert "read-back" in str(result.error)
    assert host.paths["users"].read_bytes() == old
    assert host.server.served("users") == expected(moves(3))
    assert host.strays() == []


def test_an_empty_table_of_somebody_else_is_put_back_without_a_proof(tmp_path: Path) -> None:
    """A new table without a row names no content to ask for: it is back after a failed apply, and nothing waits."""
    host = ApplyHost(tmp_path)
    host.apply({}, force=True)
    empty = host.paths["users"].read_bytes().splitlines(keepends=True)[0]
    (tmp_path / "fresh").mkdir()
    fresh = ApplyHost(tmp_path / "fresh")
    fresh.paths["users"].write_bytes(empty)
    fresh.server.deaf = True
    result = fresh.apply(moves(2))
    assert outcomes(result) == {"users": "rolled-back"}
    assert "not proven" not in str(result.error)
    assert fresh.paths["users"].read_bytes() == empty
    assert not [state for state in states(fresh) if state.pending]


def test_after_a_rollback_the_old_file_is_reread(tmp_path: Path) -> None:
    """The file put back is dated later than the one it replaces, so that db_text reads it again."""
    host = ApplyHost(tmp_path, TWO, server="one host")
    host.apply(moves(3))
    host.servers["unix:two"].deaf = True
    result = host.apply(moves(4))
    assert outcomes(result) == {"users": "rolled-back", "others": "rolled-back"}
    assert host.servers["unix:one"].served("users") == expected(moves(3))


def test_refused_reload_puts_all_targets_of_the_unit_back(tmp_path: Path) -> None:
    """An error answer takes back all files of the server, by whatever way each is reached: they are one unit."""
    host = ApplyHost(tmp_path, TWO, server="one host")
    host.apply(moves(3))
    host.servers["unix:two"].faults = [PeerError("server", "s", "s"), PeerError("server", "s", "s")]
    host.servers["unix:two"].deaf = True
    result = host.apply(moves(4))
    assert outcomes(result) == {"users": "rolled-back", "others": "rolled-back"}
    assert host.in_file("users") == host.in_file("others") == expected(moves(3))


def test_a_refused_reload_names_the_usual_cause(tmp_path: Path) -> None:
    """Exit code 4 names the file and what keeps a server from it, where its kind has no better idea."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    host.server.faults = [AnswerError("server", 500, "Error loading")] * 9
    result = host.apply(moves(4))
    assert isinstance(result.error, VerifyError)
    assert f"the server's user may not read the file {host.paths['users']}" in result.error.what_to_do


def test_busy_server_is_asked_again(tmp_path: Path) -> None:
    """`Ongoing reload` is retried until the server takes it."""
    host = ApplyHost(tmp_path)
    host.server.faults = [RELOADING, RELOADING, RELOADING]
    assert outcomes(host.apply(moves(3))) == {"users": "verified"}
    assert host.server.reloads == 4


def test_endlessly_busy_server_is_given_up(tmp_path: Path) -> None:
    """The patience with `Ongoing reload` ends, and what was there is put back."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    host.server.faults = [RELOADING] * 1000
    result = host.apply(moves(4))
    assert (outcomes(result), result.exit_code) == ({"users": "rolled-back"}, 4)
    assert host.in_file() == expected(moves(3))


def test_reload_without_an_answer_is_judged_by_what_is_in_service(tmp_path: Path) -> None:
    """A reload that took longer than its time-out and yet went through is verified, not undone."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    late = host.server
    reload = late._reload

    def answer_lost(table: str) -> object:
        reload(table)
        raise PeerError("server", "10 s ran out while waiting for the answer", "wait")

    late._reload = answer_lost  # type: ignore[method-assign]
    assert outcomes(host.apply(moves(4))) == {"users": "verified"}
    assert late.served("users") == expected(moves(4))


def test_reloads_of_one_server_are_spaced(tmp_path: Path) -> None:
    """Two applies one after the other leave five seconds between the reloads."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    start = host.clock.monotonic()
    host.apply(moves(4))
    assert host.clock.monotonic() - start == pytest.approx(5)


def test_target_without_server_is_installed(tmp_path: Path) -> None:
    """reload = none: written and parsed back, outcome installed, nothing waits."""
    host = ApplyHost(tmp_path, {"users": "none"})
    result = host.apply(moves(3))
    assert (outcomes(result), result.exit_code, result.waiting) == ({"users": "installed"}, 0, ())


def test_a_target_that_no_question_proves_is_installed_and_not_called_verified(tmp_path: Path) -> None:
    """alias_db has no command that looks an alias up: with a server to tell, too, the parse-back is all the proof."""

    class Unasked(ApplyHost):
        def _target(self, name: str) -> Target:
            return KamailioAliasDb()

    host = Unasked(tmp_path)
    result = host.apply(moves(2))
    assert (result.error, outcomes(result)) == (None, {"users": "installed"})
    assert result.waiting == ()


def test_limits_refuse_and_force_goes_past(tmp_path: Path) -> None:
    """Past a limit nothing is touched, the outcome is refused with exit code 3; --force applies it."""
    host = ApplyHost(tmp_path)
    host.apply(moves(10))
    result = host.apply(moves(5))
    assert (outcomes(result), result.exit_code, result.generation) == ({"users": "refused"}, 3, None)
    assert host.in_file() == expected(moves(10))
    assert outcomes(host.apply(moves(5), force=True)) == {"users": "verified"}
    assert outcomes(host.apply({})) == {"users": "refused"}
    assert outcomes(host.apply({}, force=True)) == {"users": "verified"}


def test_absolute_limit_holds_from_the_start(tmp_path: Path) -> None:
    """max_changes bounds the first apply, too."""
    host = ApplyHost(tmp_path, limits=Limits(max_changes=5))
    assert outcomes(host.apply(moves(6))) == {"users": "refused"}
    assert not host.paths["users"].exists()


def test_only_the_plan_that_was_seen_is_applied(tmp_path: Path) -> None:
    """--plan CHECKSUM refuses any other plan and applies that one."""
    host = ApplyHost(tmp_path)
    seen = host.applier.plan(table(moves(2))).checksum
    other = host.apply(moves(3), checksums=[seen])
    assert (outcomes(other), other.exit_code) == ({"users": "refused"}, 3)
    assert outcomes(host.apply(moves(2), checksums=[seen])) == {"users": "verified"}


def test_hand_edit_is_not_overwritten(tmp_path: Path) -> None:
    """An edited file stays until --force; then the edit is in the generation's diff."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    path = host.paths["users"]
    path.write_bytes(path.read_bytes() + b"# mine\n")
    result = host.apply(moves(4))
    assert (outcomes(result), result.exit_code) == ({"users": "refused"}, 3)
    assert path.read_bytes().endswith(b"# mine\n")
    forced = host.apply(moves(4), force=True)
    assert outcomes(forced) == {"users": "verified"}
    assert "-# mine" in forced.plan.targets[0].diff.splitlines()


def test_forced_over_hand_edit_that_fails_brings_the_edit_back(tmp_path: Path) -> None:
    """After a failed --force the person's file is back, and is still known as a hand edit."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    path = host.paths["users"]
    edited = path.read_bytes() + b"# mine\n"
    path.write_bytes(edited)
    host.server.deaf = True
    assert outcomes(host.apply(moves(4), force=True)) == {"users": "rolled-back"}
    assert path.read_bytes() == edited
    host.server.deaf = False
    assert outcomes(host.apply(moves(4))) == {"users": "refused"}


def test_file_that_is_already_right_is_adopted(tmp_path: Path) -> None:
    """With a new database, a file that is what redirectd would write counts as its own from then on."""
    ApplyHost(tmp_path).apply(moves(3))
    (tmp_path / "redirectd.db").unlink()
    for extra in tmp_path.glob("redirectd.db-*"):
        extra.unlink()
    host = ApplyHost(tmp_path)
    assert outcomes(host.apply(moves(3))) == {"users": "unchanged"}
    assert outcomes(host.apply(moves(4))) == {"users": "verified"}


def test_only_named_targets_are_applied(tmp_path: Path) -> None:
    """--target leaves the others alone, and an unknown name is a wrong usage."""
    host = ApplyHost(tmp_path, TWO)
    result = host.apply(moves(3), only=["others"])
    assert outcomes(result) == {"others": "verified"}
    assert not host.paths["users"].exists()
    with pytest.raises(UsageError, match="nobody"):
        host.apply(moves(3), only=["nobody"])


def test_mode_and_link_of_the_old_file_are_kept(tmp_path: Path) -> None:
    """A symbolic link stays one, its file is replaced in its own directory, with its mode; a new file gets 0640."""
    host = ApplyHost(tmp_path)
    real = tmp_path / "elsewhere" / "real.table"
    real.parent.mkdir()
    real.touch()
    real.chmod(0o604)
    host.paths["users"].symlink_to(real)
    host.apply(moves(3))
    assert host.paths["users"].is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o604
    assert host.in_file() == expected(moves(3))
    fresh = ApplyHost(tmp_path, {"fresh": "none"})
    fresh.apply(moves(3))
    assert stat.S_IMODE(fresh.paths["fresh"].stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_of_the_old_file_is_kept(tmp_path: Path) -> None:
    """The new file belongs to the old one's user and group, and so does the one that is put back."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    os.chown(host.paths["users"], 65534, 65533)
    host.apply(moves(4))
    status = host.paths["users"].stat()
    assert (status.st_uid, status.st_gid) == (65534, 65533)
    host.server.deaf = True
    host.apply(moves(5))
    status = host.paths["users"].stat()
    assert (status.st_uid, status.st_gid) == (65534, 65533)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_is_the_folders_owners(tmp_path: Path) -> None:
    """New files, the lock and the database of a person who is root belong to the service that comes after."""
    tmp_path.chmod(0o755)
    host = ApplyHost(tmp_path)
    for folder in (tmp_path, host.etc):
        os.chown(folder, 65534, 65533)
    (tmp_path / "apply.lock").unlink(missing_ok=True)
    host.apply(moves(3))
    database = Database(f"sqlite:///{tmp_path}/of-root.db")
    metadata.create_all(database.engine)
    database.close()
    made = [*host.etc.iterdir(), *tmp_path.glob("*.lock"), *tmp_path.glob("of-root.db*")]
    assert len(made) >= 3
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(65534, 65533)}


def test_directory_open_to_everyone_is_refused(tmp_path: Path) -> None:
    """Where anyone may replace files nothing is installed, and the mend is named."""
    host = ApplyHost(tmp_path)
    host.etc.chmod(0o777)
    result = host.apply(moves(3))
    assert result.exit_code == 1
    assert result.error is not None
    assert result.error.what_to_do == f"chmod o-w {host.etc}"


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    """A directory or a FIFO in the file's place is an error, not a hang and not a replacement."""
    host = ApplyHost(tmp_path)
    path = host.paths["users"]
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    result = host.apply(moves(3))
    assert (outcomes(result), result.exit_code) == ({"users": "refused"}, 1)
    assert "users.table" in str(result.error)
    assert not path.is_file()


def test_failing_plan_is_not_repeated_by_the_schedule_at_once(tmp_path: Path) -> None:
    """A plan that was rolled back is left alone by the schedule for a while; a person can apply it at once."""
    host = ApplyHost(tmp_path)
    host.apply(moves(3))
    host.server.deaf = True
    host.apply(moves(4), cause="schedule")
    paused = host.apply(moves(4), cause="schedule")
    assert (outcomes(paused), paused.exit_code) == ({"users": "refused"}, 3)
    assert "rolled back 1 times" in str(paused.error)
    assert outcomes(host.apply(moves(4))) == {"users": "rolled-back"}
    host.server.deaf = False
    host.clock.sleep(20 * 60)
    assert outcomes(host.apply(moves(4), cause="schedule")) == {"users": "verified"}


def test_nothing_is_left_to_finish_after_a_clean_apply(tmp_path: Path) -> None:
    """At rest no target is pending."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(moves(3))
    assert [state.pending for state in states(host)] == [False, False]
