"""The plan as of now, from what is approved, what is in place and what the journal knows; asks no server."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from redirectd.apply.install import Installer
from redirectd.errors import InstallError, UsageError
from redirectd.plan.limits import Limits
from redirectd.plan.planning import Plan, digest, make_plan
from redirectd.plan.route import EffectiveTable
from redirectd.plan.target_spec import Installed, TargetSpec
from redirectd.store.settings import Refused
from redirectd.store.target_states import TargetState
from redirectd.targets.sqltable import InDatabase


def current_plan(
    table: EffectiveTable,
    specs: Sequence[TargetSpec],
    states: Mapping[str, TargetState],
    installer: Installer,
    limits: Limits,
    refused: Refused,
) -> Plan:
    """Work out what an apply of these targets would change now. Changes nothing and takes no lock.

    `refused` is what the servers were found not to hold.
    """
    return make_plan(table, specs, read_installed(specs, states, installer), limits, still_refused(table, refused))


def still_refused(table: EffectiveTable, refused: Refused) -> dict[str, dict[int, str]]:
    """Give what a server does not hold and is still approved for the same place, with the reasons."""
    numbers = {number for entries in refused.values() for number in entries}
    new = {route.id: str(route.new) for route in table.routes if route.id in numbers} if numbers else {}
    return {
        target: {number: one.reason for number, one in entries.items() if new.get(number) == one.new}
        for target, entries in refused.items()
    }


def chosen(specs: Sequence[TargetSpec], only: Collection[str] | None) -> list[TargetSpec]:
    """Give the targets named `only`, all for None; raises UsageError for an unknown name."""
    if only is None:
        return list(specs)
    unknown = sorted(set(only) - {spec.name for spec in specs})
    if unknown:
        names = ", ".join(spec.name for spec in specs)
        raise UsageError("--target", f"no target is named {', '.join(unknown)}", f"use one of: {names}")
    return [spec for spec in specs if spec.name in only]


def read_installed(
    specs: Sequence[TargetSpec], states: Mapping[str, TargetState], installer: Installer
) -> dict[str, Installed]:
    """Read what is in place, by target; a file that can't be read is the `fault` of its target alone."""
    found = {}
    for spec in specs:
        state = states.get(spec.name)
        last = state.sha256 if state else None
        pending = bool(state and state.pending)
        try:
            content = installer.read(spec.path)
            base = None if spec.base is None else installer.read(spec.base)
            if spec.database is not None and content is not None and content.count(b"\n") == 1:
                last = None  # a table without rows is like a file that is not there: nothing in it can be lost
            own = spec.target if spec.database is not None and isinstance(spec.target, InDatabase) else None
            if own is not None and content is not None and digest(content) != last and own.is_own(content):
                last = digest(content)  # another node's redirectd wrote it, or the operator changed rows of his own
            found[spec.name] = Installed(content, base, last, pending)
        except InstallError as error:
            found[spec.name] = Installed(None, None, last, pending, error)
    return found
