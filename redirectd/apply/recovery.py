"""Finishing what an earlier apply left: killed on its way, or waiting for a server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime

from redirectd.apply.install import Installer
from redirectd.apply.journal import ApplyJournal, FileOutcome
from redirectd.apply.outcomes import file_outcomes, states_after, verify_error
from redirectd.apply.servers import Servers
from redirectd.apply.transitions import finished, gone_back, interrupted
from redirectd.apply.unit import StagedFile, from_file, prove, put_back
from redirectd.errors import InstallError
from redirectd.plan.planning import digest
from redirectd.plan.target_spec import TargetSpec
from redirectd.store.generations import GenerationOutcome, Stage
from redirectd.store.target_states import Phase, TargetState

_GONE = "the target is not configured any more; its file was left as it is"


class Recovery:
    """Brings every target of this node to rest, by its record and its files."""

    def __init__(
        self,
        specs: Sequence[TargetSpec],
        journal: ApplyJournal,
        installer: Installer,
        servers: Servers,
        clock: Callable[[], datetime],
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._journal = journal
        self._installer = installer
        self._servers = servers
        self._clock = clock

    def finish(self, names: Collection[str], *, due_only: bool) -> dict[str, str]:
        """Finish the targets of one unit, or those whose retry is due; give those that still wait, and why.

        Raises:
            VerifyError: a file did not prove itself; the one before is back.
            InstallError: a file could not be put back, or is not to be trusted.
        """
        for unit in self._units(Phase.INSTALLING, names):
            self._settle_interrupted(unit)
        now = self._clock()
        for unit in self._units(Phase.RELOAD, names):
            due = [state for state in unit if not due_only or state.next_try is None or state.next_try <= now]
            if due:
                self._prove(due, now)
        self._tidy(names)
        waiting = (state for unit in self._units(Phase.RELOAD, names) for state in unit)
        return {state.target: state.error for state in waiting}

    def let_go(self) -> None:
        """Wait no longer for the server of a target that is not configured any more: nobody knows the way to it."""
        now = self._clock()
        for state in self._journal.states().values():
            if state.pending and state.target not in self._specs:
                files = {state.target: FileOutcome(GenerationOutcome.INSTALLED, _GONE)} if state.goes_back else {}
                stage = Stage("finish", state.target, "done", _GONE)
                self._journal.close(state.number, files, [finished(state, now)], [stage], now=now)

    def _units(self, phase: Phase, names: Collection[str]) -> list[list[TargetState]]:
        """Give those of the unit's targets in a phase, those of one generation together."""
        units: dict[int, list[TargetState]] = {}
        for state in self._journal.states().values():
            if state.phase is phase and state.target in names:
                units.setdefault(state.number, []).append(state)
        return [units[number] for number in sorted(units)]

    def _settle_interrupted(self, unit: Sequence[TargetState]) -> None:
        items = {state.target: self._item(state) for state in unit}
        hashes = {name: self._hash(item) for name, item in items.items()}
        found = interrupted({state.target: state for state in unit}, hashes)
        put_back((items[name] for name in found.put_back), self._installer, self._seconds())
        files: dict[str, FileOutcome] = {}
        outcome = None
        if not found.forward:
            outcome = GenerationOutcome.ROLLED_BACK if found.touched else GenerationOutcome.INTERRUPTED
            files = {name: FileOutcome(outcome, "killed while the files were put into place") for name in items}
        word = "all files are in place" if found.forward else "the old files are back"
        stage = Stage("recover", "", "done", f"an earlier run was killed; {word}")
        self._journal.close(unit[0].number, files, found.states, [stage], outcome, now=self._clock())

    def _prove(self, unit: Sequence[TargetState], now: datetime) -> None:
        items = [self._item(self._returned(state)) for state in unit]
        verdict = prove(items, self._servers, self._installer, self._seconds())
        own = [item for item in items if item.state.goes_back]
        caught_up = [] if verdict.failed or verdict.down else [item for item in items if item.state.nodes]
        files = file_outcomes([*own, *(item for item in caught_up if item.state.number)], verdict)
        stage = Stage("finish", "", "failed" if verdict.failed else "waiting" if verdict.down else "done")
        self._journal.close(unit[0].number, files, states_after(items, verdict, now), [stage], now=now)
        if verdict.failed and own:
            raise verify_error(items, verdict, unit[0].number)

    def _returned(self, state: TargetState) -> TargetState:
        """Notice that the old file is back already: an earlier run was killed right after it put it there."""
        place = self._installer.place(self._specs[state.target].path)
        back = state.goes_back and digest(self._installer.read(place.path)) == state.old_sha256
        return gone_back(state) if back else state

    def _item(self, state: TargetState) -> StagedFile:
        spec = self._specs[state.target]
        return from_file(spec, self._installer.place(spec.path), state, self._installer)

    def _hash(self, item: StagedFile) -> str:
        return digest(self._installer.read(item.place.path))

    def _tidy(self, names: Collection[str]) -> None:
        """Remove what killed runs left beside the files; a backup stays as long as it may be needed."""
        states = self._journal.states()
        for spec in (self._specs[name] for name in names):
            state = states.get(spec.name)
            keep = state is not None and state.backup is not None
            with suppress(InstallError):  # no harm is in them, and the next stage replaces them
                self._installer.tidy(self._installer.place(spec.path), keep_backup=keep)

    def _seconds(self) -> int:
        return int(self._clock().timestamp())
