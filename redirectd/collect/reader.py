"""Reads a log stretch by stretch into batches: scan, pair, drop repetitions, judge."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from redirectd.collect.answer import WEAK, WHOLE, Answer, from_messages, from_record
from redirectd.collect.batch import Batch, Quarantined, better
from redirectd.collect.pair import find_request
from redirectd.collect.progress import session_progress
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
        self._receivers: OrderedDict[str, set[tuple[str, int | None]]] = OrderedDict()

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

    def undo(self, log: Log, offset: int) -> None:
        """Goes back to a confirmed offset: what was read since was not committed and counts when it comes again."""
        for key, rank in reversed(self._unconfirmed):
            if rank is None:
                self._seen.pop(key, None)
            else:
                self._seen[key] = rank
        self._unconfirmed.clear()
        self.follow(log, offset)

    def read(self, batch: Batch, *, final: bool) -> bool:
        """Adds the next stretch to `batch`; false where nothing new is there (see `Scanner.next_block`)."""
        begin = self._scanner.offset
        block = self._scanner.next_block(final=final)
        if block is None:
            return False
        batch.read += block.end - begin
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
                self._add(batch, block, told, from_record(told, position=position, seen_at=seen_at, text=text))
            return
        if told.direction is Direction.SENT:
            return  # what this host answers itself or relays (R8)
        try:
            message = parse_message(told.payload)
        except MessageError as error:
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
        if self._seen.get(unpaired.event_key) == WHOLE or self._is_relayed(unpaired):
            return
        if response.status == 183 and self.reading.session_progress == "count":
            self._add(batch, block, frame, unpaired)
            return
        request = find_request(self.log, block, frame, response, dialect)
        answer = (
            unpaired
            if request is None
            else from_messages(frame, response, request, position=position, seen_at=seen_at, text=text)
        )
        self._add(batch, block, frame, answer)

    def _is_relayed(self, answer: Answer) -> bool:
        """R8 where the log tells no direction: the sender had received this answer itself a moment ago."""
        if answer.direction is not Direction.UNKNOWN or answer.peer is None or answer.local is None:
            return False
        key = f"{answer.call_key} {answer.cseq} {answer.method} {answer.status}"
        receivers = self._receivers.setdefault(key, set())
        self._receivers.move_to_end(key)
        while len(self._receivers) > REMEMBERED:
            self._receivers.popitem(last=False)
        if (answer.peer.address, answer.peer.port) in receivers:
            return True
        receivers.add((answer.local.address, answer.local.port))
        return False

    def _add(self, batch: Batch, block: Block, told: Frame | Record, answer: Answer) -> None:
        key = answer.event_key
        known = self._seen.get(key)
        if known is not None and (known >= answer.rank or answer.status == 183) and key not in batch.verdicts:
            return
        self._remember(key, answer.rank)
        if answer.status == 183:
            if known is None:
                batch.progress.append(session_progress(answer))
            return
        self._judge(batch, block, told, answer)

    def _judge(self, batch: Batch, block: Block, told: Frame | Record, answer: Answer) -> None:
        key = answer.event_key
        earlier = batch.verdicts.get(key)
        if earlier is not None:
            improved = better(earlier.answer, answer)
            if improved is None:
                return
            answer = improved
            self._remember(key, answer.rank)
        if answer.rank == WEAK and self._seen.get(f"call {answer.call_key}"):
            return  # a full telling of the same call says more
        verdict = judge(answer, self.reading.policy)
        if verdict is None:
            return
        batch.verdicts[key] = verdict
        if answer.rank != WEAK:
            self._remember(f"call {answer.call_key}", 1)
            batch.verdicts.pop(answer.call_key, None)

    def _remember(self, key: str, rank: int) -> None:
        self._unconfirmed.append((key, self._seen.get(key)))
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
