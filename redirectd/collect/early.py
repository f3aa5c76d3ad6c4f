"""183s, counted or reported one by one, most of them by a short way: they are many and decide nothing (R3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from itertools import islice

from redirectd.collect.answer import UNPAIRED, WHOLE, Answer, event_key, fork_of
from redirectd.collect.batch import Batch, SessionProgress, both
from redirectd.collect.branches import Branches
from redirectd.collect.pair import MAX_TRIES, glimpsing_calls, needle_of, places
from redirectd.collect.progress import plain_progress, session_progress
from redirectd.collect.relay import Copy, Relays, end_of, transaction
from redirectd.collect.remembered import Remembered
from redirectd.collect.scan import Block
from redirectd.dialects.frame import Dialect, Direction, Frame, Glimpse, Heard, Hearing
from redirectd.dialects.plain import Identity, Plain, early_media, plain_request
from redirectd.dialects.stamps import parse_stamp
from redirectd.sip.message import MessageError, Request, parse_message
from redirectd.sip.text import to_text
from redirectd.sources.log import Log


class EarlyMedia:
    """The 183s of one reader, by what it remembers. `counting`: no more than their number is asked for."""

    def __init__(
        self,
        dialects: Sequence[Dialect],
        zone: tzinfo,
        seen: Remembered,
        relays: Relays,
        branches: Branches,
        *,
        counting: bool,
    ) -> None:
        """`zone` is that of the log's times."""
        self._hearing = {one.name: one for one in dialects if isinstance(one, Hearing)}
        self._zone = zone
        self._seen = seen
        self._relays = relays
        self._branches = branches
        self._counting = counting
        self._unsent: dict[str, tuple[int, bool]] = {}  # not handed on yet: place in the batch, seen in a message
        self._times: dict[str, datetime | None] = {}  # that were read in this stretch
        self._progress: list[SessionProgress] = []

    def begin(self, batch: Batch) -> None:
        """A new stretch: what was reported before it may have been handed on."""
        if batch.progress is not self._progress or not batch.progress:
            self._progress = batch.progress
            self._unsent.clear()
            self._times.clear()

    def waits_for_message(self, key: str) -> bool:
        """Whether only a line has reported a 183 in this stretch: a message adds its SDP."""
        return self._is_unsent(key, by_message=False)

    def _is_unsent(self, key: str, *, by_message: bool) -> bool:
        held = self._unsent.get(key)
        return held is not None and held[1] is by_message

    def add(self, batch: Batch, answer: Answer, *, is_new: bool) -> None:
        """Takes one that was read the ordinary way; `is_new`: it was not remembered."""
        key, by_message = answer.event_key, answer.response is not None
        if self._counting:
            batch.counted_progress += is_new
            return
        at, known_by_message = self._unsent.get(key, (-1, by_message))
        if is_new:
            self._unsent[key] = (len(batch.progress), by_message)
            batch.progress.append(session_progress(answer))
        elif known_by_message is not by_message:
            batch.progress[at] = both(batch.progress[at], session_progress(answer))
            self._unsent[key] = (at, True)

    def take_glimpse(
        self, batch: Batch, log: Log, block: Block, glimpse: Glimpse, dialect: Dialect, now: datetime
    ) -> bool:
        """Takes one that was recognized at a glance; false where it needs the ordinary way."""
        by_message = glimpse.message >= 0
        key = self._key(glimpse.identity, by_record=not by_message)
        if key is None:
            return False
        if self._counting:
            batch.counted_progress += self._seen.add(key, UNPAIRED)
            return True
        if self._seen.rank(key) is not None:
            return not self._is_unsent(key, by_message=not by_message)
        heard = self._hearing[dialect.name].heard(block.window, glimpse)
        if heard is None:
            return False
        spot = glimpse.start, glimpse.end
        uri = self._asked_uri(log, block, spot, glimpse.identity, dialect) if by_message else heard.request_uri
        seen_at = self._time(heard.stamp, now)
        self._tell(batch, key, plain_progress(glimpse.identity, heard, uri, seen_at), by_message=by_message)
        return True

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
        if frame.direction is Direction.UNKNOWN and frame.local is not None:
            return self._counting and frame.peer is not None and self._count_undirected(batch, key, plain, frame)
        if self._counting:
            batch.counted_progress += self._seen.add(key, UNPAIRED)
            return True
        if self._seen.rank(key) is not None:
            return not self.waits_for_message(key)
        media = early_media(frame.payload, 0, plain.body, len(frame.payload))
        heard = Heard(None, str(frame.peer) if frame.peer else "", frame.stamp, *media)
        uri = self._asked_uri(log, block, (frame.start, frame.end), plain.identity, dialect)
        self._tell(batch, key, plain_progress(plain.identity, heard, uri, seen_at), by_message=True)
        return True

    def _tell(self, batch: Batch, key: str, progress: SessionProgress, *, by_message: bool) -> None:
        self._unsent[key] = (len(batch.progress), by_message)
        batch.progress.append(progress)
        self._seen.remember(key, WHOLE if progress.request_uri else UNPAIRED)

    def _count_undirected(self, batch: Batch, key: str, plain: Plain, frame: Frame) -> bool:
        """Counts one that a log shows with both ends of its way: it can be on its way further (R8)."""
        identity = plain.identity
        copy = Copy(
            transaction=transaction(to_text(identity.call_id), identity.cseq, identity.method.decode(), 183),
            vias=(hash(identity.branch.decode()),),
            sender=end_of(frame.peer),
            receiver=end_of(frame.local),
            event_key=key,
            move_key=key,
        )
        if self._relays.overtakes(copy):
            return False
        if not self._relays.is_relayed(copy):
            batch.counted_progress += self._seen.add(key, UNPAIRED)
        return True

    def _asked_uri(
        self, log: Log, block: Block, spot: tuple[int, int], identity: Identity, dialect: Dialect
    ) -> str | None:
        """The Request-URI of the request that the 183 at `spot` answers; None where the log does not show it (R7)."""
        needle = needle_of(identity.branch, identity.call_id, dialect)
        glimpsing = glimpsing_calls(dialect)
        for window, _, at in islice(places(log, block, spot, needle, self._branches), MAX_TRIES):
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

    def _time(self, stamp: str, now: datetime) -> datetime | None:
        if stamp not in self._times:
            self._times[stamp] = parse_stamp(stamp, self._zone, now) if stamp else None
        return self._times[stamp]

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
