"""The short way of an apply: what was decided since the files in place were made is all that is read and made anew.

A file of which that is remembered has one entry for each remap, is in place and at rest, and what it carries is noted
as in service. The long way, over all that is approved, is that of the first apply, of `--verify` and of the night.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from redirectd import __version__
from redirectd.apply.current_plan import read_installed
from redirectd.apply.install import Installer
from redirectd.apply.journal import ApplyJournal
from redirectd.apply.result import ApplyResult
from redirectd.plan.limits import Limits
from redirectd.plan.planning import Plan, TargetPlan, digest, make_plan
from redirectd.plan.route import DecisionMark, EffectiveTable
from redirectd.plan.splicing import RecentDecisions, Splice, is_simple, splice
from redirectd.plan.target import Spliceable
from redirectd.plan.target_spec import TargetSpec
from redirectd.store.settings import Refused
from redirectd.store.target_states import MadeFrom, TargetState

Since = Callable[[DecisionMark], tuple[RecentDecisions, DecisionMark] | None]
"""What was decided since a mark, and the mark of now; None where that is not known."""


@dataclass(frozen=True, slots=True)
class ShortPlan:
    """A plan that was made of the files in place, and of what was decided since, up to `mark`."""

    plan: Plan
    recent: RecentDecisions
    mark: DecisionMark


def short_plan(
    since: Since,
    specs: Sequence[TargetSpec],
    states: Mapping[str, TargetState],
    installer: Installer,
    limits: Limits,
    refused: Refused,
) -> ShortPlan | None:
    """Work out the same plan of the files in place and of the decisions since they were made, if they are all at rest.

    None where that can't be: then all that is approved has to be read.
    """
    forms = {spec.name: form_of(spec) for spec in specs}
    made = {name: state.made_from for name, state in states.items() if name in forms and not state.pending}
    marks = {one.mark if one is not None and one.form == forms[name] else None for name, one in made.items()}
    if len(made) != len(specs) or len(marks) != 1 or not refused.keys().isdisjoint(forms):
        return None
    mark = marks.pop()
    found = None if mark is None else since(mark)
    if found is None:
        return None
    installed = read_installed(specs, states, installer)
    splices: dict[str, Splice] = {}
    for spec in specs:
        content = installed[spec.name].content
        if content is None or digest(content) != states[spec.name].sha256 or not isinstance(spec.target, Spliceable):
            return None
        short = splice(spec.target, content, found[0])
        if short is None:
            return None
        splices[spec.name] = short
    return ShortPlan(make_plan(found[0].table, specs, installed, limits, splices=splices), *found)


def form_of(spec: TargetSpec) -> str:
    """Name what a target's file depends on besides remaps; empty where the next one can't be made of it."""
    form = spec.target.form if isinstance(spec.target, Spliceable) else ""
    return form and f"{__version__} {form}"


class AppliedNote:
    """Writes down what came of an apply: which remaps are routed by now, and what the files in place were made from."""

    def __init__(self, journal: ApplyJournal, specs: Sequence[TargetSpec], clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._specs = {spec.name: spec for spec in specs}
        self._clock = clock

    def of_all(self, parts: Sequence[ApplyResult], table: EffectiveTable, *, whole: bool) -> None:
        """Note an apply of all that is approved; what a unit that failed routes by is not known."""
        everything: set[int] = set()
        now = self._clock()
        sound = [part for part in parts if part.error is None]
        for part in sound:
            everything |= self._put_in_service(part, now)
        if whole and len(sound) == len(parts):
            self._journal.put_in_service(everything, now, everything=True)
            if table.mark is not None:
                self._remember(parts, table.mark, lambda target: is_simple(table, target.rendered))

    def of_recent(self, parts: Sequence[ApplyResult], short: ShortPlan, *, whole: bool) -> None:
        """Note an apply of recent decisions; what all other remaps do is known."""
        sound = [part for part in parts if part.error is None]
        for part in sound:
            if part.plan.changed:
                self._put_in_service(part, self._clock())
        if whole and len(sound) == len(parts):
            self._journal.take_out_of_service(short.recent.gone)
            self._remember(parts, short.mark, lambda target: bool(target.standing))

    def _put_in_service(self, part: ApplyResult, now: datetime) -> set[int]:
        carried = {number for target in part.plan.targets for number in target.rendered.carried}
        names = [target.name for target in part.plan.targets]
        self._journal.put_in_service(carried, now, targets=names, everything=False)
        return carried

    def _remember(self, parts: Sequence[ApplyResult], mark: DecisionMark, is_fit: Callable[[TargetPlan], bool]) -> None:
        states = self._journal.states()
        changed = []
        for target in (target for part in parts for target in part.plan.targets):
            state, form = states.get(target.name), form_of(self._specs[target.name])
            if state is None or state.pending or not form or not is_fit(target):
                continue
            made = MadeFrom(form, mark)
            if made != state.made_from and state.sha256 == digest(target.rendered.content):
                changed.append(replace(state, made_from=made))
        if changed:
            self._journal.adopt(changed)
