"""One entry that a server can't hold is refused by name, and keeps nothing else out of routing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redirectd.apply.culprits import MOST_TRIES
from redirectd.errors import VerifyError
from tests.apply.apply_host import WIDE, ApplyHost, expected, moves, outcomes, table

SHARED = {"users": "unix:one", "others": "unix:one"}


def _without(wanted: dict[str, str], *numbers: int) -> dict[str, str]:
    return expected({old: new for number, (old, new) in enumerate(wanted.items(), 1) if number not in numbers})


def _refused(result: Any, name: str = "users") -> list[int]:
    [target] = [each for each in result.plan.targets if each.name == name]
    return sorted(each.id for each in target.refused)


@pytest.mark.parametrize("fault", ["skips", "chokes"])
def test_an_entry_that_the_server_does_not_hold(tmp_path: Path, fault: str) -> None:
    """Skipped without a word, or a reason to refuse the file: remap is named, the rest is proven; exit code 0."""
    host = ApplyHost(tmp_path, limits=WIDE)
    host.apply(moves(3))
    setattr(host.server, fault, "u7@old")
    result = host.apply(moves(12))
    assert (outcomes(result), result.exit_code, _refused(result)) == ({"users": "verified"}, 0, [8])
    assert host.in_file() == _without(moves(12), 8) == host.server.served("users")
    assert "did not hold it" in result.plan.targets[0].refused[0].reason


def test_what_was_refused_is_not_tried_again_by_itself(tmp_path: Path) -> None:
    """The next plan leaves the remap out with its reason, asks no server; `retry` tries it, and a new target does."""
    host = ApplyHost(tmp_path, limits=WIDE)
    host.server.skips = "u1@old"
    host.apply(moves(3))
    reloads = host.server.reloads
    again = host.apply(moves(3), cause="schedule")
    assert (outcomes(again), again.exit_code, _refused(again)) == ({"users": "unchanged"}, 0, [2])
    assert host.server.reloads == reloads
    assert [each.id for each in host.applier.plan(table(moves(3))).targets[0].refused] == [2]
    host.server.skips = ""
    other = {**moves(3), "sip:u1@old.test": "sip:u1@elsewhere.test"}
    assert (outcomes(host.apply(other)), host.server.served("users")) == ({"users": "verified"}, expected(other))
    assert _refused(host.apply(moves(3))) == [2]
    assert (_refused(host.apply(moves(3), retry=True)), host.server.served("users")) == ([], expected(moves(3)))


@pytest.mark.parametrize("fault", ["skips", "chokes"])
def test_the_only_new_entry(tmp_path: Path, fault: str) -> None:
    """Where nothing else is new, the file before stays in service, and the remap is refused by name."""
    host = ApplyHost(tmp_path, limits=WIDE)
    host.apply(moves(3))
    setattr(host.server, fault, "u3@old")
    result = host.apply(moves(4))
    assert (result.exit_code, _refused(result)) == (0, [4])
    assert host.in_file() == expected(moves(3)) == host.server.served("users")
    assert outcomes(host.apply(moves(4))) == {"users": "unchanged"}


def test_several_entries_are_found(tmp_path: Path) -> None:
    """By the server's own words all at once, by halving one after another."""
    host = ApplyHost(tmp_path, limits=WIDE)
    host.server.skips = "5@old"
    assert _refused(host.apply(moves(30))) == [6, 16, 26]
    assert host.server.served("users") == _without(moves(30), 6, 16, 26)


def test_the_targets_of_one_server_are_searched_together(tmp_path: Path) -> None:
    """A file that one table's server refuses is searched in both tables of that server, and both go in."""
    host = ApplyHost(tmp_path, SHARED, limits=WIDE)
    host.server.chokes = "u2@old"
    result = host.apply(moves(4))
    assert (outcomes(result), result.exit_code) == ({"users": "verified", "others": "verified"}, 0)
    assert (_refused(result), _refused(result, "others")) == ([3], [3])


def test_a_server_that_keeps_its_old_data_blames_no_entry(tmp_path: Path) -> None:
    """A reload that does nothing is not an entry's fault: rolled back, exit code 4, nothing is left out later."""
    host = ApplyHost(tmp_path, limits=WIDE)
    host.apply(moves(3))
    host.server.deaf = True
    for count in (4, 9):
        result = host.apply(moves(count))
        assert (outcomes(result), result.exit_code, _refused(result)) == ({"users": "rolled-back"}, 4, [])
    host.server.deaf = False
    assert host.apply(moves(9)).exit_code == 0
    assert host.server.served("users") == expected(moves(9))


def test_a_server_that_refuses_every_file_blames_no_entry(tmp_path: Path) -> None:
    """Where the old file is refused, too, nothing shows that an entry is at fault: no remap is named."""
    host = ApplyHost(tmp_path, limits=WIDE)
    host.apply(moves(3))
    host.server.chokes = "__gen__"  # every file has it
    failed = host.apply(moves(5))
    assert (failed.exit_code, _refused(failed)) == (4, [])


def test_a_search_is_bounded(tmp_path: Path) -> None:
    """With more bad entries than tries the search ends, says what is still out; what was proven stays."""
    host = ApplyHost(tmp_path, limits=WIDE)
    host.apply(moves(3))
    host.server.chokes = "bad.test"
    bad = {f"sip:b{number}@old.test": f"sip:b{number}@bad.test" for number in range(40)}
    good = {f"sip:g{number}@old.test": f"sip:g{number}@good.test" for number in range(40)}
    before = host.server.reloads
    result = host.apply({**moves(3), **good, **bad})
    assert isinstance(result.error, VerifyError)
    assert result.exit_code == 4
    assert host.server.reloads - before <= 2 * (MOST_TRIES + 2)
    assert expected(good).items() <= host.server.served("users").items()
    assert not any("bad.test" in to for to in host.server.served("users").values())


def test_other_units_do_not_wait_for_a_search(tmp_path: Path) -> None:
    """An entry that one server can't hold is left out there alone."""
    host = ApplyHost(tmp_path, {"users": "unix:one", "others": "unix:two"}, limits=WIDE)
    host.servers["unix:two"].skips = "u1@old"
    result = host.apply(moves(3))
    assert (outcomes(result), _refused(result), _refused(result, "others")) == (
        {"users": "verified", "others": "verified"},
        [],
        [2],
    )
