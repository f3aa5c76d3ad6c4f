"""What came of an apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from redirectd.errors import InstallError, RedirectdError, RefusedError, VerifyError
from redirectd.plan.planning import Plan
from redirectd.plan.report import target_json, to_json, units_json
from redirectd.sip.text import printable

OutcomeName = Literal["unchanged", "installed", "verified", "rolled-back", "refused"]

_WORST_FIRST: tuple[tuple[int, type[RedirectdError]], ...] = ((4, VerifyError), (1, InstallError), (3, RefusedError))


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    """One target's part: `installed` is in place and parsed back but not proven by a server."""

    outcome: OutcomeName
    error: str | None = None


@dataclass(frozen=True, slots=True)
class EntryDoubts:
    """What a unit that was rolled back failed by, where its server took the old files again.

    `entries` are those that it did not give when asked, by target and key, all else being as it should be; `files` are
    those that it refused to read, by target. Each with what it answered.
    """

    entries: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """An apply that got as far as a plan; the whole one has its `units`, whose results these are together.

    `generation` is its number (of several units, the last), or None where nothing was changed. `error` is what the
    command shall end with; its `exit_code` is that of the process. `waiting` are targets whose server hasn't taken the
    file yet. `left_alone` are targets that a rollback has nothing for, and why. `lost` are targets whose file had not
    changed and whose server did not hold it any more, with what it answered; their outcome says if it holds it again.
    """

    plan: Plan
    outcomes: Mapping[str, TargetOutcome]
    generation: int | None = None
    error: RedirectdError | None = None
    waiting: tuple[str, ...] = ()
    left_alone: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)
    units: tuple[ApplyResult, ...] = ()
    doubts: EntryDoubts = field(default_factory=EntryDoubts)

    @property
    def exit_code(self) -> int:
        """The exit code of the command: of several units 4 over 1 over 3."""
        return 0 if self.error is None else self.error.exit_code


def joined(plan: Plan, units: Sequence[ApplyResult], left_alone: Mapping[str, str] | None = None) -> ApplyResult:
    """Give the result of an apply of several units."""
    outcomes = {name: outcome for unit in units for name, outcome in unit.outcomes.items()}
    targets = {target.name: target for unit in units for target in unit.plan.targets}
    planned = tuple(targets[target.name] for target in plan.targets)
    return ApplyResult(
        replace(plan, targets=planned, units=tuple(unit.plan for unit in units)),
        {target.name: outcomes[target.name] for target in plan.targets},
        generation=max((unit.generation for unit in units if unit.generation is not None), default=None),
        error=_joined_error([unit.error for unit in units if unit.error is not None]),
        waiting=tuple(name for unit in units for name in unit.waiting),
        left_alone=left_alone or {},
        lost={name: why for unit in units for name, why in unit.lost.items()},
        units=tuple(units),
    )


def refused(plan: Plan, error: RedirectdError) -> ApplyResult:
    """What an apply of a whole plan comes to that `error` forbids: nothing is changed."""
    return joined(plan, [refused_unit(unit, error) for unit in plan.units])


def refused_unit(plan: Plan, error: RedirectdError, name: OutcomeName = "refused") -> ApplyResult:
    """What an apply of a unit comes to that `error` forbids: nothing more is changed.

    An earlier installation that was put back only now is `rolled-back`.
    """
    name = "rolled-back" if isinstance(error, VerifyError) else name
    outcomes = {
        target.name: TargetOutcome(name, str(target.error or error))
        if target.changed or target.error is not None
        else TargetOutcome("unchanged")
        for target in plan.targets
    }
    return ApplyResult(plan, outcomes, error=error)


def repaired(result: ApplyResult, lost: Mapping[str, str]) -> ApplyResult:
    """Say of the targets in `lost` that were reloaded with their unchanged file that their server proved it."""
    proven = {name: TargetOutcome("verified") for name in lost if name not in result.waiting}
    return replace(result, outcomes=dict(result.outcomes) | proven, lost=lost)


def result_json(result: ApplyResult) -> dict[str, object]:
    """Give the document of ``redirectd apply --json``."""
    document = to_json(result.plan)
    document["targets"] = [
        target_json(target)
        | {"outcome": result.outcomes[target.name].outcome, "error": result.outcomes[target.name].error}
        for target in result.plan.targets
    ]
    document["generation"] = result.generation
    document["waiting"] = list(result.waiting)
    document["left_alone"] = dict(result.left_alone)
    document["lost"] = {name: printable(why) for name, why in result.lost.items()}
    document["error"] = _error_json(result.error)
    parts = {unit.plan.name: unit for unit in result.units}
    document["units"] = [
        {**unit, "generation": parts[name].generation, "error": _error_json(parts[name].error)}
        for unit in units_json(result.plan)
        if (name := str(unit["name"])) in parts
    ]
    return document


def _error_json(error: RedirectdError | None) -> str | None:
    return None if error is None else printable(str(error))


def _joined_error(errors: Sequence[RedirectdError]) -> RedirectdError | None:
    """Give the worst of several units' errors, with what happened in the others."""
    errors = list(dict.fromkeys(errors))
    if len(errors) < 2:
        return next(iter(errors), None)
    code, kind = next(one for one in _WORST_FIRST if any(error.exit_code == one[0] for error in errors))
    first = next(error for error in errors if error.exit_code == code)
    others = "; ".join(str(error) for error in errors if error is not first)
    return kind(first.where, f"{first.why}; {others}", first.what_to_do)
