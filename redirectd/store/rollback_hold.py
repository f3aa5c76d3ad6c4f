"""The holds that rollbacks put on later applies, each of the targets that were rolled back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection

from redirectd.store.settings import get_setting, put_setting

_NAME = "apply_hold"


@dataclass(frozen=True, slots=True)
class Hold:
    """Who holds applies on a node, since when (RFC 3339) and why.

    `generation` is the rollback's own, which ends its hold if it does not come into service. `targets` are those held;
    none means all of the node, as a hold of an earlier redirectd does.
    """

    actor: str
    at: str
    reason: str
    generation: int = 0
    targets: tuple[str, ...] = ()

    def covers(self, names: Collection[str]) -> bool:
        """Say if any of these targets is held."""
        return not self.targets or not set(self.targets).isdisjoint(names)


def get_holds(connection: Connection, node: str) -> list[Hold]:
    """Give the holds on `node`, the latest last."""
    value = get_setting(connection, node, _NAME)
    if value is None:
        return []
    found = json.loads(value)
    if isinstance(found, dict):  # of a redirectd that had one hold for all, with the one before within it
        earlier = found.pop("earlier", None)
        if earlier is not None:
            earlier.pop("earlier", None)
        found = [each for each in (earlier, found) if each is not None]
    return [Hold(**{**each, "targets": tuple(each.get("targets", ()))}) for each in found]


def add_hold(connection: Connection, node: str, hold: Hold) -> None:
    """Hold applies on `node`; earlier holds stay."""
    _put(connection, node, [*get_holds(connection, node), hold])


def end_hold_of(connection: Connection, node: str, generation: int) -> Hold | None:
    """End the hold of a rollback that did not come into service; give what ended."""
    holds = get_holds(connection, node)
    ended = next((hold for hold in holds if hold.generation == generation), None)
    if ended is not None:
        _put(connection, node, (hold for hold in holds if hold is not ended))
    return ended


def clear_holds(connection: Connection, node: str, names: Collection[str]) -> list[Hold]:
    """Let applies of the targets `names` go on; give the holds that were on them."""
    holds = get_holds(connection, node)
    ended = [hold for hold in holds if hold.covers(names)]
    left = [replace(hold, targets=tuple(name for name in hold.targets if name not in names)) for hold in holds]
    _put(
        connection, node, (after for hold, after in zip(holds, left, strict=True) if after.targets or hold not in ended)
    )
    return ended


def _put(connection: Connection, node: str, holds: Iterable[Hold]) -> None:
    value = [asdict(hold) for hold in holds]
    put_setting(connection, node, _NAME, json.dumps(value) if value else None)
