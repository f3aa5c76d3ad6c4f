"""What apply writes down, each method one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from redirectd.errors import UsageError
from redirectd.store.database import Database
from redirectd.store.generations import (
    Generation,
    GenerationFile,
    Outcome,
    Stage,
    add_generation,
    close_file,
    close_generation,
    file_outcomes,
    files_at,
    history,
    standing_number,
)
from redirectd.store.holds import Hold, clear_hold, get_hold, put_hold
from redirectd.store.target_states import TargetState, put_target_states, target_states


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file."""

    outcome: Outcome
    error: str = ""


class Journal:
    """The record of applies on one node. Every method raises StoreError."""

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self.node = node

    def states(self) -> dict[str, TargetState]:
        """Give the state of every target."""
        with self._database.read() as connection:
            return target_states(connection, self.node)

    def hold(self) -> Hold | None:
        """Give the hold on applies."""
        with self._database.read() as connection:
            return get_hold(connection, self.node)

    def put_hold(self, hold: Hold) -> None:
        """Hold later applies."""
        with self._database.begin() as connection:
            put_hold(connection, self.node, hold)

    def clear_hold(self) -> bool:
        """Let applies go on; say if there was a hold."""
        with self._database.begin() as connection:
            return clear_hold(connection, self.node)

    def recent(self, limit: int) -> list[Generation]:
        """Give the last generations, newest first."""
        with self._database.read() as connection:
            return history(connection, self.node, limit)

    def contents_of(self, number: int | None) -> tuple[int, dict[str, bytes]]:
        """Give the files as they stood after a generation (None: the one before the last that stands).

        Raises:
            UsageError: there is no such generation, or it didn't stand.
        """
        with self._database.read() as connection:
            last = standing_number(connection, self.node)
            chosen = standing_number(connection, self.node, last if number is None else number + 1)
            if chosen is None or number not in {None, chosen}:
                raise UsageError(
                    "rollback",
                    "there is no generation before the last one"
                    if number is None
                    else f"generation {number} is not one that stood on this node",
                    "see `redirectd history` for those that can be reinstalled",
                )
            files = files_at(connection, self.node, chosen)
            return chosen, {name: file.content for name, file in files.items()}

    def adopt(self, states: Iterable[TargetState]) -> None:
        """Write states that no generation stands behind."""
        with self._database.begin() as connection:
            put_target_states(connection, self.node, states)

    def open(
        self,
        new: Generation,
        files: Iterable[GenerationFile],
        states: Iterable[TargetState],
        hold: Hold | None,
    ) -> int:
        """Write down what is about to be installed, before the first file is swapped; give its number."""
        with self._database.begin() as connection:
            number = add_generation(connection, new, files)
            put_target_states(connection, self.node, [replace(state, number=number) for state in states])
            if hold is not None:
                put_hold(connection, self.node, hold)
            return number

    def close(
        self,
        number: int,
        files: Mapping[str, FileOutcome],
        states: Iterable[TargetState],
        stages: Sequence[Stage] = (),
        outcome: Outcome | None = None,
    ) -> None:
        """Write down what became of some files of a generation; its own outcome follows from all of them."""
        with self._database.begin() as connection:
            for target, found in files.items():
                close_file(connection, number, target, found.outcome, found.error)
            if files:
                whole = outcome or _whole(file_outcomes(connection, number))
                close_generation(connection, number, whole, stages)
            put_target_states(connection, self.node, states)


def _whole(outcomes: Sequence[Outcome]) -> Outcome:
    for worst in (Outcome.ROLLED_BACK, Outcome.INSTALLING, Outcome.INSTALLED):
        if worst in outcomes:
            return worst
    return Outcome.VERIFIED
