"""How plans and applies are shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from redirectd.cli.output import diff_text, note, say, show_error, table
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.apply.result import ApplyResult
    from redirectd.plan.planning import Plan, TargetPlan

NO_TARGET = "no target is configured: see [[target]] in the configuration, or run 'redirectd init'"


def show_plan(plan: Plan) -> None:
    """The plan: diffs, then one line a target, then all that is not as it should be."""
    for target in plan.targets:
        if target.changed:
            diff_text(target.diff)
            say()
    _show_counts(plan, {})
    _show_troubles(plan)
    if not plan.targets:
        note(NO_TARGET)
    elif not plan.changed and plan.error is None:
        say("nothing to change")
    _show_next(plan)


def _show_next(plan: Plan) -> None:
    """What names the plan, unit by unit where there are several, and what to do with it."""
    changed = [unit for unit in plan.units if unit.changed]
    for unit in changed:
        if len(plan.units) > 1:
            say(f"checksum {unit.checksum} of {printable(unit.name)}: {', '.join(each.name for each in unit.targets)}")
        elif unit.limit.is_safe:
            say(f"checksum {unit.checksum}")
        if unit.limit.is_safe and unit.hand_edited:
            say(f"next: keep what you need of the hand edit elsewhere, then {unit.way_past}")
    if any(unit.limit.is_safe and not unit.hand_edited for unit in changed):
        say("next: redirectd apply")


def show_result(result: ApplyResult) -> None:
    """What came of an apply."""
    _show_counts(result.plan, {name: each.outcome for name, each in result.outcomes.items()})
    _show_troubles(result.plan)
    for name, outcome in result.outcomes.items():
        if outcome.error and outcome.error != str(result.error):
            note(f"{name}: {printable(outcome.error)}")
    for name, why in result.left_alone.items():
        note(f"{name}: left as it is, {why}")
    for name, why in result.lost.items():
        again = "" if name in result.waiting else "; it was loaded again"
        note(f"{name}: the server did not hold the installed file any more ({printable(why)}){again}")
    for name in result.waiting:
        note(f"{name}: its server has not taken the file yet; it is asked again with the next apply")
    numbers = [str(unit.generation) for unit in result.units if unit.generation is not None]
    if numbers:
        say(f"generation{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}")
    elif not result.plan.targets:
        note(NO_TARGET)
    elif result.error is None and not result.lost:
        say("nothing to change")


def end_with_errors(result: ApplyResult) -> None:
    """Say what went wrong in each unit, and end with the exit code of the worst; nothing where all went well."""
    if result.error is not None:
        for error in dict.fromkeys(unit.error for unit in result.units):
            if error is not None:
                show_error(error)
        raise click.exceptions.Exit(result.exit_code)


def is_other_plan(result: ApplyResult) -> bool:
    """Whether `--plan` named another plan, whose table nobody asked for."""
    return result.error is not None and result.error.where == "--plan"


def _show_counts(plan: Plan, outcomes: dict[str, str]) -> None:
    counted = ["create", "update", "delete", "unchanged", "refused"]
    columns = ["target", "kind", "path", *counted, *(["outcome"] if outcomes else [])]
    rows = []
    for target in plan.targets:
        changes = target.shown_changes
        numbers = [len(changes.create), len(changes.update), len(changes.delete), changes.unchanged]
        outcome = [outcomes.get(target.name, "")] if outcomes else []
        rows.append([target.name, target.kind, target.path, *numbers, len(target.refused), *outcome])
    if rows:
        table(columns, rows, right=counted)


def _show_troubles(plan: Plan) -> None:
    for conflict in plan.conflicts:
        numbers = ", ".join(map(str, conflict.ids))
        note(f"conflict in {printable(conflict.where)}, remaps {numbers}: {printable(conflict.reason)}")
    for cycle in plan.cycles:
        note(f"cycle, not routed: remaps {', '.join(map(str, cycle))}")
    for number in plan.too_deep:
        note(f"chain too long, not routed: it begins with remap {number}")
    for target in plan.targets:
        _show_target_troubles(target)
    for breach in plan.limit.breaches:
        note(f"over a limit: {breach}")
    for unit in plan.units:
        if not unit.limit.is_safe:
            note(f"look at it, and if that is what you want: {unit.way_past}")


def _show_target_troubles(target: TargetPlan) -> None:
    for refusal in target.refused:
        note(f"{target.name} can't carry remap {refusal.id}: {printable(refusal.reason)}")
    if target.error is not None:
        note(f"{target.name}: {printable(str(target.error))}")
    if target.hand_edit:
        note(f"{target.path}: {printable(target.hand_edit)}")
    if target.pending_reload:
        note(f"{target.name}: its server has not taken the file in place yet")
