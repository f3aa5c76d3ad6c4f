"""How plans and applies are shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redirectd.cli.output import diff_text, note, say, table
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.apply.result import ApplyResult
    from redirectd.plan.planning import Plan

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
    elif not plan.changed:
        say("nothing to change")
    elif plan.limit.is_safe:
        say(f"checksum {plan.checksum}")
        if plan.hand_edited:
            say(f"next: keep what you need of the hand edit elsewhere, then {plan.way_past}")
        else:
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
    if result.generation is not None:
        say(f"generation {result.generation}")
    elif not result.plan.targets:
        note(NO_TARGET)
    elif result.error is None and not result.lost:
        say("nothing to change")


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
        for refusal in target.refused:
            note(f"{target.name} can't carry remap {refusal.id}: {printable(refusal.reason)}")
        if target.hand_edit:
            note(f"{target.path}: {printable(target.hand_edit)}")
        if target.pending_reload:
            note(f"{target.name}: its server has not taken the file in place yet")
    for breach in plan.limit.breaches:
        note(f"over a limit: {breach}")
    if not plan.limit.is_safe:
        note(f"look at it, and if that is what you want: {plan.way_past}")
