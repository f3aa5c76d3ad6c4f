"""The installation itself: stage all, check all, swap all, prove all, or be as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from redirectd.apply.install import FilePlace, Installer
from redirectd.apply.journal import ApplyJournal, FileOutcome
from redirectd.apply.outcomes import (
    WITH_THE_OTHERS,
    file_outcomes,
    states_after,
    target_outcomes,
    verify_error,
    waiting_error,
)
from redirectd.apply.result import ApplyResult, EntryDoubts, TargetOutcome
from redirectd.apply.servers import Servers
from redirectd.apply.transitions import gone_back
from redirectd.apply.unit import ProofResult, StagedFile, prove, put_back
from redirectd.errors import InstallError, RedirectdError
from redirectd.plan.entry_file import EntryFile
from redirectd.plan.planning import Plan, TargetPlan, digest
from redirectd.plan.report import to_json
from redirectd.plan.target import Preflighted, Spliceable, TargetError
from redirectd.plan.target_spec import NO_RELOAD, OWN_PROGRAMS, TargetSpec
from redirectd.sip.text import printable
from redirectd.store.generations import Generation, GenerationFile, GenerationOutcome, Stage
from redirectd.store.settings import Hold
from redirectd.store.target_states import Phase, TargetState

Cause = Literal["apply", "schedule", "rollback"]


@dataclass(frozen=True, slots=True)
class Order:
    """Who or what asked, when, and what goes into the record with it: a hold, and what the person forced it past.

    The units of one apply have the same `at`.
    """

    actor: str
    cause: Cause
    at: datetime
    hold: Hold | None = None
    forced_past: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Work:
    """One file that changes."""

    spec: TargetSpec
    plan: TargetPlan
    place: FilePlace


class _StageError(Exception):
    """A file failed before anything was changed."""

    def __init__(self, target: str, stage: str, error: InstallError) -> None:
        super().__init__(str(error))
        self.target = target
        self.stage = stage
        self.error = error


class Transaction:
    """Runs one plan; call it under the lock and with nothing left to finish but what waits for a server."""

    def __init__(
        self, journal: ApplyJournal, installer: Installer, servers: Servers, clock: Callable[[], datetime]
    ) -> None:
        self._journal = journal
        self._installer = installer
        self._servers = servers
        self._clock = clock

    def run(self, plan: Plan, specs: Sequence[TargetSpec], order: Order, waiting: Mapping[str, str]) -> ApplyResult:
        """Install what changes in a unit's `plan`; `specs` are its targets, `waiting` those whose server is still down.

        Files that don't change are neither written nor reloaded, and where none does, nothing is held.
        """
        result = _as_it_was(plan, waiting)
        self._adopt(plan)
        if not plan.changed:
            return result
        works: list[_Work] = []
        try:
            for spec, target in zip(specs, plan.targets, strict=True):
                if target.changed:
                    with _at(spec.name, "stage"):
                        works.append(_Work(spec, target, self._installer.place(spec.path)))
            items = self._prepare(works)
        except _StageError as failure:
            return self._not_begun(result, works, failure)
        generation = Generation(
            node=self._journal.node,
            created_at=order.at,
            actor=order.actor,
            cause=order.cause,
            checksum=plan.checksum,
            plan=to_json(plan),
            stages=(
                *(Stage("force", "", "done", why) for why in order.forced_past),
                *(Stage(name, "", "done") for name in ("stage", "check")),
            ),
        )
        states = [item.state for item in items]
        number = self._journal.open(generation, map(_file, works), states, order.hold, order.forced_past)
        items = [replace(item, state=replace(item.state, number=number)) for item in items]
        return self._install(result, items, number)

    def _adopt(self, plan: Plan) -> None:
        """Know a file that already is what redirectd would write as redirectd's own."""
        states = self._journal.states()
        known = {name: state.sha256 for name, state in states.items()}
        now = self._clock()
        adopted = [
            TargetState(target=target.name, sha256=digest(target.installed), number=0, updated_at=now)
            for target in plan.targets
            if not target.changed and not target.pending_reload and known.get(target.name) != digest(target.installed)
        ]
        if adopted:
            self._journal.adopt(adopted)

    def _prepare(self, works: Sequence[_Work]) -> list[StagedFile]:
        """Stage all, check all, and give every old file a second name."""
        for work in works:
            with _at(work.spec.name, "stage"):
                self._installer.stage(work.place, work.plan.rendered.content, work.spec)
        for work in works:
            with _at(work.spec.name, "check"):
                self._check(work)
        states = self._journal.states()
        items = []
        for work in works:
            with _at(work.spec.name, "stage"):
                state = self._kept(work, states.get(work.spec.name))
            plan = work.plan
            item = StagedFile(work.spec, work.place, state, plan.rendered, plan.changes.keys, plan.installed)
            items.append(replace(item, standing=plan.standing))
        return items

    def _check(self, work: _Work) -> None:
        """See that the staged bytes are the rendered ones, and mean to the target what was intended."""
        staged = self._installer.read(work.place.staged)
        rendered = work.plan.rendered
        if staged != rendered.content:
            raise InstallError(work.place.staged, "the disk gave back other bytes than were written", "check that disk")
        if work.plan.standing:
            self._check_spliced(work)
            self._preflight(work)
            return
        try:
            meaning = work.spec.target.parse(staged, rendered.entries)
        except TargetError as error:
            raise InstallError(work.spec.path, printable(str(error), 300), "report this as a fault") from error
        if meaning != rendered.entries:
            raise InstallError(
                work.spec.path,
                "parsed back, the new file means something else than was intended",
                "report this as a fault",
            )
        self._preflight(work)

    def _check_spliced(self, work: _Work) -> None:
        """See that a file which is made of the old one differs from that by the changes alone, and by their token.

        What was not written anew was proven with the generation before.
        """
        target, plan = work.spec.target, work.plan
        assert isinstance(target, Spliceable)
        assert plan.installed is not None
        wanted = {key: plan.rendered.entries.get(key) for key in plan.changes.keys}
        try:
            old = EntryFile(plan.installed, target.line_form, plan.standing)
            new = EntryFile(plan.rendered.content, target.line_form)
            lines = target.parse(new.only(wanted).content)
            same = old.without(wanted) == new.without(wanted)
        except ValueError as error:
            raise InstallError(work.spec.path, printable(str(error), 300), "report this as a fault") from error
        if not same or lines != {key: value for key, value in wanted.items() if value is not None}:
            raise InstallError(
                work.spec.path,
                "parsed back, the new file means something else than was intended",
                "report this as a fault",
            )

    def _preflight(self, work: _Work) -> None:
        """Have the server itself read the staged file where its channel can."""
        target, control = work.spec.target, work.spec.control
        if isinstance(target, Preflighted) and control.startswith(("ami:", "amis:", OWN_PROGRAMS)):
            question = target.preflight(work.place.staged, work.plan.rendered)
            doubt = self._servers.preflight(control, work.spec.timeout, question)
            if doubt is not None:
                raise InstallError(work.spec.path, doubt, "nothing was installed; see what it says, and plan again")

    def _kept(self, work: _Work, before: TargetState | None) -> TargetState:
        """Keep the old file and give the state to write down; a file that was never proven is not worth keeping."""
        new = TargetState(
            target=work.spec.name,
            sha256=digest(work.plan.rendered.content),
            number=0,
            updated_at=self._clock(),
            phase=Phase.INSTALLING,
        )
        if before is not None and before.goes_back:
            self._installer.see_unchanged(work.place, work.plan.installed)
            return replace(
                new,
                backup=before.backup,
                old_sha256=before.old_sha256,
                waiting_sha256=digest(work.plan.installed),
                previous_sha256=before.previous_sha256,
                previous_number=before.previous_number,
            )
        blank = work.plan.blank if work.plan.installed is None else None
        if blank is None:
            backup = self._installer.back_up(work.place, work.plan.installed)
        else:
            backup = self._installer.back_up_blank(work.place, blank, work.spec)
        return replace(
            new,
            backup=backup,
            old_sha256=digest(work.plan.installed if blank is None else blank),
            previous_sha256=before.sha256 if before else "",
            previous_number=before.number if before else 0,
        )

    def _not_begun(self, result: ApplyResult, works: Sequence[_Work], failure: _StageError) -> ApplyResult:
        states = self._journal.states()
        for work in works:
            state = states.get(work.spec.name)
            self._installer.tidy(work.place, keep_backup=state is not None and state.backup is not None)
        why = f"{failure.stage}: {failure.error}"
        outcomes = dict(result.outcomes) | {failure.target: TargetOutcome("refused", why)}
        return replace(result, outcomes=outcomes, error=failure.error)

    def _install(self, result: ApplyResult, items: Sequence[StagedFile], number: int) -> ApplyResult:
        now = self._clock()
        seconds = int(now.timestamp())
        for item in items:
            try:
                self._installer.swap(item.place, seconds, step=item.spec.target.mtime_step)
            except InstallError as error:
                return self._not_swapped(result, items, number, item, error)
        verdict = prove(items, self._servers, self._installer, seconds)
        files = file_outcomes(items, verdict)
        states = states_after(items, verdict, now)
        self._journal.close(number, files, states, _stages(items, verdict), now=now)
        for item, state in zip(items, states, strict=True):
            self._installer.tidy(item.place, keep_backup=state.backup is not None)
        fault: RedirectdError | None = result.error
        if verdict.failed:
            fault = verify_error(items, verdict, number)
            result = replace(result, doubts=EntryDoubts(verdict.not_given, verdict.not_read))
        elif verdict.down:
            fault = waiting_error(verdict.down)
        return self._told(result, files, number, fault)

    def _not_swapped(
        self, result: ApplyResult, items: Sequence[StagedFile], number: int, at: StagedFile, error: InstallError
    ) -> ApplyResult:
        """Put back the files that were swapped before one that could not be; no server was notified of any."""
        now = self._clock()
        put_back(items, self._installer, int(now.timestamp()))
        files = {item.name: FileOutcome(GenerationOutcome.ROLLED_BACK, WITH_THE_OTHERS) for item in items}
        files[at.name] = FileOutcome(GenerationOutcome.ROLLED_BACK, f"install: {error}")
        # A server whose file waited may have come up and read it since; the others know the old one only.
        states = [
            replace(
                gone_back(item.state),
                phase=Phase.RELOAD if item.state.waiting_sha256 else None,
                updated_at=now,
            )
            for item in items
        ]
        self._journal.close(number, files, states, [Stage("install", at.name, "failed", str(error))], now=now)
        for item in items:
            self._installer.tidy(item.place)
        return self._told(result, files, number, error)

    def _told(
        self,
        result: ApplyResult,
        files: dict[str, FileOutcome],
        number: int,
        error: RedirectdError | None,
    ) -> ApplyResult:
        outcomes = dict(result.outcomes) | target_outcomes(files)
        states = self._journal.states()
        waiting = tuple(name for name in outcomes if name in states and states[name].pending)
        return replace(result, outcomes=outcomes, generation=number, error=error, waiting=waiting)


def _as_it_was(plan: Plan, waiting: Mapping[str, str]) -> ApplyResult:
    """Begin with nothing changed; what waited for its server before waits still."""
    outcomes = {target.name: TargetOutcome("unchanged") for target in plan.targets}
    down = {name: why for name, why in waiting.items() if name in outcomes}
    outcomes |= {name: TargetOutcome("installed", why) for name, why in down.items()}
    return ApplyResult(plan, outcomes, error=waiting_error(down) if down else None, waiting=tuple(down))


@contextmanager
def _at(target: str, stage: str) -> Iterator[None]:
    try:
        yield
    except InstallError as error:
        raise _StageError(target, stage, error) from error


def _file(work: _Work) -> GenerationFile:
    content = work.plan.rendered.content
    return GenerationFile(work.spec.name, work.spec.kind, work.spec.path, digest(content), content)


def _stages(items: Sequence[StagedFile], verdict: ProofResult) -> list[Stage]:
    stages = [Stage("install", "", "done")]
    for item in items:
        if item.name in verdict.failed:
            stage, why = verdict.failed[item.name]
            stages.append(Stage(stage, item.name, "failed", why))
        elif item.name in verdict.down:
            stages.append(Stage("reload", item.name, "waiting", verdict.down[item.name]))
    if verdict.failed:
        stages += [
            Stage("restore", name, "waiting" if name in verdict.unproven else "done", verdict.unproven.get(name, ""))
            for name in sorted(verdict.restored)
        ]
    elif not verdict.down and any(item.spec.control != NO_RELOAD for item in items):
        stages.append(Stage("verify", "", "done"))
    return stages
