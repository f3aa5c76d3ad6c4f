"""How one source is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Literal, NamedTuple

from redirectd.collect.policy import Policy
from redirectd.dialects import hints
from redirectd.dialects.frame import Dialect
from redirectd.sources.log import Log


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read one source: its name, the dialects in question, the zone of its dates, what to do with 183s.

    `accept_unkeyed` believes records without a proof also where the source has shown proven ones: for archives (R39).
    `family` is the log's family or wrapper where that is decided (R38), and `consoles` the family of each console in
    it that has one: the reader adds to it. `counted` are the byte strings that mark losses (see `hints.loss_literals`).
    `gappy`: the log lacks the empty lines of what its program wrote, as the journal of a console does.
    """

    source: str
    dialects: Sequence[Dialect]
    zone: tzinfo
    policy: Policy
    session_progress: Literal["each", "count"] = "each"
    accept_unkeyed: bool = False
    counted: tuple[bytes, ...] = hints.loss_literals()
    gappy: bool = False
    family: str = ""
    consoles: dict[str, str] = field(default_factory=dict)


class ReadPart(NamedTuple):
    """A log as a program wrote it (a console within a wrapped one, or the whole), how it is read and how far.

    `stamp` gives the time of a place where the log itself has none, as its wrapper wrote it; '' for none.
    """

    log: Log
    reading: Reading
    offset: int
    stamp: Callable[[int], str]
