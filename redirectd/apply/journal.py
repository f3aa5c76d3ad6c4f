"""What apply writes down, each method one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from redirectd.errors import UsageError
from redirectd.sip.text import printable
from redirectd.store import audit, event_log, in_service
from redirectd.store.database import Database
from redirectd.store.generations import (
    Generation,
    GenerationFile,
    GenerationOutcome,
    Stage,
    add_generation,
    close_file,
    close_generation,
    file_outcomes,
    files_at,
    history,
    of_one_apply,
    standing_number,
    standing_targets,
)
from redirectd.store.settings import (
    Hold,
    Refused,
    RefusedEntry,
    add_hold,
    clear_holds,
    end_hold_of,
    forget_refused_entries,
    get_holds,
    put_refused_entries,
    refused_entries,
)
from redirectd.store.target_states import TargetState, put_target_states, target_states


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file."""

    outcome: GenerationOutcome
    error: str = ""


class ApplyJournal:
    """The record of applies on one node. Every method raises StoreError."""

    def __init__(self, database: Database, node: str) -> None:
        self._database = database
        self.node = node

    def states(self) -> dict[str, TargetState]:
        """Give the state of every target."""
        with self._database.read() as connection:
            return target_states(connection, self.node)

    def holds(self) -> list[Hold]:
        """Give the holds on applies, the latest last."""
        with self._database.read() as connection:
            return get_holds(connection, self.node)

    def clear_holds(self, names: Collection[str], actor: str, now: datetime) -> None:
        """Let applies of these targets go on."""
        with self._database.begin() as connection:
            for hold in clear_holds(connection, self.node, names):
                reason = f"ends the hold of {hold.at} by {hold.actor}: {hold.reason}"
                self._tell(connection, now, actor, "resume", reason)

    def recent(self, limit: int, targets: Collection[str]) -> list[Generation]:
        """Give the last generations of these targets, newest first."""
        with self._database.read() as connection:
            return history(connection, self.node, limit, targets)

    def targets_of(self, number: int | None) -> list[str]:
        """Give the targets that a rollback to a generation is about: those it installed.

        For None, those that the last apply installed, each of whose units returns to the one before.

        Raises:
            UsageError: no such generation exists, or it was not installed.
        """
        with self._database.read() as connection:
            last = standing_number(connection, self.node) if number is None else number
            names: list[str] = []
            if number is None and last is not None:
                for each in of_one_apply(connection, last):
                    names += standing_targets(connection, self.node, each)
            elif last is not None:
                names = standing_targets(connection, self.node, last)
            if not names:
                raise _not_there(number)
            return sorted(set(names))

    def contents_of(self, number: int | None, targets: Collection[str]) -> tuple[int, dict[str, bytes]] | None:
        """Give a unit's files as they were after a generation, with its number.

        For None it is the one before what the last apply installed of it; None where there is none.
        """
        with self._database.read() as connection:
            if number is None:
                last = standing_number(connection, self.node, targets=targets)
                first = last if last is None else min(of_one_apply(connection, last))
                number = None if first is None else standing_number(connection, self.node, first, targets)
            if number is None:
                return None
            files = files_at(connection, self.node, number)
            return number, {name: file.content for name, file in files.items() if name in targets}

    def adopt(self, states: Iterable[TargetState]) -> None:
        """Write states that do not belong to a generation."""
        with self._database.begin() as connection:
            put_target_states(connection, self.node, states)

    def open(
        self,
        new: Generation,
        files: Iterable[GenerationFile],
        states: Iterable[TargetState],
        hold: Hold | None,
        forced_past: Sequence[str],
    ) -> int:
        """Write down what is about to be installed, before the first file is swapped; give its number.

        A rollback and an apply that was forced past something are decisions of a person, and go into the audit.
        """
        with self._database.begin() as connection:
            number = add_generation(connection, new, files)
            put_target_states(connection, self.node, [replace(state, number=number) for state in states])
            told: dict[str, object] = {"generation": number, "checksum": new.checksum}
            if hold is not None:
                self._tell(connection, new.created_at, new.actor, "rollback", hold.reason, told)
                self._hold(connection, replace(hold, generation=number), new.created_at)
            if forced_past:
                reason = "forced past: " + "; ".join(forced_past)
                self._tell(connection, new.created_at, new.actor, "force-apply", reason, told)
            if hold is not None:
                self._report(connection, number, new.created_at, new.actor, hold.reason)
            return number

    def close(
        self,
        number: int,
        files: Mapping[str, FileOutcome],
        states: Iterable[TargetState],
        stages: Sequence[Stage] = (),
        outcome: GenerationOutcome | None = None,
        *,
        now: datetime,
    ) -> None:
        """Write down what became of some files of a generation; its own outcome follows from all of them.

        A rollback that did not come into service ends its hold: what it was to hold off is what routes again.
        """
        with self._database.begin() as connection:
            for target, found in files.items():
                close_file(connection, number, target, found.outcome, found.error)
            if files:
                whole = outcome or _whole(file_outcomes(connection, number))
                close_generation(connection, number, whole, stages)
                if whole in {GenerationOutcome.ROLLED_BACK, GenerationOutcome.INTERRUPTED}:
                    self._end_hold_of(connection, number, now)
            put_target_states(connection, self.node, states)
            if files and whole is GenerationOutcome.ROLLED_BACK:
                errors = {target: found.error for target, found in files.items() if found.error}
                self._report(connection, number, now, "", "; ".join(f"{name}: {why}" for name, why in errors.items()))

    def _report(self, connection: Connection, number: int, at: datetime, actor: str, reason: str) -> None:
        """Reports that a generation was taken back, or that a person went back to one: each once."""
        event = event_log.NewEvent(
            kind=event_log.EventKind.ROLLED_BACK,
            at=at,
            node=self.node,
            actor=actor or "redirectd",
            key=f"rolled-back {number} {bool(actor)}",
            detail={"generation": number, "reason": printable(reason, 1000)},
        )
        event_log.emit(connection, [event])

    def refused_entries(self) -> Refused:
        """Give what the servers were found not to hold."""
        with self._database.read() as connection:
            return refused_entries(connection, self.node)

    def refuse(self, new: Mapping[str, Mapping[int, RefusedEntry]]) -> None:
        """Remember what a server does not hold."""
        with self._database.begin() as connection:
            put_refused_entries(connection, self.node, new)

    def forget_refused(self, targets: Collection[str]) -> None:
        """Have it tried again."""
        with self._database.begin() as connection:
            forget_refused_entries(connection, self.node, targets)

    def put_in_service(
        self, carried: Collection[int], now: datetime, *, targets: Collection[str] | None = None, everything: bool
    ) -> None:
        """Write down which remaps this node routes by now, by the last generation of `targets`.

        With `everything` it routes by no others.
        """
        with self._database.read() as connection:
            number = standing_number(connection, self.node, targets=targets) or 0
        in_service.put_in_service(self._database, self.node, carried, number, now, everything=everything)

    def take_out_of_service(self, numbers: Collection[int]) -> None:
        """Write down that this node routes by these remaps no more."""
        in_service.take_out(self._database, self.node, numbers)

    def out_of_service(self, targets: Collection[str]) -> None:
        """Write down that it is not known which remaps these targets route by: files of an earlier day are back."""
        in_service.clear(self._database, self.node, targets)

    def _hold(self, connection: Connection, hold: Hold, now: datetime) -> None:
        add_hold(connection, self.node, hold)
        self._tell(connection, now, hold.actor, "hold", hold.reason)

    def _end_hold_of(self, connection: Connection, number: int, now: datetime) -> None:
        ended = end_hold_of(connection, self.node, number)
        if ended is not None:
            reason = f"the rollback of generation {number} did not come into service, so its hold ends"
            self._tell(connection, now, "redirectd", "resume", reason)

    def _tell(
        self,
        connection: Connection,
        now: datetime,
        actor: str,
        action: str,
        reason: str,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        told = {"node": self.node} | dict(detail or {})
        audit.append(connection, audit.AuditEntry(at=now, actor=actor, action=action, reason=reason, detail=told))


def _not_there(number: int | None) -> UsageError:
    return UsageError(
        "rollback",
        "there is no generation before the last one"
        if number is None
        else f"generation {number} is not one that was installed on this node",
        "see `redirectd history` for those that can be reinstalled",
    )


def _whole(outcomes: Sequence[GenerationOutcome]) -> GenerationOutcome:
    for worst in (GenerationOutcome.ROLLED_BACK, GenerationOutcome.INSTALLING, GenerationOutcome.INSTALLED):
        if worst in outcomes:
            return worst
    return GenerationOutcome.VERIFIED
