"""A plan written out: JSON of the contract, Markdown for a change request, and what is not as it should be in words."""

from __future__ import annotations

from collections.abc import Iterator

from redirectd.plan.limits import LimitReport
from redirectd.plan.planning import SHORT_CHECKSUM, Plan, TargetPlan
from redirectd.plan.route import Conflict
from redirectd.sip.text import printable


def to_json(plan: Plan) -> dict[str, object]:
    """Give the document of ``redirectd plan --json``; keys that the contract doesn't name are additions."""
    return {
        "checksum": plan.checksum,
        "targets": [target_json(target) for target in plan.targets],
        "conflicts": [_conflict(conflict) for conflict in plan.conflicts],
        "cycles": [list(cycle) for cycle in plan.cycles],
        "too_deep": list(plan.too_deep),
        "limit": _limit(plan.limit),
        "units": units_json(plan),
    }


def units_json(plan: Plan) -> list[dict[str, object]]:
    """Give what is by unit: its targets, the checksum that `apply --plan` takes, and the limits it is over."""
    return [
        {
            "name": printable(unit.name),
            "targets": [target.name for target in unit.targets],
            "checksum": unit.checksum,
            "changed": unit.changed,
            "limit": _limit(unit.limit),
        }
        for unit in plan.units
    ]


def target_json(target: TargetPlan) -> dict[str, object]:
    """Give one target's part of the document; create, update, delete and unchanged are numbers of entries."""
    return {
        "name": target.name,
        "kind": target.kind,
        "path": target.path,
        "create": len(target.shown_changes.create),
        "update": len(target.shown_changes.update),
        "delete": len(target.shown_changes.delete),
        "unchanged": target.shown_changes.unchanged,
        "diff": target.diff,
        "refused": [{"id": each.id, "reason": printable(each.reason)} for each in target.refused],
        "changed": target.changed,
        "hand_edit": target.hand_edit,
        "pending_reload": target.pending_reload,
        "error": None if target.error is None else printable(str(target.error)),
        "width": target.width or None,
        "notices": [printable(notice) for notice in target.notices],
        "also_moves": [{"id": number, "what": printable(what)} for number, what in target.also_moves],
    }


def to_markdown(plan: Plan) -> str:
    """Give the plan as Markdown; what came from the network is in code fences and spans that it can't close."""
    lines = [f"# Plan {plan.checksum[:SHORT_CHECKSUM]}", "", f"Checksum: `{plan.checksum}`", ""]
    lines += ["| target | kind | create | update | delete | unchanged | refused |", "|---|---|--:|--:|--:|--:|--:|"]
    for target in plan.targets:
        changes = target.shown_changes
        lines.append(
            f"| {_code(target.name)} | {target.kind} | {len(changes.create)} | {len(changes.update)} "
            f"| {len(changes.delete)} | {changes.unchanged} | {len(target.refused)} |"
        )
    lines += _listed("Over the limits", [str(breach) for breach in plan.limit.breaches])
    lines += _listed(
        "Changed by hand", [f"{_code(each.path)}: {each.hand_edit}" for each in plan.targets if each.hand_edit]
    )
    lines += _listed(
        "Conflicts",
        [f"{_code(each.where)} (remaps {_ids(each.ids)}): {_code(each.reason)}" for each in plan.conflicts],
    )
    lines += _listed("Cycles", [_ids(cycle) for cycle in plan.cycles])
    lines += _listed("Chains that are too long", [str(each) for each in plan.too_deep])
    refused = [
        f"{target.name}: remap {each.id}: {_code(each.reason)}" for target in plan.targets for each in target.refused
    ]
    lines += _listed("Refused by a target", refused)
    wider = [
        f"{target.name}: remap {number}: {_code(what)}" for target in plan.targets for number, what in target.also_moves
    ]
    lines += _listed("Also moved by the first new entries", wider)
    notices = [f"{target.name}: {_code(notice)}" for target in plan.targets for notice in target.notices]
    lines += _listed("Seen on the servers", notices)
    for target in plan.targets:
        if target.changed:
            lines += ["", f"## {target.name}", "", *_fenced(target.diff)]
    return "\n".join(lines) + "\n"


def _conflict(conflict: Conflict) -> dict[str, object]:
    return {
        "where": printable(conflict.where),
        "ids": list(conflict.ids),
        "reason": printable(conflict.reason),
    }


def _limit(report: LimitReport) -> dict[str, object] | None:
    if report.is_safe:
        return None
    return {
        "reason": "; ".join(map(str, report.breaches)),
        "breaches": [
            {
                "target": breach.target,
                "change": breach.what,
                "count": breach.count,
                "installed": breach.installed,
                "allowed": breach.allowed,
                "rule": breach.rule,
            }
            for breach in report.breaches
        ],
    }


def _listed(title: str, items: list[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {item}" for item in items)] if items else []


def _ids(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids))


def _code(text: str) -> str:
    """Set a text in a code span that its own backquotes and pipes can't end."""
    return "`" + printable(text, 300).replace("`", "'").replace("|", "/") + "`"


def _fenced(text: str) -> list[str]:
    longest = run = 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}diff", text.rstrip("\n"), fence]


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
