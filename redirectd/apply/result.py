"""What came of an apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from redirectd.errors import RedirectdError
from redirectd.plan.planning import Plan
from redirectd.plan.report import target_json, to_json
from redirectd.sip.text import printable

OutcomeName = Literal["unchanged", "installed", "verified", "rolled-back", "refused"]


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    """One target's part: `installed` is in place and parsed back but not proven by a server."""

    outcome: OutcomeName
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """An apply that got as far as a plan.

    `generation` is its number, or None where nothing was changed. `error` is what the command shall end with; its
    `exit_code` is that of the process. `waiting` are targets whose server hasn't taken the file yet. `left_alone` are
    targets that a rollback has nothing for, and why. `lost` are targets whose file had not changed and whose server did
    not hold it any more, with what it answered; their outcome says if it holds it again.
    """

    plan: Plan
    outcomes: Mapping[str, TargetOutcome]
    generation: int | None = None
    error: RedirectdError | None = None
    waiting: tuple[str, ...] = ()
    left_alone: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return 0 if self.error is None else self.error.exit_code


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
    document["error"] = None if result.error is None else printable(str(result.error))
    return document
