"""183s, counted or told of one by one, most of them by a short way: they are many and decide nothing (R3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from redirectd.collect.answer import UNPAIRED, WHOLE, Answer, event_key, fork_of
from redirectd.collect.batch import Batch, both
from redirectd.collect.branches import Branches
from redirectd.collect.pair import MAX_TRIES, needle_of, places
from redirectd.collect.progress import plain_progress, session_progress
from redirectd.collect.relay import Relays
from redirectd.collect.remembered import Remembered
from redirectd.collect.scan import Block
from redirectd.dialects.frame import Dialect, Direction, Frame, Framed, Glimpse, GlimpsingCalls
from redirectd.dialects.plain import Identity, Plain, plain_request
from redirectd.sip.message import MessageError, Request, parse_message
from redirectd.sip.text import to_text
from redirectd.sources.log import Log


class EarlyMedia:
    """The 183s of one reader, by what it remembers. `counting`: no more than their number is asked for."""

    def __init__(
        self, dialects: Sequence[Dialect], seen: Remembered, relays: Relays, branches: Branches, *, counting: bool
    ) -> None:
        self._glimpsing = {one.name: one for one in dialects if isinstance(one, GlimpsingCalls)}
        self._seen = seen
        self._relays = relays
        self._branches = branches
        self._counting = counting
        self._told: dict[str, tuple[int, bool]] = {}  # of this stretch: place in the batch, told by a message

    def begin(self) -> None:
        """A new stretch: what was told before it is given away."""
        self._told.clear()

    def waits_for_message(self, key: str) -> bool:
        """Whether only a line has told of a 183 in this stretch: a message adds its SDP."""
        return not self._told.get(key, (0, True))[1]

    def add(self, batch: Batch, answer: Answer, *, is_new: bool) -> None:
        """Takes one that was read the ordinary way; `is_new`: it was not remembered."""
        key, by_message = answer.event_key, answer.response is not None
        if self._counting:
            batch.counted_progress += is_new
            return
        at, known_by_message = self._told.get(key, (-1, by_message))
        if is_new:
            self._told[key] = (len(batch.progress), by_message)
            batch.progress.append(session_progress(answer))
        elif known_by_message is not by_message:
            batch.progress[at] = both(batch.progress[at], session_progress(answer))
            self._told[key] = (at, True)

    def count(self, batch: Batch, glimpse: Glimpse) -> bool:
        """Counts one by its identity alone; false where that is not enough."""
        key = self._key(glimpse.identity, by_record=glimpse.message < 0) if self._counting else None
        if key is not None and self._seen.rank(key) is None:
            batch.counted_progress += 1
            self._seen.remember(key, UNPAIRED)
        return key is not None

    def whole(self, block: Block, glimpse: Glimpse, dialect: Dialect) -> Framed:
        """All of what was told at a glance."""
        glimpsing = self._glimpsing.get(dialect.name)
        if glimpsing is not None:
            return glimpsing.whole(block.window, glimpse)
        return dialect.frame(block.window, glimpse.start, final=True)

    def take(
        self,
        batch: Batch,
        log: Log,
        block: Block,
        frame: Frame,
        dialect: Dialect,
        plain: Plain,
        seen_at: datetime | None,
    ) -> bool:
        """Takes a plain one; false where it needs the ordinary way."""
        key = self._key(plain.identity)
        if key is None:
            return False
        if self._seen.rank(key) is not None:
            return not self.waits_for_message(key)
        if self._counting:
            batch.counted_progress += 1
            self._seen.remember(key, UNPAIRED)
            return True
        uri = self._asked_uri(log, block, frame, plain.identity, dialect)
        self._told[key] = (len(batch.progress), True)
        batch.progress.append(plain_progress(frame.payload, plain, uri, frame.peer, seen_at))
        self._seen.remember(key, UNPAIRED if uri is None else WHOLE)
        return True

    def _asked_uri(self, log: Log, block: Block, frame: Frame, identity: Identity, dialect: Dialect) -> str | None:
        """The Request-URI of the request that a 183 answers; None where the bounded stretch does not hold it (R7)."""
        needle = needle_of(identity.branch.decode(), to_text(identity.call_id), dialect)
        glimpsing = self._glimpsing.get(dialect.name)
        for window, _, at in islice(places(log, block, frame, needle, self._branches), MAX_TRIES):
            plain = glimpsing.glimpse_request(window, at) if glimpsing else None
            if plain is None:
                framed = dialect.frame(window, at, final=True)
                if not isinstance(framed, Frame) or framed.direction is Direction.RECEIVED:
                    continue
                plain = plain_request(framed.payload)
                if plain is None and (uri := _uri_of(framed.payload, identity)) is not None:
                    return uri
            if plain is not None and plain.identity == identity:
                return to_text(plain.uri)
        return None

    def _key(self, identity: Identity, *, by_record: bool = False) -> str | None:
        """What names it; None where it can be the relayed copy of what was met nearer to the answering side (R8)."""
        call_id, method, cseq = to_text(identity.call_id), identity.method.decode(), identity.cseq
        if not by_record and self._relays.has_longer(call_id, cseq, method, 183):
            return None
        return event_key(call_id, cseq, method, fork_of(identity.branch.decode()), 183)


def _uri_of(message: bytes, identity: Identity) -> str | None:
    """The Request-URI if this is the request of that transaction, though it is not plain."""
    try:
        request = parse_message(message)
    except MessageError:
        return None
    method, via = identity.method.decode(), request.top_via
    if not isinstance(request, Request) or request.method != method or request.cseq != (identity.cseq, method):
        return None
    if request.call_id != to_text(identity.call_id) or (via is not None and via.branch != identity.branch.decode()):
        return None
    return request.uri_text
