"""Units of apply: the targets of one server together, and each server apart from the others."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import select

from redirectd.apply.applier import ApplyRequest
from redirectd.apply.result import result_json
from redirectd.errors import PeerError, VerifyError
from redirectd.plan.report import to_json
from redirectd.plan.target_spec import TargetSpec, units_of
from redirectd.store.generations import GenerationOutcome, files_of, get_generation, history
from redirectd.store.schema import in_service, setting
from redirectd.store.settings import Hold, get_holds
from redirectd.targets.kamailio_htable import KamailioHtable
from tests.apply.apply_host import NODE, WIDE, ApplyHost, expected, moves, outcomes, states, table

TWO = {"users": "unix:one", "others": "unix:two"}
OLD, NEW, NEWEST = moves(3), moves(5, "newer.test"), moves(6, "newest.test")
ME = ApplyRequest(actor="ada", cause="rollback")


def _specs(*wanted: tuple[str, str, str | None]) -> list[TargetSpec]:
    return [TargetSpec(name, f"/{name}", KamailioHtable(), control=to, server=server) for name, to, server in wanted]


def test_targets_of_one_server_are_a_unit() -> None:
    """A control address or the name of a server joins targets, also by a third; others are alone."""
    specs = _specs(
        ("a", "unix:one", None), ("b", "none", None), ("c", "unix:two", "sip1"), ("d", "none", None),
        ("e", "unix:one", None), ("f", "none", "sip1"), ("g", "unix:one", "pbx"), ("h", "unix:three", None),
    )  # fmt: skip
    units = [(unit.name, [spec.name for spec in unit.specs]) for unit in units_of(specs)]
    assert units == [
        ("pbx", ["a", "e", "g"]),
        ("b", ["b"]),
        ("sip1", ["c", "f"]),
        ("d", ["d"]),
        ("unix:three", ["h"]),
    ]


def test_names_of_units_are_unique_and_hold_no_password() -> None:
    """A server that is called as another unit's target, and a control address with a password, confuse nobody."""
    specs = _specs(("a", "none", None), ("b", "unix:one", "a"), ("c", "jsonrpc:http://u:secret@h/RPC", None))
    names = [unit.name for unit in units_of(specs)]
    assert names[:2] == ["a", "a (b)"]
    assert "secret" not in names[2]


def test_a_server_that_refuses_holds_up_no_other(tmp_path: Path) -> None:
    """The unit that is disproved goes back, the other is in service, each by a generation of its own; exit code 4."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(OLD)
    host.servers["unix:two"].deaf = True
    result = host.apply(NEW, force=True)
    assert (outcomes(result), result.exit_code) == ({"users": "verified", "others": "rolled-back"}, 4)
    assert [unit.generation for unit in result.units] == [3, 4]
    assert host.in_file("users") == expected(NEW) == host.servers["unix:one"].served("users")
    assert host.in_file("others") == expected(OLD) == host.servers["unix:two"].served("others")
    with host.database.read() as connection:
        last = history(connection, NODE, 2)
        found = [(one.outcome, [file.target for file in files_of(connection, one.number)]) for one in last]
    assert found == [(GenerationOutcome.ROLLED_BACK, ["others"]), (GenerationOutcome.VERIFIED, ["users"])]


def test_a_misconfigured_unit_holds_up_no_other(tmp_path: Path) -> None:
    """What can't be read, or has no usable password, is refused or waits by itself; revocations reach the other one."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(OLD)
    host.paths["users"].unlink()
    host.paths["users"].mkdir()
    result = host.apply({name: new for name, new in OLD.items() if "u1" not in name}, force=True)
    assert (outcomes(result), result.exit_code) == ({"users": "refused", "others": "verified"}, 1)
    assert "u1@old.test" not in host.servers["unix:two"].served("others")


def test_a_server_whose_password_is_missing_is_not_asked(tmp_path: Path) -> None:
    """A way to a server that can't be opened leaves its file installed and waiting; the other unit is verified."""
    host = ApplyHost(tmp_path, TWO)
    opened = host._open

    def open_one(spec: str, *, timeout: float) -> object:
        if spec == "unix:two":
            raise PeerError("password_file", "it can't be read", "give the right")
        return opened(spec, timeout=timeout)

    host.applier._transaction._servers._open_channel = open_one  # type: ignore[assignment]
    result = host.apply(OLD)
    assert (outcomes(result), result.exit_code) == ({"users": "verified", "others": "installed"}, 1)
    assert result.waiting == ("others",)


def test_limits_are_by_unit(tmp_path: Path) -> None:
    """A unit over a limit is refused with the way past it for itself alone; the other is applied; exit code 3."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(moves(10), only=["users"])
    result = host.apply(moves(5))
    assert (outcomes(result), result.exit_code) == ({"users": "refused", "others": "verified"}, 3)
    [users] = [unit for unit in result.plan.units if unit.name == "unix:one"]
    assert result.error is not None
    assert result.error.what_to_do.endswith(f"redirectd apply --plan {users.checksum} --force")
    forced = host.apply(moves(5), checksums=[users.checksum], force=True)
    assert outcomes(forced) == {"users": "verified"}


def test_exit_code_of_several_units(tmp_path: Path) -> None:
    """4 goes over 1 and 1 over 3, and the error has what happened in each."""
    host = ApplyHost(tmp_path, {**TWO, "third": "unix:three"})
    host.apply(moves(10), only=["users"])
    host.servers["unix:two"].down = True
    result = host.apply(moves(5))
    assert (outcomes(result)["users"], outcomes(result)["others"], result.exit_code) == ("refused", "installed", 1)
    host.servers["unix:three"].deaf = True
    result = host.apply(moves(4))
    assert (outcomes(result)["third"], result.exit_code) == ("rolled-back", 4)
    assert isinstance(result.error, VerifyError)
    assert "installed, not reloaded" in str(result.error)


def test_a_plan_of_a_unit_is_applied_by_its_checksum(tmp_path: Path) -> None:
    """--plan with a unit's checksum applies that unit alone, with several those, with the whole plan's all."""
    host = ApplyHost(tmp_path, {**TWO, "third": "none"})
    seen = host.applier.plan(table(OLD))
    sums = [unit.checksum for unit in seen.units]
    assert len({seen.checksum, *sums}) == 4
    assert outcomes(host.apply(OLD, checksums=[sums[1][:12]])) == {"others": "verified"}
    assert not host.paths["users"].exists()
    stale = host.apply(OLD, checksums=[sums[0], sums[1]])  # the second is done by now
    assert (set(outcomes(stale).values()), stale.exit_code) == ({"refused", "unchanged"}, 3)
    assert outcomes(host.apply(OLD, checksums=[sums[0], sums[2]])) == {"users": "verified", "third": "installed"}
    whole = host.applier.plan(table(NEW)).checksum
    assert set(outcomes(host.apply(NEW, checksums=[whole], force=True)).values()) == {"verified", "installed"}


def test_a_plan_of_one_unit_has_the_checksum_of_the_whole(tmp_path: Path) -> None:
    """With a single unit nothing has two names."""
    plan = ApplyHost(tmp_path).applier.plan(table(OLD))
    assert [unit.checksum for unit in plan.units] == [plan.checksum]


def test_json_has_the_units(tmp_path: Path) -> None:
    """`units` of plan and apply: name, targets, checksum, limit, and after an apply the generation and error."""
    host = ApplyHost(tmp_path, {**TWO, "third": "none"})
    shown = to_json(host.applier.plan(table(OLD)))
    units = json.loads(json.dumps(shown))["units"]
    assert [(unit["name"], unit["targets"]) for unit in units] == [
        ("unix:one", ["users"]),
        ("unix:two", ["others"]),
        ("third", ["third"]),
    ]
    host.servers["unix:two"].down = True
    document = json.loads(json.dumps(result_json(host.apply(OLD))))
    assert [unit["generation"] for unit in document["units"]] == [1, 2, 3]
    assert document["generation"] == 3
    assert [unit["error"] is None for unit in document["units"]] == [True, False, True]
    assert "unix:two" not in document["units"][0]["checksum"]


def test_a_rollback_is_of_one_unit(tmp_path: Path) -> None:
    """Going back to a generation changes and holds its unit alone; the schedule goes on with the other."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(OLD)
    host.apply(NEW, force=True)
    assert outcomes(host.applier.rollback(1, ME)) == {"users": "verified"}
    assert (host.in_file("users"), host.in_file("others")) == (expected(OLD), expected(NEW))
    result = host.apply(NEWEST, force=True, cause="schedule")
    assert (outcomes(result), result.exit_code) == ({"users": "refused", "others": "verified"}, 3)
    assert "rolled back to generation 1" in str(result.error)
    assert outcomes(host.apply(NEWEST, resume=True, only=["others"])) == {"others": "unchanged"}
    assert outcomes(host.apply(NEWEST, force=True))["users"] == "refused"
    assert outcomes(host.apply(NEWEST, force=True, resume=True)) == {"users": "verified", "others": "unchanged"}
    assert not _holds(host)


def test_a_rollback_leaves_other_units_in_service(tmp_path: Path) -> None:
    """R45: what came by another unit's generation is in service still; of this one's nobody knows it any more."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(OLD)
    host.apply(NEW, force=True)
    came_by = {1: 1, 2: 2, 3: 3, 4: 4, 5: 99}  # remap to generation: 1 and 3 are of users, 2 and 4 of the others
    columns = "node, remap_id, old_hash, generation, since, calls_a_day, calls"
    with closing(sqlite3.connect(tmp_path / "redirectd.db")) as connection, connection:
        rows = [
            (NODE, remap, "", number, str(host.clock().replace(tzinfo=None)), 1.0, 0)
            for remap, number in came_by.items()
        ]
        connection.executemany(f"INSERT INTO in_service ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    assert outcomes(host.applier.rollback(1, ME)) == {"users": "verified"}
    with host.database.read() as reading:
        left = reading.scalars(select(in_service.c.remap_id).order_by(in_service.c.remap_id)).all()
    assert list(left) == [2, 4]


def test_a_rollback_without_a_number_undoes_the_last_apply(tmp_path: Path) -> None:
    """Each unit that the last apply has changed returns to its own generation before; the others stay."""
    host = ApplyHost(tmp_path, {**TWO, "third": "none"})
    host.apply(OLD)
    host.clock.sleep(60)
    host.apply(NEW, force=True, only=["third"])
    host.clock.sleep(60)
    host.apply(NEWEST, force=True, only=["users", "others"])
    result = host.applier.rollback(None, ME)
    assert outcomes(result) == {"users": "verified", "others": "verified"}
    assert host.in_file("users") == host.in_file("others") == expected(OLD)
    assert host.in_file("third") == expected(NEW)


def test_a_rollback_of_an_apply_that_was_some_units_first(tmp_path: Path) -> None:
    """A unit that has no generation before is left as it is, by name."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(OLD, only=["users"])
    host.clock.sleep(60)
    host.apply(NEW, force=True)
    result = host.applier.rollback(None, ME)
    assert (outcomes(result), result.left_alone) == ({"users": "verified"}, {"others": "had no generation before"})
    assert host.in_file("others") == expected(NEW)


def test_generations_of_all_targets_stay_usable(tmp_path: Path) -> None:
    """A generation recorded when all targets were one unit is reinstalled whole, each unit by itself."""
    earlier = ApplyHost(tmp_path, TWO, server="all of them")
    earlier.apply(OLD)
    earlier.database.close()
    host = ApplyHost(tmp_path, TWO)
    host.clock.sleep(60)
    host.apply(NEW, force=True)
    result = host.applier.rollback(1, ME)
    assert outcomes(result) == {"users": "verified", "others": "verified"}
    assert [unit.generation for unit in result.units] == [4, 5]
    assert host.in_file("users") == host.in_file("others") == expected(OLD)


def test_a_hold_of_before_holds_every_unit(tmp_path: Path) -> None:
    """A hold recorded when all targets were one unit holds all of them, with the one before it, until resumed."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(OLD)
    hold = {"actor": "ada", "at": "2026-04-30T12:00:00+00:00", "reason": "rolled back to generation 1", "generation": 2}
    earlier = {**hold, "reason": "rolled back to generation 0", "earlier": None}
    with host.database.begin() as connection:
        value = json.dumps({**hold, "earlier": earlier})
        connection.execute(setting.insert().values(node=NODE, name="apply_hold", value=value))
    result = host.apply(NEW, force=True)
    assert (set(outcomes(result).values()), result.exit_code) == ({"refused"}, 3)
    assert "rolled back to generation 1" in str(result.error)
    assert [one.reason[-1] for one in _holds(host)] == ["0", "1"]
    assert set(outcomes(host.apply(NEW, force=True, resume=True)).values()) == {"verified"}
    assert not _holds(host)


def _holds(host: ApplyHost) -> list[Hold]:
    with host.database.read() as connection:
        return get_holds(connection, NODE)


def test_an_earlier_installation_that_fails_is_its_units_alone(tmp_path: Path) -> None:
    """A file that waited, is disproved and put back makes exit code 4, and the other unit is applied all the same."""
    host = ApplyHost(tmp_path, TWO)
    host.apply(OLD)
    host.servers["unix:two"].down = True
    host.apply(NEW, force=True)
    host.servers["unix:two"].down = False
    host.servers["unix:two"].deaf = True
    result = host.apply(NEWEST, force=True)
    assert (outcomes(result), result.exit_code) == ({"users": "verified", "others": "rolled-back"}, 4)
    host.servers["unix:two"].deaf = False
    assert set(outcomes(host.apply(NEWEST, force=True)).values()) == {"unchanged", "verified"}
    assert not [state for state in states(host) if state.pending]


def test_the_schedule_spares_only_the_unit_that_failed(tmp_path: Path) -> None:
    """A unit that was rolled back is left alone for a while; another with something new is applied meanwhile."""
    host = ApplyHost(tmp_path, TWO, limits=WIDE)
    host.apply(OLD)
    host.servers["unix:two"].deaf = True
    host.apply(NEW, cause="schedule")
    host.clock.sleep(60)
    again = host.apply(NEW, cause="schedule")
    assert (outcomes(again), again.exit_code) == ({"users": "unchanged", "others": "refused"}, 3)
    with host.database.read() as connection:
        assert get_generation(connection, 5) is None
