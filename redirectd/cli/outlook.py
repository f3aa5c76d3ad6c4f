"""What the next plan will contain: said after decisions, so that nobody approves blindly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redirectd.errors import RedirectdError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from redirectd.cli.app import App
    from redirectd.config.model import Config
    from redirectd.plan.planning import Plan
    from redirectd.store.remap import Remap

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
    from redirectd.store.uris import stored_uri

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
