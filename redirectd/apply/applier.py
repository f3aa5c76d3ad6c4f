"""Apply and rollback as commands and the daemon call them: under the lock, with all that can refuse them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from redirectd.apply.files import Files
from redirectd.apply.finish import Finisher
from redirectd.apply.install import Installer
from redirectd.apply.journal import ApplyJournal
from redirectd.apply.lock import apply_lock
from redirectd.apply.repair import Repair
from redirectd.apply.result import ApplyResult, TargetOutcome, repaired
from redirectd.apply.servers import OpenChannel, Servers
from redirectd.apply.transaction import Cause, Order, Transaction
from redirectd.errors import RefusedError, UsageError, VerifyError
from redirectd.plan.limits import Limits
from redirectd.plan.planning import SHORT_CHECKSUM, Plan, make_plan, plan_contents
from redirectd.plan.route import EffectiveTable
from redirectd.plan.target_spec import Installed, TargetSpec
from redirectd.store.database import Database
from redirectd.store.generations import GenerationOutcome
from redirectd.store.rollback_hold import Hold

_FIRST_PAUSE = timedelta(minutes=5)
_LAST_PAUSE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Tools:
    """What apply reaches the world with; `clock` gives aware times, `monotonic` and `sleep` are in seconds."""

    open_channel: OpenChannel
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    files: Files


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRequest:
    """Who asks for what.

    `actor` is the person or service, `cause` what history shows; `force` goes past limits and hand edits;
    `checksum` is of the only plan to apply (its first 12 digits will do); `only` names targets, None for all;
    `resume` ends a hold; `verify` asks the servers for every entry, not just for the sentinel and number of entries;
    `wait` is how long another apply is waited for, in seconds.
    """

    actor: str
    cause: Cause = "apply"
    force: bool = False
    checksum: str | None = None
    only: Collection[str] | None = None
    resume: bool = False
    verify: bool = False
    wait: float = 30.0


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
    ) -> None:
        self._specs = tuple(specs)
        self._limits = limits
        self._lock_path = lock_path
        self._tools = tools
        self._journal = ApplyJournal(database, node)
        self._installer = Installer(tools.files)
        servers = Servers(tools.open_channel, tools.sleep, tools.monotonic)
        self._transaction = Transaction(self._journal, self._installer, servers, tools.clock)
        self._repair = Repair(self._journal, self._installer, servers, tools.clock)
        self._finisher = Finisher(self._specs, self._journal, self._installer, servers, tools.clock)

    def plan(self, table: EffectiveTable, only: Collection[str] | None = None) -> Plan:
        """Work out what an apply would change now. Changes nothing and takes no lock.

        Raises:
            InstallError: a file can't be read. UsageError: `only` names an unknown target.
        """
        specs = self._chosen(only)
        return make_plan(table, specs, self._installed(specs), self._limits)

    def apply(self, read_table: Callable[[], EffectiveTable], request: ApplyRequest) -> ApplyResult:
        """Finish what an earlier run left, put back what a server has lost, then install what is approved now.

        `read_table` is called under the lock. What happened to the plan stands in the result, its `error` included.

        Raises:
            RefusedError: another apply is at work, applies are held, or this one failed shortly before.
            VerifyError: an earlier installation, finished now, did not prove itself and was put back.
        """
        with self._locked(request):
            waiting = self._finisher.finish(due_only=request.cause == "schedule")
            self._pass_hold(request)
            plan = self.plan(read_table(), request.only)
            if request.cause == "schedule":
                self._raise_if_failed_lately(plan)
            refusal = _refusal(plan, request)
            if refusal is not None:
                return refused(plan, refusal)
            order = Order(request.actor, request.cause, forced_past=_forced_past(plan, request))
            specs = self._chosen(request.only)
            lost = self._repair.find(plan, specs, every=request.verify)
            if lost:
                waiting = self._finisher.finish(due_only=True)
            result = repaired(self._transaction.run(plan, specs, order, waiting), lost)
            if result.error is None:
                carried = {number for target in plan.targets for number in target.rendered.carried}
                self._journal.put_in_service(carried, self._tools.clock(), everything=request.only is None)
            return result

    def rollback(self, number: int | None, request: ApplyRequest) -> ApplyResult:
        """Reinstall the files of a generation (None: the one before) and hold later applies until resumed.

        Raises:
            UsageError: there is no such generation, or no target of it is configured any more. Otherwise as `apply`.
        """
        with self._locked(request):
            waiting = self._finisher.finish(due_only=False)
            chosen, contents = self._journal.contents_of(number)
            specs = self._chosen(request.only)
            left = _left_alone(chosen, specs, contents)
            plan = plan_contents(specs, self._installed(specs), contents)
            hold = Hold(
                request.actor, self._tools.clock().isoformat(timespec="seconds"), f"rolled back to generation {chosen}"
            )
            try:
                plan.raise_if_hand_edited(force=request.force, way_past=f"redirectd rollback {chosen} --force")
            except RefusedError as error:
                return refused(plan, error)
            known = [spec for spec in specs if spec.name in contents]
            order = Order(request.actor, "rollback", hold, _forced_past(plan, request))
            result = replace(self._transaction.run(plan, known, order, waiting), left_alone=left)
            if result.generation is not None and not isinstance(result.error, VerifyError):
                self._journal.out_of_service()
            return result

    def finish(self, request: ApplyRequest) -> Mapping[str, str]:
        """Retry only what waits for its server and is due, or was killed; give what still waits, with why.

        Raises:
            RefusedError: another apply is at work. VerifyError: a file did not prove itself and was put back.
        """
        if not any(state.pending for state in self._journal.states().values()):
            return {}
        with self._locked(request):
            return self._finisher.finish(due_only=True)

    def _locked(self, request: ApplyRequest) -> AbstractContextManager[None]:
        return apply_lock(
            self._lock_path,
            f"{request.cause} by {request.actor}",
            wait=request.wait,
            sleep=self._tools.sleep,
            monotonic=self._tools.monotonic,
        )

    def _chosen(self, only: Collection[str] | None) -> list[TargetSpec]:
        if only is None:
            return list(self._specs)
        unknown = sorted(set(only) - {spec.name for spec in self._specs})
        if unknown:
            names = ", ".join(spec.name for spec in self._specs)
            raise UsageError("--target", f"there is no target {', '.join(unknown)}", f"use one of: {names}")
        return [spec for spec in self._specs if spec.name in only]

    def _installed(self, specs: Sequence[TargetSpec]) -> dict[str, Installed]:
        states = self._journal.states()
        found = {}
        for spec in specs:
            state = states.get(spec.name)
            found[spec.name] = Installed(
                content=self._installer.read(spec.path),
                base=None if spec.base is None else self._installer.read(spec.base),
                last_sha256=state.sha256 if state else None,
                pending_reload=bool(state and state.pending),
            )
        return found

    def _pass_hold(self, request: ApplyRequest) -> None:
        if request.resume:
            self._journal.clear_hold(request.actor, self._tools.clock())
        hold = self._journal.hold()
        if hold is not None:
            raise RefusedError(
                "apply", f"held since {hold.at} by {hold.actor}: {hold.reason}", "redirectd apply --resume"
            )

    def _raise_if_failed_lately(self, plan: Plan) -> None:
        """Keep the schedule from reloading a server every few minutes with a plan that it just disproved."""
        failures = 0
        recent = self._journal.recent(8)
        for generation in recent:
            if generation.outcome is not GenerationOutcome.ROLLED_BACK or generation.checksum != plan.checksum:
                break
            failures += 1
        if not failures:
            return
        again = recent[0].created_at + min(_FIRST_PAUSE * 2 ** (failures - 1), _LAST_PAUSE)
        if self._tools.clock() < again:
            raise RefusedError(
                f"generation {recent[0].number}",
                f"this plan was rolled back {failures} times; the schedule tries again at {again.isoformat()}",
                f"see `redirectd history {recent[0].number}` for why; `redirectd apply` tries now",
            )


def _left_alone(chosen: int, specs: Sequence[TargetSpec], contents: Mapping[str, bytes]) -> dict[str, str]:
    names = {spec.name for spec in specs}
    if not names & contents.keys():
        raise UsageError(
            "rollback",
            f"no target of generation {chosen} is configured any more; it had {', '.join(sorted(contents))}",
            "configure such a target again, or choose a later generation from `redirectd history`",
        )
    gone = dict.fromkeys(sorted(contents.keys() - names), "not configured any more")
    return gone | dict.fromkeys(sorted(names - contents.keys()), f"had no file by generation {chosen}")


def _refusal(plan: Plan, request: ApplyRequest) -> RefusedError | None:
    if request.checksum is not None and not _names(request.checksum, plan):
        return RefusedError(
            "--plan",
            f"the plan has changed: its checksum is {plan.checksum}",
            "see `redirectd plan`, then apply the checksum it shows",
        )
    try:
        plan.limit.raise_if_unsafe(force=request.force, way_past=plan.way_past)
        plan.raise_if_hand_edited(force=request.force, way_past=plan.way_past)
    except RefusedError as error:
        return error
    return None


def _names(checksum: str, plan: Plan) -> bool:
    """Say if a checksum as a person gives it is that of the plan; its beginning is enough, as it heads the Markdown."""
    return len(checksum) >= SHORT_CHECKSUM and plan.checksum.startswith(checksum.lower())


def _forced_past(plan: Plan, request: ApplyRequest) -> tuple[str, ...]:
    if not request.force:
        return ()
    edited = (f"{target.name}: {target.hand_edit}" for target in plan.targets if target.hand_edit and target.changed)
    return (*map(str, plan.limit.breaches), *edited)


def refused(plan: Plan, error: RefusedError) -> ApplyResult:
    """What an apply of `plan` comes to that `error` forbids: nothing is changed."""
    outcomes = {
        target.name: TargetOutcome("refused", str(error)) if target.changed else TargetOutcome("unchanged")
        for target in plan.targets
    }
    return ApplyResult(plan, outcomes, error=error)
