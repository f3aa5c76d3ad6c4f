"""What an earlier apply left: decide from the files themselves how far it came, and what is to be done.

The record of an apply is written before its first file is swapped, and closed after the last proof. So an open
record and the files' hashes show everything: each file is the old one or the new one, whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from redirectd.store.target_states import Phase, TargetState

_FIRST_RETRY = timedelta(seconds=30)
_LAST_RETRY = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class InterruptedUnit:
    """An interrupted unit: states to write, targets to put back first; `touched` says if any file was swapped."""

    states: tuple[TargetState, ...]
    put_back: tuple[str, ...] = ()
    touched: bool = True

    @property
    def forward(self) -> bool:
        """Say if all files are in place, so that only the proof is missing."""
        return not self.put_back and self.touched


def interrupted(unit: Mapping[str, TargetState], hashes: Mapping[str, str]) -> InterruptedUnit:
    """Judge the targets of one generation whose installation was killed; `hashes` are of the files now.

    All new: go on to the proof. Otherwise back to the old ones, and let the servers read those, since
    nobody knows what they read.
    """
    if all(hashes[name] == state.sha256 for name, state in unit.items()):
        return InterruptedUnit(tuple(replace(state, phase=Phase.RELOAD) for state in unit.values()))
    back = tuple(name for name, state in unit.items() if state.unproven(hashes[name]))
    return InterruptedUnit(tuple(gone_back(state) for state in unit.values()), back, bool(back))


def gone_back(state: TargetState, *, error: str = "") -> TargetState:
    """Give the state after the old file was put back, with its server still to be asked."""
    return replace(
        state,
        sha256=state.previous_sha256,
        number=state.previous_number,
        phase=Phase.RELOAD,
        backup=None,
        waiting_sha256="",
        old_sha256=state.previous_sha256,
        made_from=None,
        error=error,
    )


def finished(state: TargetState, now: datetime) -> TargetState:
    """Give the state after the proof."""
    return TargetState(target=state.target, sha256=state.sha256, number=state.number, updated_at=now)


def put_off(state: TargetState, error: str, now: datetime) -> TargetState:
    """Give the state after a try that found no server: the next one waits twice as long, at most 15 minutes."""
    wait = min(_FIRST_RETRY * 2 ** min(state.attempts, 10), _LAST_RETRY)
    return replace(
        state,
        phase=Phase.RELOAD,
        attempts=state.attempts + 1,
        next_try=now + wait,
        error=error,
        updated_at=now,
    )
