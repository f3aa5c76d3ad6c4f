"""One entry that a server can't hold does not keep the rest out: find it, by the server's own words or by halving.

Each try is a whole installation of the unit with its proof, so what is in service at any moment was proven.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from redirectd.apply.result import ApplyResult, TargetOutcome
from redirectd.errors import VerifyError
from redirectd.plan.planning import Plan, render_over
from redirectd.plan.route import Route
from redirectd.plan.target import TargetError
from redirectd.plan.target_spec import Installed, TargetSpec

MOST_TRIES = 16
"""Installations tried in one search: enough for one entry among thousands, or several among a few."""

LeftOut = dict[str, dict[int, str]]
"""The remaps that a target shall be without, each with the reason."""


class CulpritSearch:
    """Looks for what the server of one unit does not hold.

    `attempt` plans the unit without what is left out, and installs it. `there` are the files before, by target.
    `left_out` is what was found.
    """

    def __init__(
        self,
        specs: Sequence[TargetSpec],
        routes: Sequence[Route],
        there: Mapping[str, Installed],
        attempt: Callable[[LeftOut], ApplyResult],
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._routes = routes
        self._there = there
        self._attempt = attempt
        self._tries = 0
        self._outcomes: dict[str, TargetOutcome] = {}
        self._generation: int | None = None
        self._succeeded = False
        self.left_out: LeftOut = {}

    def settle(self, first: ApplyResult) -> ApplyResult:
        """Install the rest of what `first` failed to; gives `first` itself where no entry could be found."""
        result = first
        while isinstance(result.error, VerifyError) and not result.waiting and self._tries < MOST_TRIES:
            named = self._named(result)
            if not named:
                break
            for target, number, why in named:
                self._leave_out(target, number, why)
            result = self._try(self.left_out)
        if isinstance(result.error, VerifyError) and result.doubts.files and not result.waiting:
            found = self._halved(result)
            if found is None:
                self.left_out = {}
                return first
            result = found
        if isinstance(result.error, VerifyError) and not self._succeeded:
            self.left_out = {}
            return first
        return replace(result, outcomes=dict(result.outcomes) | self._outcomes, generation=self._generation)

    def _named(self, result: ApplyResult) -> list[tuple[str, int, str]]:
        """Give the remaps behind the entries that the server was asked for and did not give."""
        found = []
        for target, entries in result.doubts.entries.items():
            for key, why in entries.items():
                found += [(target, number, why) for number in self._owners(target, result.plan, {key})]
        return [each for each in found if each[1] not in self.left_out.get(each[0], {})]

    def _halved(self, result: ApplyResult) -> ApplyResult | None:
        """Find what makes the server refuse whole files; None where it is not a single entry."""
        suspects = [
            (target, number, why)
            for target, why in result.doubts.files.items()
            for number in self._owners(target, result.plan, _changed(result.plan, target))
        ]
        last: ApplyResult = result
        while suspects:
            held, refused = 0, len(suspects)  # the first `held` are held together, the first `refused` are not
            while refused - held > 1:
                if self._tries >= MOST_TRIES:
                    return _not_done(last, len(suspects) - held)
                middle = (held + refused) // 2
                tried = self._without(suspects[middle:])
                held, refused = (middle, refused) if tried.error is None else (held, middle)
            if not held and not self._succeeded and self._without(suspects).error is not None:
                return None
            self._leave_out(*suspects[held])
            suspects = suspects[held + 1 :]
            last = self._without([])
            if not isinstance(last.error, VerifyError):
                return last
            if self._tries >= MOST_TRIES:
                return _not_done(last, len(suspects))
        return None

    def _without(self, suspects: Sequence[tuple[str, int, str]]) -> ApplyResult:
        """Try what is not left out and not among these."""
        left_out = {target: dict(entries) for target, entries in self.left_out.items()}
        for target, number, _ in suspects:
            left_out.setdefault(target, {})[number] = "not tried yet"
        return self._try(left_out)

    def _try(self, left_out: LeftOut) -> ApplyResult:
        self._tries += 1
        result = self._attempt(left_out)
        if result.error is None:
            self._succeeded = self._succeeded or result.generation is not None
            self._generation = result.generation or self._generation
            self._outcomes |= {name: each for name, each in result.outcomes.items() if each.outcome != "unchanged"}
        return result

    def _leave_out(self, target: str, number: int, why: str) -> None:
        reason = f"its server did not hold it: {why} (try again: redirectd apply --retry)"
        self.left_out.setdefault(target, {})[number] = reason

    def _owners(self, target: str, plan: Plan, keys: Collection[str]) -> list[int]:
        """Give the remaps whose entries these keys of the plan are, by rendering ever smaller parts of the table."""
        spec, there = self._specs[target], self._there[target]
        [rendered] = (each.rendered for each in plan.targets if each.name == target)
        left_out = self.left_out.get(target, {})

        def entries_of(routes: Sequence[Route]) -> Mapping[str, str]:
            try:
                return render_over(spec, routes, there).entries
            except TargetError:
                return {}

        of_base = entries_of(())
        wanted = {key: rendered.entries[key] for key in keys if key in rendered.entries}
        wanted = {key: value for key, value in wanted.items() if of_base.get(key) != value}

        def search(routes: Sequence[Route]) -> list[int]:
            found = entries_of(routes) if routes and wanted else {}
            if not any(found.get(key) == value for key, value in wanted.items()):
                return []
            if len(routes) == 1:
                return [routes[0].id]
            half = len(routes) // 2
            return search(routes[:half]) + search(routes[half:])

        return search([route for route in self._routes if route.id not in left_out])


def _changed(plan: Plan, target: str) -> Collection[str]:
    [changes] = (each.changes for each in plan.targets if each.name == target)
    return (*changes.create, *changes.update)


def _not_done(result: ApplyResult, count: int) -> ApplyResult:
    """Say that the search was given up, with what was held so far in service."""
    error = VerifyError(
        result.plan.name,
        f"the server holds not all that is new, and after {MOST_TRIES} tries {count} entries are still out",
        "see `redirectd history` and the server's log; the next apply goes on",
    )
    return replace(result, error=error)
