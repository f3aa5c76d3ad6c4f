"""How plans and applies are shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from redirectd.cli.output import NARROW, diff_text, is_wide, note, say, show_error, table, terminal_width
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    _show_wider(plan)
    for trouble in troubles(plan):
        note(trouble)
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
    for trouble in troubles(result.plan):
        note(trouble)
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
    """One line a target; its kind where the terminal is wide enough, its path for `--wide` alone."""
    counted = ["create", "update", "delete", "unchanged", "refused"]
    what = ["kind", "path"] if is_wide() else ["kind"] if (terminal_width() or NARROW) >= NARROW else []
    columns = ["target", *what, *counted, *(["outcome"] if outcomes else [])]
    rows = []
    for target in plan.targets:
        changes = target.shown_changes
        numbers = [len(changes.create), len(changes.update), len(changes.delete), changes.unchanged]
        outcome = [outcomes.get(target.name, "")] if outcomes else []
        known = [{"kind": target.kind, "path": target.path}[name] for name in what]
        rows.append([target.name, *known, *numbers, len(target.refused), *outcome])
    if rows:
        table(columns, rows, right=counted)


def _show_wider(plan: Plan) -> None:
    for target in plan.targets:
        for number, what in target.also_moves:
            note(f"{target.name}: the entry of remap {number} also moves {printable(what)}")


def troubles(plan: Plan) -> Iterator[str]:
    """Gives all of a plan that is not as it should be, a sentence each."""
    for conflict in plan.conflicts:
        numbers = ", ".join(map(str, conflict.ids))
        yield f"conflict in {printable(conflict.where)}, remaps {numbers}: {printable(conflict.reason)}"
    for cycle in plan.cycles:
        yield f"cycle, whose last approval is not routed: remaps {', '.join(map(str, cycle))}"
    for target in plan.targets:
        yield from _target_troubles(target)
    for breach in plan.limit.breaches:
        yield f"over a limit: {breach}"
    for unit in plan.units:
        if not unit.limit.is_safe:
            yield f"look at it, and if that is what you want: {unit.way_past}"


def _target_troubles(target: TargetPlan) -> Iterator[str]:
    for refusal in target.refused:
        yield f'remap {refusal.id} cannot be written to target "{target.name}": {printable(refusal.reason)}'
    if target.error is not None:
        yield f"{target.name}: {printable(str(target.error))}"
    if target.hand_edit:
        yield f"{target.path}: {printable(target.hand_edit)}"
    for notice in target.notices:
        yield f"{target.name}: {printable(notice)}"
    if target.pending_reload:
        yield f"{target.name}: its server has not taken the file in place yet"
