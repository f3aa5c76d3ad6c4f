"""A person's decision, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from redirectd.errors import RedirectdError
from redirectd.store.remap import Remap


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decides, when and why.

    `account` is that of the person as the system vouches for it, None where no person decides (automatic approval,
    import). For an approval also which Contact (1 is the first in q order), whether it is forced past holds, and which
    approved remaps that contradict it may be superseded (R44). `alone` names the incoming URIs that an approval which
    is restored had to itself, as its audit entry has them: they stay so (R44). `via` is what the audit keeps of the way
    it came by, such as the console's token and address.
    """

    actor: str
    at: datetime
    account: str | None = None
    via: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    contact: int | None = None
    force: bool = False
    replace: frozenset[int] = frozenset()
    alone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DecisionStep:
    """What was done to one remap, for the way back: `before` is the remap as it was.

    `action` is approve, reject, revoke, reopen, expire, confirm or note. `replaced` are the remaps that an approval
    superseded, as they were. `done` is when it was and who did it, `note` the text of a note: where the remap has
    another by now, somebody else was there since.
    """

    action: str
    before: Remap
    replaced: Sequence[Remap] = ()
    done: tuple[datetime, str] | None = None
    note: str | None = None


@dataclass(slots=True)
class DecisionOutcome:
    """What a decision on many came to: a step for each that it was done to, and for each other one why not, by id."""

    steps: list[DecisionStep] = field(default_factory=list)
    refused: dict[int, RedirectdError] = field(default_factory=dict)
