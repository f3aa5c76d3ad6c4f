"""From the configuration to what its targets' servers would do with requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redirectd.config.model import Config
from redirectd.config.specs import target_specs
from redirectd.errors import InstallError
from redirectd.plan.route import EffectiveTable
from redirectd.plan.simulation import Mover, SimulatedMove, by_route_key
from redirectd.plan.target import Answering, TargetError
from redirectd.plan.target_spec import TargetSpec
from redirectd.service.applying import installer_of
from redirectd.sip.text import printable

ANY_TARGET = "routing"
"""The name of what no target is configured for: routing by the whole route key, as `redirectd lookup` says it."""


def movers_of(config: Config, table: EffectiveTable) -> list[Mover]:
    """What each configured target's server makes of `table`; routing by the route key where none is configured.

    A target that answers for its server says so itself (R41), others by the route key. Raises ConfigError.
    """
    matches = {target.name: target.match for target in config.target}
    found = []
    for spec in target_specs(config):
        incoming = matches[spec.name] == "incoming"
        if isinstance(spec.target, Answering):
            moves = _answers(config, spec, spec.target, table)
        else:
            moves = by_route_key(table, incoming=incoming)
        found.append(Mover(spec.name, spec.kind, moves, incoming))
    return found or [Mover(ANY_TARGET, "", by_route_key(table))]


def _answers(
    config: Config, spec: TargetSpec, target: Answering, table: EffectiveTable
) -> Callable[[Sequence[str]], Sequence[SimulatedMove | None]]:
    """What the target's server does, with what is in its places now. Raises InstallError for a faulty base file."""
    places = installer_of(config, [spec])

    def moves(texts: Sequence[str]) -> Sequence[SimulatedMove | None]:
        base = None if spec.base is None else places.read(spec.base)
        try:
            answers = target.answers(table.routes, base, places.read(spec.path), texts)
        except TargetError as error:
            where = spec.base or spec.path
            raise InstallError(where, printable(str(error), 300), "fix the base file and try again") from error
        return [None if one.result is None else SimulatedMove(printable(one.result, 500), one.id) for one in answers]

    return moves
