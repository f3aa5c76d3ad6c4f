"""Reads a log stretch by stretch into batches: scan, pair, drop repetitions, judge."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from redirectd.collect.answer import WEAK, WHOLE, Answer, from_messages, from_record
from redirectd.collect.batch import Batch, Quarantined, better, both
from redirectd.collect.pair import find_request
from redirectd.collect.progress import session_progress
from redirectd.collect.relay import Copy, Relays
from redirectd.collect.rules import judge
from redirectd.collect.scan import Block, Scanner, Told
from redirectd.config.policy import Policy
from redirectd.dialects.frame import Dialect, Direction, Frame, Record, Unreadable
from redirectd.dialects.registry import literals
from redirectd.dialects.stamps import parse_stamp
from redirectd.sip.message import MessageError, Response, parse_message
from redirectd.sip.text import printable, to_text
from redirectd.sources.log import Log

REMEMBERED = 65_536
"""Answers remembered to drop their repetitions without asking the database."""

MAX_EVIDENCE = 8_192
"""Bytes of a record that are kept as evidence."""

MAX_QUARANTINE = 65_536
"""Bytes of an unreadable record that are kept."""

_LONGER_STATUS = re.compile(rb"[\r\n]*+SIP/2\.0 (?:301|183)\d")


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read one source: its name, the dialects in question, the zone of its dates, what to do with 183s."""

    source: str
    dialects: Sequence[Dialect]
    zone: tzinfo
    policy: Policy
    session_progress: Literal["each", "count"] = "each"


class Reader:
    """Reads one log from an offset on. `read` adds a stretch to a batch; `offset` is the position behind it."""

    def __init__(self, log: Log, reading: Reading, *, clock: Callable[[], datetime], offset: int = 0) -> None:
        self.reading = reading
        self.log = log
        self._clock = clock
        self._scanner = Scanner(log, reading.dialects, literals(reading.dialects, (301, 183)), offset=offset)
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._unconfirmed: list[tuple[str, int | None]] = []
        self._relays = Relays()
        self._progress: dict[str, tuple[int, bool]] = {}  # of this stretch: place in the batch, told by a message

    @property
    def offset(self) -> int:
        """First byte not dealt with yet."""
        return self._scanner.offset

    def follow(self, log: Log, offset: int) -> None:
        """Goes on in another file of the same source; what was seen stays remembered."""
        self.log = log
        self._scanner.log = log
        self._scanner.offset = offset

    def confirm(self) -> None:
        """Says that everything read so far is committed."""
        self._unconfirmed.clear()
        self._relays.confirm()

    def undo(self, log: Log, offset: int) -> None:
        """Goes back to a confirmed offset: what was read since was not committed and counts when it comes again."""
        for key, rank in reversed(self._unconfirmed):
            if rank is None:
                self._seen.pop(key, None)
            else:
                self._seen[key] = rank
        self._unconfirmed.clear()
        self._relays.undo()
        self.follow(log, offset)

    def read(self, batch: Batch, *, final: bool) -> bool:
        """Adds the next stretch to `batch`; false where nothing new is there (see `Scanner.next_block`)."""
        begin = self._scanner.offset
        block = self._scanner.next_block(final=final)
        if block is None:
            return False
        batch.read += block.end - begin
        self._progress.clear()
        now = self._clock().replace(minute=0, second=0, microsecond=0)
        for told, dialect in block.found:
            self._take(block, told, dialect, batch, now)
        return True

    def _take(self, block: Block, told: Told, dialect: Dialect, batch: Batch, now: datetime) -> None:
        position = block.base + told.start
        if isinstance(told, Unreadable):
            self._quarantine(batch, block, told.start, told.end, told.dialect, told.why)
            return
        seen_at = parse_stamp(told.stamp, self.reading.zone, now) if told.stamp else None
        if isinstance(told, Record):
            if told.status in {301, 183}:
                text = _evidence(block.window[told.start : told.end])
                self._add(batch, from_record(told, position=position, seen_at=seen_at, text=text))
            return
        if told.direction is Direction.SENT:
            return  # what this host answers itself or relays (R8)
        try:
            message = parse_message(told.payload)
        except MessageError as error:
            if _LONGER_STATUS.match(told.payload):
                return  # R2: a status of more than three digits is nothing
            self._quarantine(batch, block, told.start, told.end, told.dialect, str(error))
            return
        if not isinstance(message, Response) or message.status not in {301, 183}:
            return
        if message.call_id is None or message.cseq is None:
            if message.status == 301:
                why = "the answer has no readable Call-ID and CSeq"
                self._quarantine(batch, block, told.start, told.end, told.dialect, why)
            return
        self._take_response(batch, block, told, dialect, message, position, seen_at)

    def _take_response(
        self,
        batch: Batch,
        block: Block,
        frame: Frame,
        dialect: Dialect,
        response: Response,
        position: int,
        seen_at: datetime | None,
    ) -> None:
        text = _evidence(frame.payload)
        unpaired = from_messages(frame, response, None, position=position, seen_at=seen_at, text=text)
        if self._relays.is_relayed(unpaired):
            return
        for copy in self._relays.overtaken(unpaired):
            self._retract(batch, copy)
        if self._seen.get(unpaired.event_key) == WHOLE:
            if self._adds(batch, unpaired):
                self._add(batch, unpaired)
            return
        if response.status == 183 and self.reading.session_progress == "count":
            self._add(batch, unpaired)
            return
        request = find_request(self.log, block, frame, response, dialect)
        answer = (
            unpaired
            if request is None
            else from_messages(frame, response, request, position=position, seen_at=seen_at, text=text)
        )
        self._relays.counted(answer)
        self._add(batch, answer)

    def _adds(self, batch: Batch, answer: Answer) -> bool:
        """Whether a message can add to what only a line has told so far in this stretch."""
        if answer.status == 183:
            return not self._progress.get(answer.event_key, (0, True))[1]
        known = batch.verdicts.get(answer.event_key)
        return known is not None and known.answer.response is None

    def _retract(self, batch: Batch, copy: Copy) -> None:
        """Takes back a relayed copy that stood before the received one (R8)."""
        self._remember(copy.event_key, None)
        batch.verdicts.pop(copy.event_key, None)
        batch.retracted.add(copy.move_key)

    def _add(self, batch: Batch, answer: Answer) -> None:
        key = answer.event_key
        known = self._seen.get(key)
        if answer.status == 183:
            self._add_progress(batch, answer, is_new=known is None)
        elif known is None or known < answer.rank or key in batch.verdicts:
            self._judge(batch, answer)
        self._remember(key, answer.rank if known is None else max(known, answer.rank))

    def _add_progress(self, batch: Batch, answer: Answer, *, is_new: bool) -> None:
        key, by_message = answer.event_key, answer.response is not None
        at, known_by_message = self._progress.get(key, (-1, by_message))
        if is_new:
            self._progress[key] = (len(batch.progress), by_message)
            batch.progress.append(session_progress(answer))
        elif known_by_message is not by_message:
            batch.progress[at] = both(batch.progress[at], session_progress(answer))
            self._progress[key] = (at, True)

    def _judge(self, batch: Batch, answer: Answer) -> None:
        key = answer.event_key
        earlier = batch.verdicts.get(key)
        if earlier is not None:
            improved = better(earlier.answer, answer)
            if improved is None:
                return
            answer = improved
        if answer.rank == WEAK and self._seen.get(f"call {answer.call_key}"):
            return  # a full telling of the same call says more
        verdict = judge(answer, self.reading.policy)
        if verdict is None:
            return
        batch.verdicts[key] = verdict
        self._remember(key, answer.rank)
        if answer.rank != WEAK:
            self._remember(f"call {answer.call_key}", 1)
            batch.verdicts.pop(answer.call_key, None)

    def _remember(self, key: str, rank: int | None) -> None:
        """Keeps the rank of what a key names; None forgets it."""
        known = self._seen.get(key)
        if known == rank:
            return
        self._unconfirmed.append((key, known))
        if rank is None:
            del self._seen[key]
            return
        self._seen[key] = rank
        self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _quarantine(self, batch: Batch, block: Block, start: int, end: int, dialect: str, why: str) -> None:
        content = bytes(block.window[start : min(end, start + MAX_QUARANTINE)])
        batch.quarantined.append(Quarantined(block.base + start, dialect, why, content))


def _evidence(raw: bytes | bytearray) -> str:
    lines = to_text(bytes(raw[:MAX_EVIDENCE])).replace("\r\n", "\n").split("\n")
    return "\n".join(printable(line, MAX_EVIDENCE) for line in lines)
