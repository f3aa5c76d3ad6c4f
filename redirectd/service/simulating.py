"""From the configuration to what its targets' servers would do with requests."""

from __future__ import annotations

from redirectd.config.model import Config
from redirectd.config.specs import target_specs
from redirectd.plan.route import EffectiveTable
from redirectd.plan.simulation import Mover, by_route_key

ANY_TARGET = "routing"
"""The name of what no target is configured for: routing by the whole route key, as `redirectd lookup` says it."""


def movers_of(config: Config, table: EffectiveTable) -> list[Mover]:
    """What each configured target makes of `table`; routing by the route key where none is configured."""
    matches = {target.name: target.match for target in config.target}
    found = []
    for spec in target_specs(config):
        incoming = matches[spec.name] == "incoming"
        found.append(Mover(spec.name, spec.kind, by_route_key(table, incoming=incoming), incoming))
    return found or [Mover(ANY_TARGET, "", by_route_key(table))]
