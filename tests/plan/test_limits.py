"""Changes and the safety limits on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.errors import RefusedError
from redirectd.plan.limits import Changes, LimitReport, Limits, check_limits, diff

_TABLE = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("xyz"))


def _changes(create: int = 0, update: int = 0, delete: int = 0, unchanged: int = 0) -> Changes:
    return Changes(_names("c", create), _names("u", update), _names("d", delete), unchanged)


def _names(kind: str, count: int) -> tuple[str, ...]:
    return tuple(f"{kind}{number}" for number in range(count))


def _over(changes: Changes, limits: Limits | None = None) -> list[str]:
    return [breach.what for breach in check_limits("t", changes, limits or Limits())]


@given(_TABLE, _TABLE)
def test_changes_carry_one_table_into_the_other(installed: dict[str, str], wanted: dict[str, str]) -> None:
    """Deleting, updating and creating just those keys gives the wanted table, and the counts add up."""
    changes = diff(installed, wanted)
    after = {key: value for key, value in installed.items() if key not in changes.delete}
    assert all(installed[key] != wanted[key] for key in changes.update)
    assert not set(changes.create) & installed.keys()
    after |= {key: wanted[key] for key in (*changes.create, *changes.update)}
    assert after == wanted
    assert (changes.installed, changes.wanted) == (len(installed), len(wanted))


@pytest.mark.parametrize(
    ("changes", "over"),
    [
        (_changes(create=500), []),  # from nothing
        (_changes(create=501), ["create"]),
        (_changes(create=20, unchanged=2), []),
        (_changes(create=21, unchanged=2), ["create"]),
        (_changes(create=3, unchanged=2), []),
        (_changes(update=1, unchanged=1), []),  # a person at work on a table of two
        (_changes(delete=1, unchanged=1), []),
        (_changes(delete=2, unchanged=3), ["delete"]),  # 40 percent of five
        (_changes(update=2, unchanged=3), ["update"]),
        (_changes(delete=3, unchanged=7), []),  # just 30 percent
        (_changes(delete=4, unchanged=6), ["delete"]),
        (_changes(create=30, update=30, delete=30, unchanged=40), []),  # each by itself
        (_changes(create=31, update=31, delete=31, unchanged=38), ["create", "update", "delete"]),
        (_changes(delete=501, unchanged=9499), ["delete"]),  # 5 percent, and yet too many
    ],
)
def test_limits_hold_each_kind_of_change_for_small_and_large_tables(changes: Changes, over: list[str]) -> None:
    """Create, update and delete are held by themselves, in percent and in number, also where a table is small."""
    assert _over(changes) == over


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_emptying_a_table_is_always_over(count: int) -> None:
    """An empty result over a non-empty one needs --force even where limits are wide open."""
    assert _over(_changes(delete=count), Limits(max_change_percent=100, max_changes=10_000)) == ["empty"]


def test_percent_zero_still_lets_one_change_through_and_absolute_zero_none() -> None:
    """The percentage alone never blocks a single change; max_changes = 0 blocks all."""
    assert _over(_changes(update=1, delete=1, unchanged=8), Limits(max_change_percent=0)) == []
    assert _over(_changes(update=1, delete=1, unchanged=8), Limits(max_changes=0)) == ["update", "delete"]


def test_refusal_gives_numbers_and_the_way_past() -> None:
    """The refusal ends with exit code 3, names counts, bound and setting, and the exact command past it."""
    report = LimitReport(check_limits("users", _changes(delete=4, unchanged=6), Limits()))
    with pytest.raises(RefusedError) as caught:
        report.raise_if_unsafe(force=False, way_past="redirectd apply --plan abc --force")
    assert caught.value.exit_code == 3
    assert caught.value.why == "users: delete 4 of 10 entries, allowed 3 (max_change_percent = 30)"
    assert caught.value.what_to_do.endswith("redirectd apply --plan abc --force")
    report.raise_if_unsafe(force=True, way_past="")
