"""Files that have not changed, and a server that does not hold them any more: find them, so that they are put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from redirectd.apply.install import Installer
from redirectd.apply.journal import ApplyJournal
from redirectd.apply.servers import Servers
from redirectd.errors import PeerError
from redirectd.plan.planning import Plan, TargetPlan, digest
from redirectd.plan.target import SAMPLE, Question, Stateful
from redirectd.plan.target_spec import TargetSpec
from redirectd.store.target_states import Phase, TargetState


class Repair:
    """Asks the servers for what is installed, and notes what they have lost as still to be reloaded."""

    def __init__(
        self, journal: ApplyJournal, installer: Installer, servers: Servers, clock: Callable[[], datetime]
    ) -> None:
        self._journal = journal
        self._installer = installer
        self._servers = servers
        self._clock = clock

    def find(self, plan: Plan, specs: Sequence[TargetSpec], *, every: bool) -> dict[str, str]:
        """Give the targets whose file is as it should be and whose server lost entries, each with what it answered.

        With `every`, each entry is asked for, else the sentinel and the number of entries (dispatcher: its list). A
        server that can't be asked has lost nothing that anybody saw. Raises StoreError, InstallError.
        """
        lost = {}
        for spec, target in zip(specs, plan.targets, strict=True):
            waiting = self._waiting(spec) if target.pending_reload else ()
            asked = [control for control in spec.controls if control not in waiting]
            if target.changed or not asked:
                continue
            questions = _questions(spec, target, every=every)
            faults = {control: found for control in asked if (found := self._faults(spec, control, questions))}
            if faults:
                lost[spec.name] = "; ".join([why for found in faults.values() for why in found][:5])
                nodes = tuple(control for control in spec.controls if control in waiting or control in faults)
                self._note(spec, target, nodes if len(nodes) < len(spec.controls) else ())
        return lost

    def _waiting(self, spec: TargetSpec) -> tuple[str, ...]:
        state = self._journal.states().get(spec.name)
        return state.nodes if state is not None and state.nodes else spec.controls

    def _faults(self, spec: TargetSpec, control: str, questions: Sequence[Question]) -> list[str]:
        try:
            return self._servers.disproved(control, spec.timeout, questions) if questions else []
        except PeerError:
            return []

    def _note(self, spec: TargetSpec, target: TargetPlan, nodes: tuple[str, ...]) -> None:
        now = self._clock()
        if spec.target.mtime_step:
            self._installer.refresh(self._installer.place(spec.path), int(now.timestamp()))
        sha256 = digest(target.installed)
        state = self._journal.states().get(spec.name) or TargetState(
            target=spec.name, sha256=sha256, number=0, updated_at=now
        )
        # The old file is this very one: there is nothing to go back to.
        again = replace(
            state,
            sha256=sha256,
            old_sha256=sha256,
            phase=Phase.RELOAD,
            next_try=None,
            nodes=nodes,
            updated_at=now,
        )
        self._journal.adopt([again])


def _questions(spec: TargetSpec, target: TargetPlan, *, every: bool) -> Sequence[Question]:
    rendered = target.rendered
    if isinstance(spec.target, Stateful):
        return spec.target.lost(rendered)
    if not every:
        return spec.target.questions(rendered, ())
    keys = list(rendered.entries)
    return [
        question
        for begin in range(0, max(len(keys), 1), SAMPLE)
        for question in spec.target.questions(rendered, keys[begin : begin + SAMPLE])
    ]
