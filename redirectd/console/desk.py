"""Deciding from afar: on remaps as somebody has seen them, once however often it is sent, and with a way back."""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic

from sqlalchemy import Connection

from redirectd.collect.policy import Policy
from redirectd.collect.verdict import digest
from redirectd.config.model import Config
from redirectd.console.access import DeniedError, Visitor
from redirectd.errors import RedirectdError, UsageError
from redirectd.review.attention import with_attention
from redirectd.review.decide import ChangedError, decide_seen
from redirectd.review.decision import Decision, DecisionOutcome, DecisionStep
from redirectd.review.four_eyes import version, with_approvals
from redirectd.review.holds import with_holds
from redirectd.review.page import QueueCounts, queue_counts
from redirectd.review.undo import set_note, undo_all
from redirectd.sip.text import printable
from redirectd.store import audit, remaps
from redirectd.store.database import Database
from redirectd.store.remap import Remap
from redirectd.store.turns import take_turn

MOST = 500
"""Remaps of one decision: a transaction of a few tenths of a second."""

KEPT_FOR = timedelta(hours=1)
_MOST_STEPS = 20_000
KEPT_COUNTS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """One decision on remaps: by id the version that was seen; `contact` and `replace` are for one remap alone."""

    action: str
    seen: Mapping[int, str]
    reason: str = ""
    contact: int | None = None
    force: bool = False
    replace: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class DeskReply:
    """What came of it: the remaps as they are now, those refused by id, and what `undo` takes; empty for nothing."""

    done: list[Remap]
    refused: Mapping[int, RedirectdError]
    undo: str = ""


@dataclass(slots=True)
class _UndoSteps:
    """What can be taken back in this process: each decision's steps, for an hour, the latest ones."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: OrderedDict[str, tuple[str, datetime, list[DecisionStep]]] = field(default_factory=OrderedDict)

    def put(self, account: str, now: datetime, steps: list[DecisionStep]) -> str:
        """Keeps them; gives their name."""
        name = secrets.token_urlsafe(12)
        with self.lock:
            self.kept[name] = account, now, steps
            while sum(len(one[2]) for one in self.kept.values()) > _MOST_STEPS:
                self.kept.popitem(last=False)
        return name

    def take(self, name: str, account: str, now: datetime) -> list[DecisionStep]:
        """The steps of a name, once. Raises UsageError where there are none of this account."""
        with self.lock:
            owner, at, steps = self.kept.get(name, ("", now, []))
            if owner != account or now - at > KEPT_FOR:
                raise UsageError(
                    "undo",
                    "there is nothing to take back of that name: it was taken back, is over an hour old, or the "
                    "console was restarted",
                    "reopen or revoke the remap",
                )
            del self.kept[name]
            return steps

    def restore(self, name: str, account: str, now: datetime, steps: list[DecisionStep]) -> None:
        """Keeps steps again that could not be taken back."""
        with self.lock:
            self.kept[name] = account, now, steps


class Desk:
    """The database and the policy as the API and the pages use them."""

    def __init__(self, config: Config, database: Database, clock: Callable[[], datetime]) -> None:
        self.config, self.database, self.clock = config, database, clock
        self.policy: Policy = config.rules()
        self._steps = _UndoSteps()
        self._counts: tuple[object, float, QueueCounts] | None = None

    def complete(self, connection: Connection, found: list[Remap]) -> list[Remap]:
        """Remaps with their holds, approvals and what is due, as the commands show them."""
        held = with_approvals(connection, [with_holds(one, self.policy) for one in found], self.policy)
        return with_attention(connection, held, now=self.clock())

    def counts(self, connection: Connection) -> QueueCounts:
        """What there is to review; of many pending remaps worked out anew after each decision, or half a minute."""
        known = audit.written(connection), tuple(remaps.counts(connection).items())
        kept = self._counts
        if kept is None or kept[0] != known or monotonic() - kept[1] > KEPT_COUNTS:
            kept = self._counts = known, monotonic(), queue_counts(connection, self.policy)
        return kept[2]

    def remap(self, connection: Connection, number: int) -> Remap:
        """A remap by id. Raises DeniedError (404) where there is none."""
        found = remaps.get(connection, number) if 0 < number < 2**63 else None
        if found is None:
            raise DeniedError(404, f"there is no remap {number}", "list them: GET /api/v1/remaps")
        return self.complete(connection, [found])[0]

    def decide(self, visitor: Visitor, wanted: Verdicts) -> DeskReply:
        """Takes the decision, all rows in one transaction; each that has changed since it was seen is refused.

        What was sent before by the same account, and is the last that was decided on a remap, counts as done.
        """
        if len(wanted.seen) > MOST:
            raise UsageError("remaps", f"{len(wanted.seen)} are too many at once", f"send at most {MOST}")
        name = self._name(visitor, wanted)
        by = replace(
            self.decision(visitor, wanted.reason),
            contact=wanted.contact,
            force=wanted.force,
            replace=wanted.replace,
        )
        by = replace(by, via={**by.via, "request": name})

        def work(connection: Connection) -> tuple[DecisionOutcome, list[Remap]]:
            take_turn(connection, audit.TURN)
            outcome = decide_seen(connection, wanted.action, wanted.seen, by, self.policy)
            again = [
                number
                for number, error in outcome.refused.items()
                if isinstance(error, ChangedError) and _is_sent_again(connection, number, by)
            ]
            for number in again:
                del outcome.refused[number]
            done = {step.before.id for step in outcome.steps} | set(again)
            return outcome, self.complete(connection, remaps.of_ids(connection, sorted(done)))

        outcome, done = self.database.run(work)
        has_way_back = bool(outcome.steps) and wanted.action != "reopen"
        undo = self._steps.put(visitor.account, by.at, outcome.steps) if has_way_back else ""
        return DeskReply(done, outcome.refused, undo)

    def note(self, visitor: Visitor, number: int, seen: str, text: str) -> DeskReply:
        """Writes a note in place of the one it has. Raises ChangedError."""
        by = self.decision(visitor, text)

        def work(connection: Connection) -> tuple[DecisionStep, Remap]:
            take_turn(connection, audit.TURN)
            if version(self.remap(connection, number)) != seen:
                raise ChangedError(number)
            step = set_note(connection, number, by.reason, by)[1]
            return step, self.remap(connection, number)

        step, found = self.database.run(work)
        return DeskReply([found], {}, self._steps.put(visitor.account, by.at, [step]))

    def undo(self, visitor: Visitor, name: str) -> DeskReply:
        """Takes a decision of the same account back, once; what somebody else decided on meanwhile is refused."""
        by = self.decision(visitor, "")
        steps = self._steps.take(name, visitor.account, by.at)
        numbers = [step.before.id for step in steps]

        def work(connection: Connection) -> tuple[dict[int, RedirectdError], list[Remap]]:
            refused = undo_all(connection, steps, by, self.policy)
            done = [one for one in numbers if one not in refused]
            return refused, self.complete(connection, remaps.of_ids(connection, done))

        try:
            refused, done = self.database.run(work)
        except Exception:
            self._steps.restore(name, visitor.account, by.at, steps)  # the database was away: it may be tried again
            raise
        return DeskReply(done, refused)

    def decision(self, visitor: Visitor, reason: str) -> Decision:
        """A decision of this visitor, now."""
        return Decision(
            actor=visitor.account,
            account=visitor.account,
            at=self.clock(),
            reason=printable(reason.strip(), 500),
            via=visitor.via,
        )

    def _name(self, visitor: Visitor, wanted: Verdicts) -> str:
        """What a decision that is sent twice has in common with itself."""
        parts = [sorted(wanted.seen.items()), wanted.reason, wanted.contact, wanted.force, sorted(wanted.replace)]
        return digest(visitor.account, wanted.action, json.dumps(parts))


def _is_sent_again(connection: Connection, number: int, by: Decision) -> bool:
    """Whether the last decision on a remap is this very one."""
    entries = [one for one in audit.entries_of(connection, number) if one.action != "note"]
    via = entries[-1].detail.get("via") if entries else None
    return isinstance(via, dict) and via.get("request") == by.via["request"]
