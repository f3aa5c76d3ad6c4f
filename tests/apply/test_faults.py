"""Everything that can fail without a kill: full and read-only disks, each system call, dead and dying servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from errno import EIO, ENOSPC
from itertools import pairwise
from pathlib import Path

import pytest

from redirectd.apply.applier import ApplyRequest
from redirectd.apply.control import UnknownMethodError
from redirectd.apply.lock import apply_lock
from redirectd.errors import InstallError, PeerError, RedirectdError, RefusedError, StoreError, VerifyError
from redirectd.store.generations import GenerationOutcome, files_of, get_generation
from tests.apply.apply_host import ApplyHost, expected, moves, outcomes, states
from tests.apply.kill import Steps, at_rest, copy_of, stepped_database, stepped_files, whole

TWO = {"users": "unix:one", "others": "unix:two"}
OLD, NEW = moves(3), moves(5, "newer.test")


def test_every_file_operation_can_fail(tmp_path: Path) -> None:
    """ENOSPC at file operation 1, 2, 3...: the error says what to do, files are whole, the next run finishes."""
    base = tmp_path / "base"
    base.mkdir()
    first = ApplyHost(base, TWO)
    first.apply(OLD)
    first.database.close()
    faults: list[str] = []
    step = 0
    while True:
        step += 1
        home = copy_of(base, "trial")

        def fail(name: str) -> None:
            raise OSError(ENOSPC, os.strerror(ENOSPC), name)

        steps = Steps(step, fail)
        host = ApplyHost(home, TWO, files=stepped_files(steps))
        if (error := _error_of(host)) is None and len(steps.names) < step:
            break
        if error is not None and not (error.where and error.what_to_do):
            faults.append(f"step {step}: {error!r} says too little")
        faults += [f"step {step}: {fault}" for fault in whole(host, expected(OLD), expected(NEW))]
        again = ApplyHost(home, TWO)
        again.apply(NEW, force=True)
        faults += [f"step {step} ({steps.names[-1]}): {fault}" for fault in at_rest(again, expected(NEW))]
        host.database.close()
        again.database.close()
    assert faults == []
    assert step > 40


class Away(Steps):
    """Steps of a database that goes at the one wanted: for that moment, or for good."""

    def __init__(self, wanted: int, *, for_good: bool) -> None:
        super().__init__(wanted, lambda _: None)
        self._from, self._for_good = wanted, for_good

    def at(self, name: str) -> None:
        self.names.append(name)
        passed = len(self.names) - self._from
        if passed == 0 or (self._for_good and passed > 0):
            raise StoreError("database", "the connection was lost", "start it again")


@pytest.mark.parametrize("for_good", [False, True], ids=["a moment", "for good"])
def test_database_can_go_at_every_step(tmp_path: Path, for_good: bool) -> None:
    """Locked or restarted before, in or after each transaction of an apply: files are whole, the next run finishes."""
    base = tmp_path / "base"
    base.mkdir()
    first = ApplyHost(base, TWO)
    first.apply(OLD)
    first.database.close()
    faults: list[str] = []
    step = 0
    while True:
        step += 1
        home = copy_of(base, "trial")
        steps = Away(step, for_good=for_good)
        host = ApplyHost(home, TWO, database=stepped_database(steps))
        error = _error_of(host)
        host.database.close()
        if error is None:
            break
        faults += [] if isinstance(error, StoreError) else [f"step {step}: {error!r} is not about the database"]
        faults += [f"step {step}: {fault}" for fault in whole(host, expected(OLD), expected(NEW))]
        again = ApplyHost(home, TWO)
        again.apply(NEW, force=True)
        faults += [f"step {step}: {fault}" for fault in at_rest(again, expected(NEW))]
        again.database.close()
    assert faults == []
    assert step > 5


def _error_of(host: ApplyHost) -> RedirectdError | None:
    try:
        error = host.apply(NEW, force=True).error
    except RedirectdError as raised:
        return raised
    assert error is None or isinstance(error, RedirectdError)
    return error


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB, mounted for one test."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """On a disk that is really full nothing is changed, nothing is left over, and space lets the next apply finish."""
    host = ApplyHost(tmp_path)
    host.etc.rmdir()
    host.etc.symlink_to(small_disk)
    host.apply(OLD)
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        file.write(b"x" * (64 * 1024 - 2 * 4096))
    result = host.apply(moves(400, "newer.test"), force=True)
    assert isinstance(result.error, InstallError)
    assert "No space left" in result.error.why
    assert result.error.what_to_do.startswith("free space")
    assert host.in_file() == expected(OLD)
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "users.table"]
    filler.unlink()
    assert outcomes(host.apply(moves(400, "newer.test"), force=True)) == {"users": "verified"}


def test_read_only_disk(tmp_path: Path, small_disk: Path) -> None:
    """On a read-only file system an unchanged apply still ends well, a changed one is refused with the mend."""
    host = ApplyHost(tmp_path)
    host.etc.rmdir()
    host.etc.symlink_to(small_disk)
    host.apply(OLD)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert outcomes(host.apply(OLD)) == {"users": "unchanged"}
    result = host.apply(NEW, force=True)
    assert isinstance(result.error, InstallError)
    assert "Read-only" in result.error.why
    assert (outcomes(result), result.generation) == ({"users": "refused"}, None)


def test_file_that_is_mounted_by_itself(tmp_path: Path, small_disk: Path) -> None:
    """A target that is a mount point, as in a container, stays as it was, and the mend is told."""
    host = ApplyHost(tmp_path)
    host.apply(OLD)
    [target] = host.paths.values()
    mounted = small_disk / "users"
    shutil.copyfile(target, mounted)
    subprocess.run(["mount", "--bind", str(mounted), str(target)], check=True)
    try:
        result = host.apply(NEW, force=True)
        assert host.in_file() == expected(OLD)
    finally:
        subprocess.run(["umount", str(target)], check=True)
    assert isinstance(result.error, InstallError)
    assert "mount its directory" in result.error.what_to_do
    assert host.in_file() == expected(OLD)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; the read-only disk stands for it")
def test_directory_without_write_permission(tmp_path: Path) -> None:
    """A directory that this user may not write to is an error before anything is changed."""
    host = ApplyHost(tmp_path)
    host.apply(OLD)
    host.etc.chmod(0o555)
    result = host.apply(NEW, force=True)
    host.etc.chmod(0o755)
    assert isinstance(result.error, InstallError)
    assert host.in_file() == expected(OLD)


def test_dead_server_leaves_a_remembered_state(tmp_path: Path) -> None:
    """Down: installed, not reloaded, exit code 1, remembered; the other server has its part. Up again: finished."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(OLD)
    host.servers["unix:two"].down = True
    result = host.apply(NEW, force=True)
    assert outcomes(result) == {"users": "verified", "others": "installed"}
    assert (result.exit_code, result.waiting) == (1, ("others",))
    assert isinstance(result.error, PeerError)
    assert "installed, not reloaded" in str(result.error)
    again = host.apply(NEW)
    assert (outcomes(again), again.waiting) == ({"users": "unchanged", "others": "installed"}, ("others",))
    host.servers["unix:two"].down = False
    assert outcomes(host.apply(NEW)) == {"users": "unchanged", "others": "unchanged"}
    assert at_rest(host, expected(NEW)) == []


def test_a_target_that_is_not_configured_any_more_waits_no_longer(tmp_path: Path) -> None:
    """Taken out of the configuration while it waits for its server, a target is let go of by the next apply."""
    host = ApplyHost(tmp_path, {"users": "unix:one", "others": "unix:two"})
    host.servers["unix:two"].down = True
    host.apply(moves(3))
    later = ApplyHost(tmp_path, {"users": "unix:one"})
    assert later.applier.finish(ApplyRequest(actor="daemon", cause="schedule")) == {}
    assert [state.target for state in states(later) if state.pending] == ["others"]
    result = later.apply(moves(3))
    assert (result.exit_code, outcomes(result)) == (0, {"users": "unchanged"})
    assert not [state for state in states(later) if state.pending]
    with later.database.read() as connection:
        [users], [others] = files_of(connection, 1), files_of(connection, 2)
        stages = get_generation(connection, 2).stages  # type: ignore[union-attr]
    assert (others.outcome, users.outcome) == (GenerationOutcome.INSTALLED, GenerationOutcome.VERIFIED)
    assert "not configured any more" in stages[-1].error


def test_retries_of_the_schedule_back_off(tmp_path: Path) -> None:
    """While a server is down the schedule asks it less and less often, at least every 15 minutes."""
    host = ApplyHost(tmp_path)
    host.apply(OLD)
    host.server.down = True
    host.apply(NEW, force=True)
    tries = []
    for _ in range(24 * 60):
        before = [state.attempts for state in states(host)]
        host.applier.finish(ApplyRequest(actor="daemon", cause="schedule"))
        if [state.attempts for state in states(host)] != before:
            tries.append(host.clock.monotonic())
        host.clock.sleep(60)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 15 * 60
    host.server.down = False
    host.clock.sleep(15 * 60)
    assert host.applier.finish(ApplyRequest(actor="daemon", cause="schedule")) == {}
    assert at_rest(host, expected(NEW)) == []


def test_file_that_waited_and_is_disproved_goes_back(tmp_path: Path) -> None:
    """A server that comes up and does not prove the file that waited for it gets the last proven one back."""
    host = ApplyHost(tmp_path)
    host.apply(OLD)
    host.server.down = True
    host.apply(NEW, force=True)
    host.server.down = False
    host.server.deaf = True
    assert isinstance(host.apply(NEW).error, VerifyError)
    assert host.in_file() == expected(OLD) == host.server.served("users")
    assert host.strays() == []


def test_what_waits_can_be_replaced_and_the_proven_file_is_kept(tmp_path: Path) -> None:
    """New approvals while the server is down are installed over what waits; if they fail, the proven file returns."""
    host = ApplyHost(tmp_path)
    host.apply(OLD)
    host.server.down = True
    host.apply(NEW, force=True)
    newest = moves(6, "newest.test")
    assert outcomes(host.apply(newest, force=True)) == {"users": "installed"}
    assert host.in_file() == expected(newest)
    host.server.down = False
    host.server.deaf = True
    assert isinstance(host.apply(newest).error, VerifyError)
    assert host.in_file() == expected(OLD)


def test_first_file_that_is_disproved_leaves_an_empty_table(tmp_path: Path) -> None:
    """A first apply that failed leaves an empty table, without which Kamailio would not start; a later one goes on."""
    host = ApplyHost(tmp_path)
    host.server.deaf = True
    result = host.apply(OLD)
    assert (outcomes(result), result.exit_code) == ({"users": "rolled-back"}, 4)
    assert (host.in_file(), host.strays()) == ({}, [])
    assert [state.pending for state in states(host)] == [False]
    host.server.deaf = False
    assert outcomes(host.apply(OLD)) == {"users": "verified"}


def test_first_generation_that_is_disproved_keeps_the_other_tables(tmp_path: Path) -> None:
    """One target that fails does not take away the tables of the others: they are there, and empty."""
    host = ApplyHost(tmp_path, {"users": "unix:one", "others": "unix:two"}, server="one host")
    host.servers["unix:two"].deaf = True
    assert outcomes(host.apply(OLD)) == {"users": "rolled-back", "others": "rolled-back"}
    assert (host.in_file("users"), host.in_file("others"), host.strays()) == ({}, {}, [])


def test_server_without_the_module_waits_with_the_file_in_place(tmp_path: Path) -> None:
    """A reload that the server does not know rolls nothing back: the file is installed, and proven with the module."""
    host = ApplyHost(tmp_path, {"users": "unix:one", "others": "unix:one"})
    unknown = UnknownMethodError("server", 500, "command htable.reload not found", "load htable")
    host.server.faults = [unknown]  # for the first table alone
    result = host.apply(OLD)
    assert (outcomes(result), result.exit_code) == ({"users": "installed", "others": "verified"}, 1)
    assert (host.in_file("users"), result.waiting) == (expected(OLD), ("users",))
    host.clock.sleep(3600)
    assert outcomes(host.apply(OLD)) == {"users": "unchanged", "others": "unchanged"}
    assert at_rest(host, expected(OLD)) == []


def test_server_that_dies_after_the_reload(tmp_path: Path) -> None:
    """A server that stops answering once it read the new file may have died of it: the old file is put back."""
    host = ApplyHost(tmp_path)
    host.apply(OLD)
    server = host.server

    def die(step: str) -> None:
        server.down = server.down or step == "answered htable.reload"

    server.hook = die
    result = host.apply(NEW, force=True)
    assert (outcomes(result), result.exit_code, result.waiting) == ({"users": "rolled-back"}, 4, ("users",))
    assert host.in_file() == expected(OLD)
    server.hook = lambda _: None
    server.down = False
    assert outcomes(host.apply(OLD)) == {"users": "unchanged"}
    assert at_rest(host, expected(OLD)) == []


def test_file_edited_during_an_apply_is_not_overwritten(tmp_path: Path) -> None:
    """An edit between plan and swap stops the apply before anything is changed."""
    host = ApplyHost(tmp_path)
    host.apply(OLD)
    edited = host.paths["users"].read_bytes() + b"# mine\n"

    def edit(name: str) -> None:
        if name == "create":
            host.paths["users"].write_bytes(edited)

    steps = Steps(-1, lambda _: None)
    editing = ApplyHost(tmp_path, files=stepped_files(steps))
    steps.at = edit  # type: ignore[method-assign]
    result = editing.apply(NEW, force=True)
    assert isinstance(result.error, InstallError)
    assert "changed while" in result.error.why
    assert host.paths["users"].read_bytes() == edited


def test_unrestorable_file_is_restored_by_the_next_run(tmp_path: Path) -> None:
    """If even putting back fails, the record stays open and the next run puts it back."""
    host = ApplyHost(tmp_path)
    host.apply(OLD)

    class Broken:
        swapped = False

        def __call__(self, name: str) -> None:
            if name == "rename":
                if self.swapped:
                    raise OSError(EIO, os.strerror(EIO))
                self.swapped = True

    steps = Steps(-1, lambda _: None)
    steps.at = Broken()  # type: ignore[method-assign]
    broken = ApplyHost(tmp_path, files=stepped_files(steps))
    broken.server.deaf = True
    result = broken.apply(NEW, force=True)
    assert (outcomes(result), result.exit_code) == ({"users": "installed"}, 1)
    assert "could not be put back" in str(result.error)
    assert outcomes(ApplyHost(tmp_path).apply(NEW, force=True)) == {"users": "unchanged"}
    assert at_rest(host, expected(NEW)) == []


def test_second_apply_waits_and_then_says_who_holds_the_lock(tmp_path: Path) -> None:
    """Command line and daemon never apply at once; whoever waits too long learns who is at work."""
    host = ApplyHost(tmp_path)
    clock = host.clock
    with (
        apply_lock(tmp_path / "apply.lock", "schedule by daemon", wait=0, sleep=clock.sleep, monotonic=clock.monotonic),
        pytest.raises(RefusedError, match=f"schedule by daemon, process {os.getpid()}") as caught,
    ):
        host.apply(OLD)
    assert caught.value.exit_code == 3
    assert outcomes(host.apply(OLD)) == {"users": "verified"}


def test_lock_where_its_folder_is_gone(tmp_path: Path) -> None:
    """A folder in /run that went with the service is made again, so that an apply by hand works without it."""
    clock = ApplyHost(tmp_path).clock
    lock = tmp_path / "run" / "apply.lock"
    with apply_lock(lock, "apply by root", wait=0, sleep=clock.sleep, monotonic=clock.monotonic):
        assert lock.exists()
    away = tmp_path / "not" / "there" / "apply.lock"
    with (
        pytest.raises(InstallError, match="No such file") as caught,
        apply_lock(away, "apply by root", wait=0, sleep=clock.sleep, monotonic=clock.monotonic),
    ):
        pass
    assert str(away.parent) in caught.value.what_to_do


def test_file_without_hard_links(tmp_path: Path) -> None:
    """Where the file system has no hard links the old file is copied, and put back just the same."""
    ApplyHost(tmp_path).apply(OLD)

    def no_links(name: str) -> None:
        if name == "link":
            raise PermissionError(1, "Operation not permitted")

    steps = Steps(-1, lambda _: None)
    steps.at = no_links  # type: ignore[method-assign]
    host = ApplyHost(tmp_path, files=stepped_files(steps))
    host.paths["users"].chmod(0o604)
    host.server.deaf = True
    assert outcomes(host.apply(NEW, force=True)) == {"users": "rolled-back"}
    assert host.in_file() == expected(OLD)
    assert host.paths["users"].stat().st_mode & 0o777 == 0o604
