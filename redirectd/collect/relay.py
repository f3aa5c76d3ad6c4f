"""R8: the same answer once received and once relayed upstream; the received copy is the authority."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from redirectd.collect.answer import Answer
from redirectd.dialects.frame import Direction

REMEMBERED = 4_096
"""Answers whose copies are known again: they follow within a moment."""

MAX_COPIES = 64
"""Copies of one answer that are kept apart: each is a hop of its way or a branch of its fork."""

End = tuple[str, int | None]


@dataclass(slots=True)
class Copy:
    """One copy of an answer. `vias` name its way back, top first; `move_key` is what it was counted as."""

    vias: tuple[int, ...]
    sender: End | None
    receiver: End | None
    event_key: str
    move_key: str


class Relays:
    """Knows an answer that it has met on another hop of its way.

    The Vias of a relayed copy are those of the received one without the first. Where a host hides them (topos), the
    sender of the relayed copy is the receiver of the other, in logs that tell both ends and no direction.
    """

    def __init__(self) -> None:
        self._copies: OrderedDict[int, list[Copy]] = OrderedDict()
        self._taken_back: list[tuple[list[Copy], Copy]] = []  # since the last commit

    def is_relayed(self, answer: Answer) -> bool:
        """Whether a copy nearer to the answering side has been met; else this one is remembered."""
        copies = self._of(answer)
        copy = _copy(answer)
        if any(_follows(copy, known) for known in copies):
            return True
        known = next((one for one in copies if one.vias == copy.vias and one.sender == copy.sender), None)
        if known is None and len(copies) < MAX_COPIES:
            copies.append(copy)
        return False

    def has_longer(self, call_id: str, cseq: int, method: str, status: int) -> bool:
        """Whether an answer with a single Via is the relayed copy of a known one with more of them."""
        copies = self._copies.get(_key(call_id, cseq, method, status), ())
        return any(len(copy.vias) > 1 for copy in copies)

    def counted(self, answer: Answer) -> None:
        """Says as what the answer is counted, now that its request is known."""
        copy = _copy(answer)
        for known in self._of(answer):
            if known.vias == copy.vias and known.sender == copy.sender:
                known.move_key = answer.move_key

    def overtaken(self, answer: Answer) -> list[Copy]:
        """The copies that turn out to be relayed ones of `answer`, though they stood before it; each is told once."""
        copies = self._of(answer)
        copy = _copy(answer)
        late = [one for one in copies if _follows(one, copy)]
        for one in late:
            copies.remove(one)
            self._taken_back.append((copies, one))
        return late

    def confirm(self) -> None:
        """Says that what was taken back is so in the database, too."""
        self._taken_back.clear()

    def undo(self) -> None:
        """Brings back what was taken back since `confirm`: it is to be taken back again."""
        for copies, one in reversed(self._taken_back):
            copies.append(one)
        self._taken_back.clear()

    def _of(self, answer: Answer) -> list[Copy]:
        key = _key(answer.call_id, answer.cseq, answer.method, answer.status)
        copies = self._copies.setdefault(key, [])
        self._copies.move_to_end(key)
        while len(self._copies) > REMEMBERED:
            self._copies.popitem(last=False)
        return copies


def _key(call_id: str, cseq: int | None, method: str, status: int) -> int:
    return hash((call_id, cseq, method, status))


def _copy(answer: Answer) -> Copy:
    vias = answer.response.vias[:MAX_COPIES] if answer.response is not None else []
    undirected = answer.direction is Direction.UNKNOWN and answer.peer is not None and answer.local is not None
    return Copy(
        vias=tuple(hash(via.branch or via.sent_by) for via in vias),
        sender=(answer.peer.address, answer.peer.port) if undirected and answer.peer else None,
        receiver=(answer.local.address, answer.local.port) if undirected and answer.local else None,
        event_key=answer.event_key,
        move_key=answer.move_key,
    )


def _follows(copy: Copy, known: Copy) -> bool:
    """Whether `copy` is `known` relayed further."""
    if copy.vias and known.vias and copy.vias[-1] == known.vias[-1]:
        return len(copy.vias) < len(known.vias) and known.vias[-len(copy.vias) :] == copy.vias
    return copy.sender is not None and copy.sender == known.receiver and copy.vias != known.vias
