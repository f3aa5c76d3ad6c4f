"""Apply and rollback as commands and the daemon call them: under the lock, unit by unit, with all that can refuse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path

from redirectd.apply.culprits import CulpritSearch, LeftOut
from redirectd.apply.current_plan import chosen, current_plan, read_installed, still_refused
from redirectd.apply.files import Files
from redirectd.apply.install import Installer
from redirectd.apply.journal import ApplyJournal
from redirectd.apply.lock import apply_lock
from redirectd.apply.recovery import Recovery
from redirectd.apply.repair import Repair
from redirectd.apply.result import ApplyResult, joined, refused, refused_unit, repaired
from redirectd.apply.servers import OpenChannel, Servers
from redirectd.apply.short_way import AppliedNote, ShortPlan, Since, short_plan
from redirectd.apply.transaction import Cause, Order, Transaction
from redirectd.errors import InstallError, RedirectdError, RefusedError, UsageError, VerifyError
from redirectd.plan.limits import Limits
from redirectd.plan.planning import SHORT_CHECKSUM, Plan, make_plan, part_of, plan_contents
from redirectd.plan.route import EffectiveTable
from redirectd.plan.target import Conditional
from redirectd.plan.target_spec import ApplyUnit, Installed, TargetSpec, units_of
from redirectd.store.database import Database
from redirectd.store.generations import GenerationOutcome
from redirectd.store.settings import Hold, RefusedEntry

_FIRST_PAUSE = timedelta(minutes=5)
_LAST_PAUSE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Tools:
    """What apply reaches the world with; `clock` gives aware times, `monotonic` and `sleep` are in seconds.

    `installer` is for targets that are not all files.
    """

    open_channel: OpenChannel
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    files: Files
    installer: Installer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRequest:
    """Who asks for what.

    `actor` is the person or service, `cause` what history shows; `force` goes past limits and hand edits;
    `checksums` are of the only plans to apply, of the whole or of units (their first 12 digits will do); `only` names
    targets, None for all; `resume` ends a hold; `verify` asks the servers for every entry, not just for the sentinel
    and number of entries; `retry` tries again what a server was found not to hold; `wait` is how long another apply is
    waited for, in seconds.
    """

    actor: str
    cause: Cause = "apply"
    force: bool = False
    checksums: Collection[str] = ()
    only: Collection[str] | None = None
    resume: bool = False
    verify: bool = False
    retry: bool = False
    wait: float = 30.0


@dataclass(frozen=True, slots=True)
class _Begun:
    """An apply under its lock: since when; by target what still waits for a server, and what failed of earlier work."""

    at: datetime
    waiting: Mapping[str, str]
    faults: Mapping[str, RedirectdError]

    def fault(self, unit: ApplyUnit) -> RedirectdError | None:
        """Give why a unit is not to be touched now."""
        return next((self.faults[spec.name] for spec in unit.specs if spec.name in self.faults), None)


class Applier:
    """Applies on one node. Keep one for the daemon's life: it spaces the reloads of each server."""

    def __init__(
        self,
        database: Database,
        node: str,
        specs: Sequence[TargetSpec],
        limits: Limits,
        lock_path: Path,
        tools: Tools,
        since: Since = lambda _: None,
    ) -> None:
        """`since` gives what was decided since a file was made, by which the next one is planned where that can be."""
        self._since = since
        self._specs = tuple(specs)
        self._limits = limits
        self._lock_path = lock_path
        self._tools = tools
        self._journal = ApplyJournal(database, node)
        self._installer = tools.installer or Installer(tools.files)
        self._servers = servers = Servers(tools.open_channel, tools.sleep, tools.monotonic)
        self._transaction = Transaction(self._journal, self._installer, servers, tools.clock)
        self._repair = Repair(self._journal, self._installer, servers, tools.clock)
        self._note = AppliedNote(self._journal, self._specs, tools.clock)
        self._recovery = Recovery(self._specs, self._journal, self._installer, servers, tools.clock)

    def plan(self, table: EffectiveTable, only: Collection[str] | None = None) -> Plan:
        """Work out what an apply would change now; raises UsageError where `only` names an unknown target."""
        specs, refused = chosen(self._specs, only), self._journal.refused_entries()
        return current_plan(table, specs, self._journal.states(), self._installer, self._limits, refused)

    def apply(self, read_table: Callable[[], EffectiveTable], request: ApplyRequest) -> ApplyResult:
        """Finish what an earlier run left, put back what a server has lost, then install what is approved now.

        `read_table` is called under the lock. Each unit goes its own way: what happened to it is in its part of the
        result, its `error` included.

        Raises:
            RefusedError: another apply is at work. UsageError: `only` names an unknown target.
        """
        specs = chosen(self._specs, request.only)
        with self._locked(request):
            begun = self._begin(due_only=request.cause == "schedule")
            if request.resume:
                self._journal.clear_holds([spec.name for spec in specs], request.actor, begun.at)
            if request.retry:
                self._journal.forget_refused([spec.name for spec in specs])
            if request.verify:
                self._installer.read_anew()
            short = None if request.verify else self._short_plan(specs)
            read = cache(read_table)  # where the short way does not lead
            plan = self.plan(read(), request.only) if short is None else short.plan
            named = _named(plan, request.checksums)
            if named is None:
                return refused(plan, _another_plan(plan))
            plan = named
            units = {unit.name: unit for unit in units_of(specs)}
            parts = [self._apply_unit(units[part.name], part, read, begun, request) for part in plan.units]
            whole = request.only is None and len(parts) == len(units)
            if short is None:
                self._note.of_all(parts, read(), whole=whole)
            else:
                self._note.of_recent(parts, short, whole=whole)
            return joined(plan, parts)

    def rollback(self, number: int | None, request: ApplyRequest) -> ApplyResult:
        """Reinstall the files of a generation, and hold later applies of its unit until resumed.

        For None each unit that the last apply has changed returns to its files before that.

        Raises:
            RefusedError: another apply is at work. UsageError: no such generation exists, or no target of it is
            configured any more.
        """
        with self._locked(request):
            begun = self._begin(due_only=False)
            names = self._journal.targets_of(number)
            units = [unit for unit in units_of(self._specs) if not unit.targets.isdisjoint(names)]
            left = dict.fromkeys(sorted(set(names) - {spec.name for spec in self._specs}), "not configured any more")
            if not units:
                raise UsageError(
                    "rollback",
                    f"no target of generation {number} is configured any more; it had {', '.join(names)}",
                    "configure such a target again, or choose a later generation from `redirectd history`",
                )
            parts = []
            for unit in units:
                found = self._journal.contents_of(number, unit.targets)
                before, contents = found or (0, {})
                gone = "had no generation before" if number is None else f"had no file by generation {before}"
                left |= dict.fromkeys(sorted(unit.targets - contents.keys()), gone)
                if contents:
                    parts.append(self._roll_back_unit(unit, before, contents, begun, request))
            if not parts:
                raise UsageError(
                    "rollback",
                    "there is no generation before the last one",
                    "see `redirectd history` for those that can be reinstalled",
                )
            return joined(_whole(parts), parts, left)

    def finish(self, request: ApplyRequest) -> Mapping[str, str]:
        """Retry only what waits for its server and is due, or was killed; give what still waits, with why.

        Raises:
            RefusedError: another apply is at work. VerifyError: a file did not prove itself and was put back.
        """
        if not any(state.pending for state in self._journal.states().values()):
            return {}
        with self._locked(request):
            begun = self._begin(due_only=True)
        for error in begun.faults.values():
            raise error
        return begun.waiting

    def _locked(self, request: ApplyRequest) -> AbstractContextManager[None]:
        return apply_lock(
            self._lock_path,
            f"{request.cause} by {request.actor}",
            wait=request.wait,
            sleep=self._tools.sleep,
            monotonic=self._tools.monotonic,
        )

    def _begin(self, *, due_only: bool) -> _Begun:
        """Finish what earlier runs left, unit by unit, so that a plan is made of files at rest."""
        if not due_only:
            self._recovery.let_go()
        waiting: dict[str, str] = {}
        faults: dict[str, RedirectdError] = {}
        for unit in units_of(self._specs):
            try:
                waiting |= self._recovery.finish(unit.targets, due_only=due_only)
            except (VerifyError, InstallError) as error:
                faults |= dict.fromkeys(unit.targets, error)
        return _Begun(self._tools.clock(), waiting, faults)

    def _apply_unit(
        self,
        unit: ApplyUnit,
        plan: Plan,
        read_table: Callable[[], EffectiveTable],
        begun: _Begun,
        request: ApplyRequest,
    ) -> ApplyResult:
        refusal = begun.fault(unit) or self._held(unit) or plan.error or self._failed_lately(plan, request)
        refusal = refusal or _refusal(plan, request) or self._unfit(unit)
        if refusal is not None:
            return refused_unit(plan, refusal)
        order = Order(request.actor, request.cause, begun.at, forced_past=_forced_past(plan, request))
        waiting = begun.waiting
        try:
            lost = self._repair.find(plan, unit.specs, every=request.verify)
            if lost:
                waiting = self._recovery.finish(unit.targets, due_only=True)
        except (VerifyError, InstallError) as error:
            return refused_unit(plan, error)
        result = self._run(plan, unit.specs, order, waiting)
        if result.doubts.entries or result.doubts.files:
            result = self._without_culprits(unit, read_table(), order, result)
        return repaired(result, lost)

    def _without_culprits(
        self, unit: ApplyUnit, table: EffectiveTable, order: Order, first: ApplyResult
    ) -> ApplyResult:
        """Find the entries that the server does not hold, remember them, and install the rest."""
        there = self._read(unit)
        refused = still_refused(table, self._journal.refused_entries())

        def planned(left_out: LeftOut, installed: Mapping[str, Installed]) -> Plan:
            out = {name: refused.get(name, {}) | left_out.get(name, {}) for name in unit.targets}
            return replace(make_plan(table, unit.specs, installed, self._limits, out), name=unit.name, units=())

        def attempt(left_out: LeftOut) -> ApplyResult:
            return self._run(planned(left_out, self._read(unit)), unit.specs, order, {})

        search = CulpritSearch(unit.specs, table.routes, there, attempt)
        result = search.settle(first)
        if search.left_out:
            new = {route.id: str(route.new) for route in table.routes}
            self._journal.refuse(
                {
                    target: {number: RefusedEntry(new[number], reason) for number, reason in entries.items()}
                    for target, entries in search.left_out.items()
                }
            )
            result = replace(result, plan=planned(search.left_out, there))
        return result

    def _read(self, unit: ApplyUnit) -> dict[str, Installed]:
        return read_installed(unit.specs, self._journal.states(), self._installer)

    def _run(self, plan: Plan, specs: Sequence[TargetSpec], order: Order, waiting: Mapping[str, str]) -> ApplyResult:
        try:
            return self._transaction.run(plan, specs, order, waiting)
        except InstallError as error:  # not even the old files could be put back
            return refused_unit(plan, error, "installed")

    def _roll_back_unit(
        self, unit: ApplyUnit, number: int, contents: Mapping[str, bytes], begun: _Begun, request: ApplyRequest
    ) -> ApplyResult:
        known = [spec for spec in unit.specs if spec.name in contents]
        there = read_installed(known, self._journal.states(), self._installer)
        plan = replace(plan_contents(known, there, contents), name=unit.name, units=())
        try:
            if (fault := begun.fault(unit) or plan.error) is not None:
                raise fault
            plan.raise_if_hand_edited(force=request.force, way_past=f"redirectd rollback {number} --force")
        except RedirectdError as error:
            return refused_unit(plan, error)
        names = tuple(spec.name for spec in known)
        at = begun.at.isoformat(timespec="seconds")
        hold = Hold(request.actor, at, f"rolled back to generation {number}", targets=names)
        order = Order(request.actor, "rollback", begun.at, hold, _forced_past(plan, request))
        result = self._run(plan, known, order, begun.waiting)
        if result.generation is not None and not isinstance(result.error, VerifyError):
            self._journal.out_of_service(unit.targets)
        return result

    def _short_plan(self, specs: Sequence[TargetSpec]) -> ShortPlan | None:
        states, refused = self._journal.states(), self._journal.refused_entries()
        return short_plan(self._since, specs, states, self._installer, self._limits, refused)

    def _held(self, unit: ApplyUnit) -> RefusedError | None:
        hold = next((hold for hold in reversed(self._journal.holds()) if hold.covers(unit.targets)), None)
        if hold is None:
            return None
        return RefusedError(
            "apply", f"{unit.name} is held since {hold.at} by {hold.actor}: {hold.reason}", "redirectd apply --resume"
        )

    def _unfit(self, unit: ApplyUnit) -> InstallError | None:
        """Ask the servers for what would make them lose a table later on."""
        for spec in unit.specs:
            asked = spec.target.conditions() if isinstance(spec.target, Conditional) else ()
            for control, each in product(spec.controls, asked):
                doubt = self._servers.preflight(control, spec.timeout, each.question)
                if doubt is not None:
                    return InstallError(f"target {spec.name}", doubt, each.what_to_do)
        return None

    def _failed_lately(self, plan: Plan, request: ApplyRequest) -> RefusedError | None:
        """Keep the schedule from reloading a server every few minutes with a plan that it just disproved."""
        if request.cause != "schedule":
            return None
        recent = self._journal.recent(8, [target.name for target in plan.targets])
        failures = 0
        for generation in recent:
            if generation.outcome is not GenerationOutcome.ROLLED_BACK or generation.checksum != plan.checksum:
                break
            failures += 1
        again = recent[0].created_at + min(_FIRST_PAUSE * 2 ** (failures - 1), _LAST_PAUSE) if failures else None
        if again is None or self._tools.clock() >= again:
            return None
        shown = again.isoformat(timespec="seconds")
        return RefusedError(
            f"generation {recent[0].number}",
            f"this plan was rolled back {failures} times; the schedule tries again at {shown}",
            f"see `redirectd history {recent[0].number}` for why; `redirectd apply` tries now",
        )


def _whole(parts: Sequence[ApplyResult]) -> Plan:
    """Give the plan of several units' rollbacks."""
    first = parts[0].plan
    if len(parts) == 1:
        return replace(first, units=(first,), name="")
    targets = tuple(target for part in parts for target in part.plan.targets)
    units = tuple(part.plan for part in parts)
    return part_of(replace(first, targets=targets, units=units), [unit.name for unit in units])


def _refusal(plan: Plan, request: ApplyRequest) -> RefusedError | None:
    try:
        plan.limit.raise_if_unsafe(force=request.force, way_past=plan.way_past)
        plan.raise_if_hand_edited(force=request.force, way_past=plan.way_past)
    except RefusedError as error:
        return error
    return None


def _another_plan(plan: Plan) -> RefusedError:
    sums = ", ".join(dict.fromkeys([plan.checksum, *(unit.checksum for unit in plan.units)]))
    return RefusedError(
        "--plan",
        f"the plan has changed: its checksum is {sums}",
        "see `redirectd plan`, then apply the checksum it shows",
    )


def _named(plan: Plan, checksums: Collection[str]) -> Plan | None:
    """Give the part of the plan that is named by checksums, all of it without any; None where one names nothing.

    The beginning of a checksum, as it heads the Markdown, is enough.
    """
    if not checksums:
        return plan
    names = set()
    for checksum in checksums:
        if len(checksum) < SHORT_CHECKSUM:
            return None
        if plan.checksum.startswith(checksum.lower()):
            return plan
        found = [unit.name for unit in plan.units if unit.checksum.startswith(checksum.lower())]
        if not found:
            return None
        names.update(found)
    return part_of(plan, names)


def _forced_past(plan: Plan, request: ApplyRequest) -> tuple[str, ...]:
    if not request.force:
        return ()
    edited = (f"{target.name}: {target.hand_edit}" for target in plan.targets if target.hand_edit and target.changed)
    return (*map(str, plan.limit.breaches), *edited)
