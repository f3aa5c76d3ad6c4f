"""What the rules make of an answer: a remap to keep, a refusal with its reason, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from redirectd.dialects.frame import Authenticity
from redirectd.sip.text import to_bytes

if TYPE_CHECKING:
    from redirectd.collect.answer import Answer


@dataclass(frozen=True, slots=True)
class Candidate:
    """One Contact that routing could use: its URI without `method` and headers (R16), and what was dropped."""

    uri: str
    key: str
    q: float
    raw: str
    dropped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """A remap that follows from an answer.

    `kind` is user, gateway or registrar (R12); `old_key` is the route key (R24). `flags` hold it for review, by name
    with a reason; `facts` strengthen or explain it (R23). `lifetime` is how long it lasts by its own word, in seconds
    from when it was seen (R18); None for good. `identity` names kind, old key and target: one remap each (R30),
    `old_hash` kind and old key alone.
    """

    answer: Answer
    kind: str
    old_uri: str
    old_key: str
    candidates: tuple[Candidate, ...]
    flags: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    lifetime: int | None = None
    incoming: str | None = None
    identity: str = field(init=False)
    old_hash: str = field(init=False)

    def __post_init__(self) -> None:
        places = sorted({candidate.key for candidate in self.candidates})
        object.__setattr__(self, "identity", digest(self.kind, self.old_key, *places))
        object.__setattr__(self, "old_hash", digest(self.kind, self.old_key))

    def deadline(self, now: datetime) -> datetime | None:
        """When it ends by itself (R18); `now` is used where the log has no time."""
        if self.lifetime is None:
            return None
        return (self.answer.seen_at or now) + timedelta(seconds=self.lifetime)

    @property
    def forked(self) -> bool:
        """Whether the incoming request had been forked: then its URI names several places (R5)."""
        return self.answer.fork.isdigit() and self.answer.fork != "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An answer that makes no remap: the rule that says so, and why in words for a person.

    `unparsed` says that it looked like a permanent move and could not be read: it is kept whole, with its request, as
    `content`, the bytes of the log. `counted_as` names what it is counted under where that is not its URIs.
    """

    answer: Answer
    rule: str
    reason: str
    old_uri: str = ""
    unparsed: bool = False
    content: bytes = b""
    counted_as: str = ""

    @property
    def identity(self) -> str:
        """Names what is counted together."""
        if self.counted_as:
            return digest("refused", self.rule, self.counted_as)
        return digest("refused", self.rule, self.answer.method, self.old_uri, *self.answer.contacts)


Verdict = Learnt | Refused

_DOUBTS = {
    Authenticity.UNPROVEN: ("unproven", "known only from text whose writer or frame is not sure (R40)"),
    Authenticity.UNKEYED: ("unkeyed", "known only from lines without a proof, which a caller may have forged (R39)"),
}

DOUBTFUL = frozenset(name for name, _ in _DOUBTS.values())
"""The flags of what no proven and no surely framed sighting speaks for."""


def doubt(authenticity: Authenticity) -> dict[str, str]:
    """The flag of what is known no better than so, with its reason; empty for what is authentic."""
    name, reason = _DOUBTS.get(authenticity, ("", ""))
    return {name: reason} if name else {}


def digest(*parts: str) -> str:
    """32 hex digits that name the parts in their order."""
    return blake2b(to_bytes("\0".join(parts)), digest_size=16).hexdigest()
