"""How plans and applies are shown to people, also as one HTML page, all of it escaped, without script and resources.

After decisions, what the next plan will contain is said, so that nobody approves blindly.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.output import NARROW, diff_text, is_wide, note, say, show_error, table, terminal_width
from redirectd.errors import RedirectdError
from redirectd.plan.report import troubles
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from redirectd.apply.result import ApplyResult
    from redirectd.cli.app import App
    from redirectd.config.model import Config
    from redirectd.plan.planning import Plan, TargetPlan
    from redirectd.store.remap import Remap


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


_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #1d2229; background: #fff }
table { border-collapse: collapse } th, td { padding: .2em .8em; border-bottom: 1px solid #d5dae1; text-align: left }
td.n { text-align: right } pre { padding: .8em; background: #f6f7f9; overflow-x: auto }
.add { color: #116329; background: #e2f6e6 } .del { color: #82071e; background: #ffe5e8 } .at { color: #0550ae }
.warn { color: #7d4e00 }
@media (prefers-color-scheme: dark) {
  body { color: #dfe3e8; background: #14181d } pre { background: #1c2127 } th, td { border-color: #333b45 }
  .add { color: #7ee093; background: #13301b } .del { color: #ff9aa6; background: #3b161c } .at { color: #79b8ff }
  .warn { color: #e8b45a }
}
"""
_CLASSES = {"+": "add", "-": "del", "@": "at"}
_COLUMNS = ("target", "kind", "create", "update", "delete", "unchanged", "refused")


def to_html(plan: Plan, notes: list[str]) -> str:
    """The page; `notes` are what is not as it should be, in words."""
    rows = "".join(_row(target) for target in plan.targets)
    heads = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>redirectd plan</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Plan</h1><p>Checksum: <code>{escape(plan.checksum)}</code></p>",
        f"<table><tr>{heads}</tr>{rows}</table>",
        *(f'<p class="warn">{_safe(note)}</p>' for note in notes),
        *(f"<h2>{_safe(one.name)}</h2><pre>{_diff(one.diff)}</pre>" for one in plan.targets if one.changed),
        "" if plan.changed else "<p>Nothing to change.</p>",
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _row(target: TargetPlan) -> str:
    changes = target.shown_changes
    counts = (len(changes.create), len(changes.update), len(changes.delete), changes.unchanged, len(target.refused))
    numbers = "".join(f'<td class="n">{count:,}</td>' for count in counts)
    return f"<tr><td>{_safe(target.name)}</td><td>{_safe(target.kind)}</td>{numbers}</tr>"


def _diff(text: str) -> str:
    return "\n".join(_line(line) for line in text.splitlines())


def _line(line: str) -> str:
    shown = "\t".join(_safe(part) for part in line.split("\t"))
    name = _CLASSES.get(line[:1])
    return f'<span class="{name}">{shown}</span>' if name else shown


def _safe(text: str) -> str:
    return escape(printable(text))


SHOWN = 5


def next_plan(app: App) -> Plan | RedirectdError:
    """The plan as `redirectd plan` would make it now, or why there can't be one; a decision is kept all the same."""
    from redirectd.service.applying import plan_of

    try:
        return plan_of(app.config, app.database)
    except RedirectdError as error:
        return error


def outlook_lines(plan: Plan | RedirectdError, ids: Collection[int]) -> list[str]:
    """The next plan in a few lines; of what it leaves out, what concerns the remaps `ids`."""
    if isinstance(plan, RedirectdError):
        return [f"no plan can be made now: {printable(str(plan))}", "next: redirectd plan"]
    if not plan.targets:
        return ["the next plan is empty: no target is configured (see [[target]], or 'redirectd init')"]
    lines = []
    for target in plan.targets:
        changes = target.shown_changes
        counts = [(len(changes.create), "new"), (len(changes.update), "changed"), (len(changes.delete), "removed")]
        shown = ", ".join(f"{count} {word}" for count, word in counts if count) or "no change"
        lines.append(f"next plan, {target.name}: {shown}")
    left_out = [
        f'  remap {one.id} cannot be written to target "{target.name}": {printable(one.reason, 200)}'
        for target in plan.targets
        for one in target.refused
        if one.id in ids
    ]
    left_out += [
        f"  conflict of remaps {', '.join(map(str, one.ids))}: {printable(one.reason, 200)}"
        for one in plan.conflicts
        if set(one.ids) & set(ids)
    ]
    lines += left_out[:SHOWN]
    if len(left_out) > SHOWN:
        lines.append(f"  and {len(left_out) - SHOWN} more: redirectd plan")
    if not plan.limit.is_safe:
        lines.append(f"  it is over a safety limit: {'; '.join(map(str, plan.limit.breaches))}")
        lines.append(f"  the next scheduled apply will be refused; if it is what you want: {plan.way_past}")
    return [*lines, "next: redirectd plan, then redirectd apply"]


def wider(app: App, ids: Sequence[int]) -> list[tuple[str, int, str]]:
    """What the targets' entries for the remaps `ids` move besides the old URIs (R41), of the first few of them."""
    from redirectd.store.remaps import of_ids

    with app.database.read() as connection:
        return wider_of(app.config, of_ids(connection, ids[:SHOWN]))


def wider_of(config: Config, found: Sequence[Remap]) -> list[tuple[str, int, str]]:
    """What the targets' entries for remaps move besides the old URIs, each with the target's name and the id."""
    from redirectd.config.specs import target_specs
    from redirectd.plan.target import Answering
    from redirectd.store.remap import stored_uri

    also_moved = []
    for spec in target_specs(config):
        target = spec.target
        if not isinstance(target, Answering):
            continue
        for remap in found:
            asked = remap.incoming[:1] if target.match == "incoming" else (remap.old_uri,)
            whats = [target.also_moves(stored_uri(uri)) for uri in asked] if remap.kind == target.moves else []
            also_moved += [(spec.name, remap.id, what) for what in whats if what]
    return also_moved


def wider_lines(also_moved: Sequence[tuple[str, int, str]]) -> list[str]:
    """The same as lines."""
    return [f"{name}: the entry of remap {number} also moves {printable(what)}" for name, number, what in also_moved]


def outlook_json(plan: Plan | RedirectdError) -> dict[str, Any]:
    """The same for programs: counts by target, and whether a limit would stop it."""
    if isinstance(plan, RedirectdError):
        return {"error": printable(str(plan)), "targets": [], "limit": None}
    return {
        "error": None,
        "targets": [
            {
                "name": target.name,
                "create": len(target.shown_changes.create),
                "update": len(target.shown_changes.update),
                "delete": len(target.shown_changes.delete),
                "unchanged": target.shown_changes.unchanged,
                "refused": [{"id": one.id, "reason": printable(one.reason)} for one in target.refused],
            }
            for target in plan.targets
        ],
        "limit": None if plan.limit.is_safe else "; ".join(map(str, plan.limit.breaches)),
    }
