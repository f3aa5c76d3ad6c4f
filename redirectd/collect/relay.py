"""R8: the same answer once received and once relayed upstream; the received copy is the authority."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from redirectd.collect.answer import Answer
from redirectd.dialects.frame import Direction, Peer

REMEMBERED = 4_096
"""Answers whose copies are known again: they follow within a moment."""

MAX_COPIES = 64
"""Copies of one answer that are kept apart: each is a hop of its way or a branch of its fork."""

End = tuple[str, int | None]


@dataclass(slots=True)
class Copy:
    """One copy of an answer to `transaction`. `vias` name its way back, top first; `move_key` is what it counts as.

    `sender` and `receiver` are set where a log has both ends of its way and no direction. A relayed copy is not
    `counted`; the next hop's is known by it where the Vias are hidden.
    """

    transaction: int
    vias: tuple[int, ...]
    sender: End | None
    receiver: End | None
    event_key: str
    move_key: str
    counted: bool = True


class Relays:
    """Knows an answer that it has met on another hop of its way.

    The Vias of a relayed copy are those of the received one without the first. Where a host hides them (topos), the
    sender of the relayed copy is the receiver of the other, in logs that have both ends and no direction.
    """

    def __init__(self) -> None:
        self._copies: OrderedDict[int, list[Copy]] = OrderedDict()
        self._taken_back: list[Copy] = []  # since the last commit

    def is_relayed(self, copy: Copy) -> bool:
        """Whether a copy nearer to the answering side has been met; this one is remembered."""
        copies = self._of(copy)
        copy.counted = not any(_follows(copy, known) for known in copies)
        if not any(_is_same(one, copy) for one in copies) and len(copies) < MAX_COPIES:
            copies.append(copy)
        return not copy.counted

    def has_longer(self, call_id: str, cseq: int, method: str, status: int) -> bool:
        """Whether an answer with a single Via is the relayed copy of a known one with more of them."""
        copies = self._copies.get(transaction(call_id, cseq, method, status))
        return copies is not None and any(len(copy.vias) > 1 for copy in copies)

    def counted(self, copy: Copy, move_key: str) -> None:
        """Says as what the answer counts, now that its request is known."""
        for known in self._of(copy):
            if _is_same(known, copy):
                known.move_key = move_key

    def overtakes(self, copy: Copy) -> bool:
        """Whether there are counted copies that turn out to be relayed ones of this, though they came before it."""
        return any(_is_late(one, copy) for one in self._of(copy))

    def overtaken(self, copy: Copy) -> list[Copy]:
        """Those copies; each is reported once."""
        late = [one for one in self._of(copy) if _is_late(one, copy)]
        for one in late:
            one.counted = False
        self._taken_back += late
        return late

    def confirm(self) -> None:
        """Says that what was taken back is so in the database, too."""
        self._taken_back.clear()

    def undo(self) -> None:
        """Brings back what was taken back since `confirm`: it is to be taken back again."""
        for one in self._taken_back:
            one.counted = True
        self._taken_back.clear()

    def _of(self, copy: Copy) -> list[Copy]:
        copies = self._copies.setdefault(copy.transaction, [])
        self._copies.move_to_end(copy.transaction)
        while len(self._copies) > REMEMBERED:
            self._copies.popitem(last=False)
        return copies


def transaction(call_id: str, cseq: int | None, method: str, status: int) -> int:
    """Names the transaction and what it was answered, for this process."""
    return hash((call_id, cseq, method, status))


def copy_of(answer: Answer) -> Copy:
    """The copy of an answer that a message is."""
    vias = answer.response.vias[:MAX_COPIES] if answer.response is not None else []
    undirected = answer.direction is Direction.UNKNOWN and answer.peer is not None and answer.local is not None
    return Copy(
        transaction=transaction(answer.call_id, answer.cseq, answer.method, answer.status),
        vias=tuple(hash(via.branch or via.sent_by) for via in vias),
        sender=end_of(answer.peer) if undirected else None,
        receiver=end_of(answer.local) if undirected else None,
        event_key=answer.event_key,
        move_key=answer.move_key,
    )


def end_of(peer: Peer | None) -> End | None:
    """One end of a copy's way."""
    return (peer.address, peer.port) if peer else None


def _is_same(copy: Copy, other: Copy) -> bool:
    return copy.vias == other.vias and copy.sender == other.sender


def _follows(copy: Copy, known: Copy) -> bool:
    """Whether `copy` is `known` relayed further."""
    if copy.vias and known.vias and copy.vias[-1] == known.vias[-1]:
        return len(copy.vias) < len(known.vias) and known.vias[-len(copy.vias) :] == copy.vias
    return copy.sender is not None and copy.sender == known.receiver and copy.vias != known.vias


def _is_late(known: Copy, copy: Copy) -> bool:
    """Whether a copy that was counted is `copy` relayed further; of two that seem to follow each other the first is."""
    return known.counted and _follows(known, copy) and not _follows(copy, known)
