"""What each target's file is on this node, and what about it is still to be finished."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from redirectd.plan.route import DecisionMark
from redirectd.store.schema import target_state

_IN_DETAIL = (
    "phase",
    "backup",
    "old_sha256",
    "waiting_sha256",
    "previous_sha256",
    "previous_number",
    "attempts",
    "error",
    "nodes",
)


class Phase(StrEnum):
    """How far an installation is that is not finished."""

    INSTALLING = "installing"
    """Files are being put into place: this one is the old or the new one."""
    RELOAD = "reload"
    """The file is in place; the server has not been told of it, or has not proven it."""


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What the file was made from: the configuration's `form` of it, and all that was approved up to `mark`.

    The file has one entry for each remap, so that the next one can be made of it and of what is decided after.
    """

    form: str
    mark: DecisionMark

    def to_json(self) -> dict[str, object]:
        """Give it as it is stored."""
        until = self.mark.until
        return asdict(self.mark) | {"form": self.form, "until": until and until.isoformat()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> MadeFrom:
        """Read it back."""
        until = kept["until"] and datetime.fromisoformat(kept["until"])
        return cls(kept["form"], DecisionMark(kept["entry"], kept["hash"], kept["approved"], until))


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """One target's state.

    `sha256` is of the file that redirectd installed last (empty: never), by generation `number`. While `phase` is
    set, that file may not be in place or not in service yet: `old_sha256` is of the file before it
    (empty: there was none), of which `backup` is a copy (None: there was none), and the `previous` values
    are those to go back to. Where an unproven file of an earlier generation was in place in between, waiting for
    its server, `waiting_sha256` is its hash. `attempts` and `next_try` space the retries. `made_from`
    is of the file in place, where that is known: whoever changes `sha256` forgets it.
    `nodes` are those of several servers that have not proven it, where others have; empty for all.
    """

    target: str
    sha256: str
    number: int
    updated_at: datetime
    phase: Phase | None = None
    backup: str | None = None
    old_sha256: str = ""
    waiting_sha256: str = ""
    previous_sha256: str = ""
    previous_number: int = 0
    attempts: int = 0
    next_try: datetime | None = None
    error: str = ""
    made_from: MadeFrom | None = None
    nodes: tuple[str, ...] = ()

    @property
    def goes_back(self) -> bool:
        """Say if there is a file to go back to (or the absence of one), should this one not prove itself."""
        return self.pending and (self.old_sha256 != self.sha256 or self.waiting_sha256 != "")

    def unproven(self, sha256: str) -> bool:
        """Say if a file with this hash (empty: no file) is one of ours that must not stay unproven."""
        return self.goes_back and sha256 in {self.sha256, self.waiting_sha256} - {""}

    @property
    def pending(self) -> bool:
        """Say if something about this target is to be finished."""
        return self.phase is not None


def target_states(connection: Connection, node: str) -> dict[str, TargetState]:
    """Give the states of `node`, by target name."""
    rows = connection.execute(select(target_state).where(target_state.c.node == node))
    states = {}
    for row in rows:
        detail = json.loads(row.detail) if row.detail else {}
        next_try = detail.pop("next_try", None)
        phase = detail.pop("phase", None)
        made_from = detail.pop("made_from", None)
        nodes = tuple(detail.pop("nodes", ()))
        states[row.target] = TargetState(
            target=row.target,
            sha256=row.sha256,
            number=row.number,
            updated_at=row.updated_at,
            phase=None if phase is None else Phase(phase),
            next_try=None if next_try is None else datetime.fromisoformat(next_try),
            made_from=None if made_from is None else MadeFrom.from_json(made_from),
            nodes=nodes,
            **detail,
        )
    return states


def put_target_states(connection: Connection, node: str, states: Iterable[TargetState]) -> None:
    """Write states over those of the same targets."""
    for state in states:
        detail = {name: getattr(state, name) for name in _IN_DETAIL}
        if state.made_from is not None:
            detail["made_from"] = state.made_from.to_json()
        if state.next_try is not None:
            detail["next_try"] = state.next_try.isoformat()
        connection.execute(
            delete(target_state).where(target_state.c.node == node, target_state.c.target == state.target)
        )
        connection.execute(
            insert(target_state).values(
                node=node,
                target=state.target,
                sha256=state.sha256,
                number=state.number,
                pending_reload=state.pending,
                detail=json.dumps(detail),
                updated_at=state.updated_at,
            )
        )
