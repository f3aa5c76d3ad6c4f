"""A plan: what an apply would change, target by target, worked out from values alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from types import MappingProxyType

from redirectd.errors import InstallError, RefusedError
from redirectd.plan.limits import Changes, LimitReport, Limits, check_limits, diff
from redirectd.plan.route import Conflict, EffectiveTable, Route
from redirectd.plan.splicing import Splice
from redirectd.plan.target import (
    NOTHING,
    Answering,
    Keeping,
    Rebased,
    Refusal,
    Rendered,
    Target,
    TargetError,
    reads_no_file,
    token_of,
)
from redirectd.plan.target_spec import ApplyUnit, Installed, TargetSpec, units_of, written_twice
from redirectd.plan.textdiff import unified_diff
from redirectd.sip.text import printable

NOTHING_LEFT_OUT: Mapping[str, Mapping[int, str]] = MappingProxyType({})
"""No remap that a target shall be without."""

SHORT_CHECKSUM = 12
"""Hex digits by which a person may name a plan; a change that nobody saw fits them by a chance of 1 in 10^14."""


MOST_NAMED = 5
"""Remaps of a target of which a plan says what else they move."""


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What would change in one target's file.

    `installed` is the file's bytes now (None: no file) and `rendered` what it shall be. `hand_edit` says
    why the file isn't what redirectd left there; None where it is. `blank` is the file without any move, which a first
    installation that fails leaves behind: a server that needs the file to start must not lose it. `over_base` are the
    changes beside that file without any move, for one that is not there yet. `error` says why nothing can be planned
    for this target; it stays as it is then.
    """

    name: str
    kind: str
    path: str
    installed: bytes | None
    rendered: Rendered
    changes: Changes
    hand_edit: str | None = None
    pending_reload: bool = False
    blank: bytes | None = None
    width: str = ""
    also_moves: tuple[tuple[int, str], ...] = ()
    """The first few remaps that come in, each with what its entry moves besides its old URI (R41)."""
    over_base: Changes | None = None
    notices: tuple[str, ...] = ()
    """What the server's state means for it, where that was asked."""
    error: InstallError | None = None
    standing: str = ""
    """The token of the file that is in place, where the new one was made of it (`redirectd.plan.splicing`)."""

    @property
    def shown_changes(self) -> Changes:
        """What a person is shown: in a file that is not there yet, lines of the base list are not new."""
        return self.over_base or self.changes

    @property
    def changed(self) -> bool:
        """Say if the file's bytes would change."""
        return self.error is None and self.installed != self.rendered.content

    @property
    def diff(self) -> str:
        """The unified diff, worked out when asked for: an apply doesn't need it."""
        return unified_diff(self.installed, self.rendered.content, self.path)

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """Routes that this target can't carry."""
        return self.rendered.refused


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole plan, or one unit's part of it, which has its `name` and no `units` of its own.

    `checksum` names what is wanted and what is there, so that only what was seen is applied.
    """

    checksum: str
    targets: tuple[TargetPlan, ...]
    conflicts: tuple[Conflict, ...]
    cycles: tuple[tuple[int, ...], ...]
    too_deep: tuple[int, ...]
    limit: LimitReport
    name: str = ""
    units: tuple[Plan, ...] = ()

    @property
    def changed(self) -> bool:
        """Say if any file would change."""
        return any(target.changed for target in self.targets)

    @property
    def error(self) -> InstallError | None:
        """Why nothing can be planned for a target, the first of them."""
        return next((target.error for target in self.targets if target.error is not None), None)

    @property
    def hand_edited(self) -> bool:
        """Say if an apply would overwrite what a person wrote."""
        return any(target.hand_edit and target.changed for target in self.targets)

    @property
    def way_past(self) -> str:
        """The command that applies exactly this plan past the limits."""
        return f"redirectd apply --plan {self.checksum} --force"

    def raise_if_hand_edited(self, *, force: bool, way_past: str) -> None:
        """Stop an apply that would overwrite what a person wrote.

        Raises:
            RefusedError: a file that would change isn't what redirectd installed, unless `force`.
        """
        edited = [target for target in self.targets if target.hand_edit and target.changed]
        if not edited or force:
            return
        raise RefusedError(
            ", ".join(target.path for target in edited),
            "; ".join(f"{target.name}: {target.hand_edit}" for target in edited),
            "see the difference with `redirectd plan`, keep what you need of it in the base file or elsewhere, "
            f"then: {way_past}",
        )


def make_plan(
    table: EffectiveTable,
    specs: Sequence[TargetSpec],
    installed: Mapping[str, Installed],
    limits: Limits,
    left_out: Mapping[str, Mapping[int, str]] = NOTHING_LEFT_OUT,
    splices: Mapping[str, Splice] | None = None,
) -> Plan:
    """Work out what each target's file shall be, and how that differs from what is there.

    `installed` is by target name; a name that is missing has no file. `left_out` are remaps that a target shall be
    without, each with the reason. Targets in `splices` are planned by those, and `table` has the routes that they are
    of; the plan is the same. The same values give the same bytes and the same checksum, whatever the order of
    remaps was. A target whose base file is not what it reads, or can't be read, has the `error`.
    """
    targets = {}
    twice = written_twice(specs)
    for spec in specs:
        there = installed.get(spec.name, Installed())
        try:
            if there.fault is not None:
                raise there.fault
            if spec.name in twice:
                raise _second(spec, *twice[spec.name])
            short = (splices or {}).get(spec.name)
            if short is None:
                plan = _plan_target(spec, there, _render(table, spec, there, left_out.get(spec.name, {})))
            else:
                plan = _spliced(spec, there, short)
            targets[spec.name] = replace(plan, also_moves=_also_moves(spec.target, table.routes, plan))
        except InstallError as error:
            targets[spec.name] = _unplanned(spec, there, error)
    units = [_unit_plan(unit, [targets[spec.name] for spec in unit.specs], table, limits) for unit in units_of(specs)]
    return _joined(list(targets.values()), units, table)


def plan_contents(
    specs: Sequence[TargetSpec], installed: Mapping[str, Installed], contents: Mapping[str, bytes]
) -> Plan:
    """Plan to install given files, those of an earlier generation; no limit applies to what was installed before.

    Targets without a content are left out. A content that its target can't read any more is planned as
    it is: the check before the installation refuses it.
    """
    targets = {}
    for spec in specs:
        if spec.name in contents:
            there, content = installed.get(spec.name, Installed()), contents[spec.name]
            if isinstance(spec.target, Rebased):
                content = spec.target.rebased(content, there.base)
            entries, _ = understood(spec.target, content)
            rendered = Rendered(content, entries, token=token_of(entries))
            fault = there.fault
            targets[spec.name] = _unplanned(spec, there, fault) if fault else _plan_target(spec, there, rendered)
    nothing = EffectiveTable(())
    units = [
        _unit_plan(unit, [targets[spec.name] for spec in unit.specs], nothing, None)
        for unit in units_of([spec for spec in specs if spec.name in targets])
    ]
    return _joined(list(targets.values()), units, nothing)


def part_of(plan: Plan, names: Collection[str]) -> Plan:
    """Give the part of a whole plan that is of the units with these names."""
    units = [unit for unit in plan.units if unit.name in names]
    kept = {target.name for unit in units for target in unit.targets}
    placed = _placed(plan.targets)
    shared = EffectiveTable(
        (), tuple(each for each in plan.conflicts if each not in placed), plan.cycles, plan.too_deep
    )
    return _joined([target for target in plan.targets if target.name in kept], units, shared)


def digest(content: bytes | None) -> str:
    """Give the hash that a file's content is known by, hexadecimal SHA-256; empty for no file."""
    return "" if content is None else sha256(content).hexdigest()


def understood(
    target: Target, content: bytes | None, like: Mapping[str, str] = NOTHING
) -> tuple[Mapping[str, str], str | None]:
    """Give the entries of a file that may be anything, and why it couldn't be read (then there are none).

    `like` are entries that it likely has, as `Target.parse` takes them.
    """
    if content is None:
        return {}, None
    try:
        return target.parse(content, like), None
    except TargetError as error:
        return {}, printable(str(error), 300)


def _unit_plan(unit: ApplyUnit, targets: Sequence[TargetPlan], table: EffectiveTable, limits: Limits | None) -> Plan:
    """Plan one unit; without `limits` none hold."""
    breaches = [
        breach
        for target in targets
        if target.changed and limits is not None
        for breach in check_limits(target.name, target.changes, limits)
    ]
    return Plan(
        checksum=_checksum(targets),
        targets=tuple(targets),
        conflicts=(*table.conflicts, *_placed(targets)),
        cycles=table.cycles,
        too_deep=table.too_deep,
        limit=LimitReport(tuple(breaches)),
        name=unit.name,
    )


def _joined(targets: Sequence[TargetPlan], units: Sequence[Plan], table: EffectiveTable) -> Plan:
    """Give the whole plan; that of a single unit has the same checksum as its unit."""
    sums = [unit.checksum for unit in units]
    return Plan(
        checksum=sums[0] if len(sums) == 1 else sha256("".join(sums).encode()).hexdigest(),
        targets=tuple(targets),
        conflicts=(*table.conflicts, *_placed(targets)),
        cycles=table.cycles,
        too_deep=table.too_deep,
        limit=LimitReport(tuple(breach for unit in units for breach in unit.limit.breaches)),
        units=tuple(units),
    )


def render_over(spec: TargetSpec, routes: Sequence[Route], there: Installed) -> Rendered:
    """Render a target's file over what is there; raises TargetError where its base file is not what it reads."""
    if isinstance(spec.target, Keeping):
        return spec.target.render_over(routes, there.base, there.content)
    return spec.target.render(routes, there.base)


def _also_moves(target: Target, routes: Sequence[Route], plan: TargetPlan) -> tuple[tuple[int, str], ...]:
    if not isinstance(target, Answering) or not (new := (*plan.changes.create, *plan.changes.update)):
        return ()
    refused = {refusal.id for refusal in plan.refused} | {i for one in plan.rendered.conflicts for i in one.ids}
    found = (
        (route.id, what)
        for route in target.brought(routes, new)
        if route.id not in refused
        for uri in (route.incoming if target.match == "incoming" else (route.old,))[:1]
        if (what := target.also_moves(uri))
    )
    return tuple(islice(found, MOST_NAMED))


def _render(table: EffectiveTable, spec: TargetSpec, there: Installed, left_out: Mapping[int, str]) -> Rendered:
    routes = [route for route in table.routes if route.id not in left_out] if left_out else table.routes
    try:
        rendered = render_over(spec, routes, there)
    except TargetError as error:
        where = spec.base or spec.path
        raise InstallError(where, printable(str(error), 300), "fix the base file and plan again") from error
    if not left_out:
        return rendered
    present = sorted(left_out.keys() & {route.id for route in table.routes})
    return replace(rendered, refused=(*rendered.refused, *(Refusal(number, left_out[number]) for number in present)))


def _second(spec: TargetSpec, other: str, key: str, place: str) -> InstallError:
    """Refuse a target whose entries its server would mix with another target's."""
    return InstallError(
        f"target {spec.name}, {key}",
        f"the target {other} writes {place}, too, on the same server",
        f"give it a {key} of its own, and a lookup for that: redirectd snippet",
    )


def _unplanned(spec: TargetSpec, there: Installed, error: InstallError) -> TargetPlan:
    rendered = Rendered(there.content or b"", {})
    return TargetPlan(
        spec.name,
        spec.kind,
        spec.path,
        there.content,
        rendered,
        diff({}, {}),
        pending_reload=there.pending_reload,
        error=error,
    )


def _plan_target(spec: TargetSpec, there: Installed, rendered: Rendered) -> TargetPlan:
    entries, fault = rendered.entries, None
    if there.content != rendered.content:
        entries, fault = understood(spec.target, there.content, rendered.entries)
    blank = _blank(spec, there)
    return TargetPlan(
        name=spec.name,
        kind=spec.kind,
        path=spec.path,
        installed=there.content,
        rendered=rendered,
        changes=diff(entries, rendered.entries),
        width=spec.target.width if isinstance(spec.target, Answering) else "",
        hand_edit=_hand_edit(there, entries, fault),
        pending_reload=there.pending_reload,
        blank=blank,
        over_base=None if blank is None else diff(understood(spec.target, blank)[0], rendered.entries),
    )


def _spliced(spec: TargetSpec, there: Installed, short: Splice) -> TargetPlan:
    return TargetPlan(
        name=spec.name,
        kind=spec.kind,
        path=spec.path,
        installed=there.content,
        rendered=short.rendered,
        changes=short.changes,
        width=spec.target.width if isinstance(spec.target, Answering) else "",
        standing=short.standing,
    )


def _blank(spec: TargetSpec, there: Installed) -> bytes | None:
    if there.content is not None or reads_no_file(spec.target):
        return None
    try:
        return spec.target.render((), there.base).content
    except TargetError:
        return None  # an earlier generation of a base that is gone or faulty by now


def _hand_edit(there: Installed, entries: Mapping[str, str], fault: str | None) -> str | None:
    """Say why a file isn't ours to overwrite.

    A file that redirectd never wrote may be overwritten only if nothing is lost by it: it is the base
    file itself, or has no entries.
    """
    if there.content is None or digest(there.content) == there.last_sha256:
        return None
    if there.last_sha256:
        return "changed by hand since redirectd installed it" + (f" ({fault})" if fault else "")
    if not there.content.strip() or there.content == there.base or (fault is None and not entries):
        return None
    return "was there before redirectd and holds entries that are not in its base file"


def _placed(targets: Iterable[TargetPlan]) -> list[Conflict]:
    return [
        Conflict(f"{target.name}: {each.where}", each.ids, each.reason)
        for target in targets
        for each in target.rendered.conflicts
    ]


def _checksum(targets: Sequence[TargetPlan]) -> str:
    total = sha256()
    for target in targets:
        for part in (
            target.name,
            target.kind,
            target.path,
            digest(target.installed),
            digest(target.rendered.content),
        ):
            raw = part.encode("utf-8", "surrogateescape")
            total.update(len(raw).to_bytes(8) + raw)
    return total.hexdigest()
