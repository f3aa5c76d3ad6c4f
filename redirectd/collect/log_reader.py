"""Reads a log stretch by stretch into batches: scan, pair, drop repetitions, judge."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from redirectd.collect.answer import (
    BEST,
    WEAK,
    WHOLE,
    Answer,
    from_messages,
    from_record,
)
from redirectd.collect.batch import Batch, Quarantined, better
from redirectd.collect.branches import Branches
from redirectd.collect.early import EarlyMedia
from redirectd.collect.keyed import Keyed
from redirectd.collect.losses import AMBIGUOUS_FRAME, CUT_SHORT, FORGED, WITHIN_MESSAGE, told_losses
from redirectd.collect.observer import Observer, PlaceOutcome, PlaceReporter, Spot
from redirectd.collect.pair import find_request
from redirectd.collect.reading import Reading, ReadPart
from redirectd.collect.registrations import Registrations
from redirectd.collect.relay import Copy, Relays, copy_of
from redirectd.collect.remembered import Remembered
from redirectd.collect.rules import judge
from redirectd.collect.scan import Block, LoggedEntry, Scanner
from redirectd.collect.traffic import of_every_message
from redirectd.collect.unframed import unframed_answer
from redirectd.collect.verdict import Learnt, Refused
from redirectd.dialects.frame import (
    Dialect,
    Direction,
    Frame,
    Glimpse,
    Glimpsing,
    Hearing,
    Incomplete,
    Record,
    Unreadable,
)
from redirectd.dialects.kamailio_record import LINE_CUT
from redirectd.dialects.plain import plain_183
from redirectd.dialects.registry import literals
from redirectd.dialects.stamps import parse_stamp
from redirectd.sip.message import MessageError, Response, parse_message
from redirectd.sip.text import printable, to_text
from redirectd.sources.log import Log

MAX_EVIDENCE = 8_192
"""Bytes of a record that are kept as evidence."""

_AGAIN = "the same answer again: a retransmission, or another logger's copy"
_LONGER_STATUS = re.compile(rb"[\r\n]*+SIP/2\.0 (?:301|183)\d")


class LogReader:
    """Reads one log from an offset on. `read` adds a stretch to a batch; `offset` is the position behind it."""

    def __init__(
        self,
        log: Log,
        reading: Reading,
        *,
        clock: Callable[[], datetime],
        offset: int = 0,
        observer: Observer | None = None,
        proven: bool = False,
        stamps: Callable[[int], str] = lambda _position: "",
    ) -> None:
        """`observer` receives what each place was read as; it changes nothing. `proven`: see `Keyed`.

        `stamps` gives the time as written of a place where the log itself has none.
        """
        self.reading = reading
        self.log = log
        self._clock = clock
        searched = literals(reading.dialects, (301, 183))
        self._plainly = observer is None
        counting = reading.session_progress == "count" and observer is None
        glimpsing = None if observer is not None else Glimpsing if counting else Hearing
        self._scanner = Scanner(
            log,
            reading.dialects,
            searched,
            counted=reading.counted,
            offset=offset,
            glimpsing=glimpsing,
            every=() if observer is None else of_every_message(reading.dialects),
            gappy=reading.gappy,
        )
        self._report = PlaceReporter(observer)
        self._stamps = stamps
        self._seen = Remembered()
        self._relays = Relays()
        self._branches = Branches()
        self._registrations = Registrations()
        self._by_name = {one.name: one for one in reading.dialects}
        self._keyed = Keyed(reading.zone, proven=proven, accept_unkeyed=reading.accept_unkeyed)
        self._early = EarlyMedia(
            reading.dialects, reading.zone, self._seen, self._relays, self._branches, counting=counting
        )

    @property
    def offset(self) -> int:
        """First byte not dealt with yet."""
        return self._scanner.offset

    @property
    def held(self) -> int:
        """Bytes from there on that were looked at and wait for more, since their text may go on."""
        return self._scanner.seen - self._scanner.offset

    @property
    def parts(self) -> list[ReadPart]:
        """The log, how it is read and how far."""
        return [ReadPart(self.log, self.reading, self.offset, self._stamps)]

    @property
    def waits(self) -> bool:
        """Whether a record begins there whose rest is still to come."""
        return self._scanner.waits

    def follow(self, log: Log, offset: int) -> None:
        """Goes on in another file of the same source; what was seen stays remembered."""
        self._branches.forget()
        self.log = log
        self._scanner.follow(log, offset)

    def confirm(self) -> None:
        """Says that everything read so far is committed."""
        self._keyed.confirm()
        self._seen.confirm()
        self._relays.confirm()

    def undo(self, log: Log, offset: int) -> None:
        """Goes back to a confirmed offset: what was read since was not committed and counts when it comes again."""
        self._seen.undo()
        self._relays.undo()
        self.follow(log, offset)

    def read(self, batch: Batch, *, final: bool) -> bool:
        """Adds the next stretch to `batch`; false where nothing new is there (see `Scanner.next_block`)."""
        begin = self._scanner.offset
        block = self._scanner.next_block(final=final)
        if block is None:
            return False
        batch.read += block.end - begin
        batch.policy = self.reading.policy
        self._early.begin(batch)
        for kind, count in told_losses(self.log, block):
            batch.lose(kind, count)
        batch.lose(WITHIN_MESSAGE, block.within)
        batch.lose(AMBIGUOUS_FRAME, block.ambiguous)
        self._report.block(block, begin)
        now = self._clock().replace(minute=0, second=0, microsecond=0)
        for logged, dialect in block.found:
            if isinstance(logged, Glimpse) and logged.proven:
                self._keyed.note(batch)
            if not isinstance(logged, Glimpse):
                self._take(block, logged, dialect, batch, now)
            elif not self._early.take_glimpse(batch, self.log, block, logged, dialect, now):
                framed = dialect.frame(block.window, logged.start, final=True)
                if framed is not None and not isinstance(framed, Incomplete):
                    self._take(block, framed, dialect, batch, now)
        for at in block.unframed:
            if (lost := unframed_answer(block.window, at)) is not None:
                self._quarantine(batch, Spot(block, lost), lost.why)
        return True

    def _take(self, block: Block, logged: LoggedEntry, dialect: Dialect, batch: Batch, now: datetime) -> None:
        spot = Spot(block, logged)
        if isinstance(logged, Record | Unreadable):
            batch.lose(FORGED, logged.forged)
        if isinstance(logged, Unreadable):
            self._quarantine(batch, spot, logged.why)
            return
        stamp = logged.stamp or self._stamps(spot.position)
        seen_at = parse_stamp(stamp, self.reading.zone, now) if stamp else None
        if isinstance(logged, Record):
            self._take_record(batch, spot, logged, seen_at)
        elif logged.direction is Direction.SENT:
            self._report.place(
                spot, PlaceOutcome.SENT, "R8", "this host sent it: it relays an answer or redirects itself"
            )
        else:
            self._take_frame(batch, spot, logged, dialect, seen_at)

    def _take_record(self, batch: Batch, spot: Spot, record: Record, seen_at: datetime | None) -> None:
        refused = self._keyed.refuses(batch, record, seen_at)
        if record.status not in {301, 183}:
            return
        if refused:
            self._report.place(spot, PlaceOutcome.IGNORED, "R39", refused)
            return
        text = _evidence(spot.block.window[record.start : record.end]) if record.status == 301 else ""
        if LINE_CUT in record.faults:
            batch.lose(CUT_SHORT)
        asked_at = self._time(record.asked_stamp) if record.asked_stamp else None
        answer = from_record(record, position=spot.position, seen_at=seen_at, text=text, asked_at=asked_at)
        self._add(batch, answer, spot)

    def _take_frame(self, batch: Batch, spot: Spot, frame: Frame, dialect: Dialect, seen_at: datetime | None) -> None:
        plain = plain_183(frame.payload) if self._plainly and not frame.cut else None
        if plain is not None and self._early.take(batch, self.log, spot.block, frame, dialect, plain, seen_at):
            return
        try:
            message = parse_message(frame.payload)
        except MessageError as error:
            if _LONGER_STATUS.match(frame.payload):
                self._report.place(spot, PlaceOutcome.IGNORED, "R2", "a status of more than three digits is nothing")
            else:
                self._quarantine(batch, spot, str(error))
            return
        if not isinstance(message, Response) or message.status not in {301, 183}:
            self._report.place(spot, PlaceOutcome.IGNORED, "R2", "it is within another message")
            return
        if frame.cut:
            batch.lose(CUT_SHORT)
        if message.call_id is not None and message.cseq is not None:
            self._take_response(batch, spot, frame, dialect, message, seen_at)
        elif message.status == 301:
            self._quarantine(batch, spot, "the answer has no readable Call-ID and CSeq")
        else:
            self._report.place(spot, PlaceOutcome.IGNORED, "R3", "the answer has no readable Call-ID and CSeq")

    def _take_response(
        self,
        batch: Batch,
        spot: Spot,
        frame: Frame,
        dialect: Dialect,
        response: Response,
        seen_at: datetime | None,
    ) -> None:
        text, position = _evidence(frame.payload) if response.status == 301 else "", spot.position
        unpaired = from_messages(frame, response, None, position=position, seen_at=seen_at, text=text)
        logged = copy_of(unpaired)
        is_relayed = self._relays.is_relayed(logged)
        for copy in self._relays.overtaken(logged):
            self._retract(batch, copy)
        if is_relayed:
            self._report.place(spot, PlaceOutcome.COPY, "R8", "the same answer, relayed further", unpaired)
            return
        known = self._seen.rank(unpaired.event_key)
        if known is not None and known >= (BEST if response.status == 301 else WHOLE):
            if self._adds(batch, unpaired):
                self._add(batch, unpaired, spot)
            else:
                self._report.place(spot, PlaceOutcome.COPY, "R8", _AGAIN, unpaired)
            return
        if response.status == 183 and self.reading.session_progress == "count":
            self._add(batch, unpaired, spot)
            return
        answer = unpaired
        asked = spot.asked = find_request(self.log, spot.block, frame, response, dialect, self._branches)
        if asked is not None:
            asked_at = self._time(asked.stamp)
            if not asked.frame.authenticity.is_authentic:
                frame = replace(frame, authenticity=asked.frame.authenticity)  # no better than its worse half
            answer = from_messages(
                frame, response, asked.request, position=position, seen_at=seen_at, text=text, asked_at=asked_at
            )
        self._relays.counted(logged, answer.move_key)
        self._add(batch, answer, spot)

    def _time(self, stamp: str) -> datetime | None:
        # By the hour, which is near enough to guess a year by and lets the parser know a stamp again.
        return parse_stamp(stamp, self.reading.zone, self._clock().replace(minute=0, second=0, microsecond=0))

    def _adds(self, batch: Batch, answer: Answer) -> bool:
        """Whether a message can add to what only a line has reported so far in this stretch."""
        if answer.status == 183:
            return self._early.waits_for_message(answer.event_key)
        known = batch.verdicts.get(answer.event_key)
        return known is not None and known.answer.response is None

    def _retract(self, batch: Batch, copy: Copy) -> None:
        """Takes back a relayed copy that came before the received one (R8)."""
        self._report.taken_back(copy.event_key)
        self._seen.remember(copy.event_key, None)
        batch.verdicts.pop(copy.event_key, None)
        batch.retracted.add(copy.move_key)

    def _add(self, batch: Batch, answer: Answer, spot: Spot) -> None:
        key = answer.event_key
        known = self._seen.rank(key)
        if answer.status == 183:
            self._early.add(batch, answer, is_new=known is None)
            if known is None:
                self._report.place(spot, PlaceOutcome.PROGRESS, "R3", "", answer)
            else:
                self._report.place(spot, PlaceOutcome.COPY, "R3", "a repeated 183 counts once", answer)
        elif known is None or known < answer.standing or key in batch.verdicts:
            self._judge(batch, answer, spot)
        else:
            self._report.place(spot, PlaceOutcome.COPY, "R8", _AGAIN, answer)
        standing = answer.rank if answer.status == 183 else answer.standing
        self._seen.remember(key, standing if known is None else max(known, standing))

    def _judge(self, batch: Batch, answer: Answer, spot: Spot) -> None:
        key = answer.event_key
        earlier = batch.verdicts.get(key)
        if earlier is not None:
            improved = better(earlier.answer, answer)
            if improved is None:
                self._report.place(spot, PlaceOutcome.COPY, "R8", _AGAIN, answer)
                return
            answer = improved
        if answer.rank == WEAK and self._seen.rank(f"call {answer.call_key}"):
            self._report.place(spot, PlaceOutcome.COPY, "R8", "another line says more of the same call", answer)
            return
        verdict = judge(answer, self.reading.policy)
        if verdict is None:
            self._report.place(
                spot, PlaceOutcome.IGNORED, "R12", f"{printable(answer.method, 30)} can't be redirected", answer
            )
            return
        if isinstance(verdict, Learnt):
            verdict = self._held_if_registered(verdict, spot)
        if isinstance(verdict, Refused) and verdict.unparsed:
            verdict = replace(verdict, content=spot.content())
        self._report.verdict(spot, verdict)
        batch.verdicts[key] = verdict
        self._seen.remember(key, answer.standing)
        if answer.rank != WEAK:
            self._seen.remember(f"call {answer.call_key}", 1)
            batch.verdicts.pop(answer.call_key, None)

    def _held_if_registered(self, learnt: Learnt, spot: Spot) -> Learnt:
        """R11: held where the log shows the old URI as a contact that is registered.

        It is not refused: a customer could register a number to keep its move from being learnt.
        """
        dialect = self._by_name.get(spot.logged.dialect) if isinstance(spot.logged, Frame) else None
        whose = self._registrations.holder(self.log, spot.position, dialect, learnt.old_key)
        if whose is None:
            return learnt
        reason = f"the log shows the old URI as a registered contact of {whose}"
        return replace(learnt, flags={**learnt.flags, "volatile": reason})

    def _quarantine(self, batch: Batch, spot: Spot, why: str) -> None:
        self._report.place(spot, PlaceOutcome.UNREADABLE, "", why)
        batch.quarantined.append(Quarantined(spot.position, spot.logged.dialect, why, spot.content()))


def _evidence(raw: bytes | bytearray) -> str:
    lines = to_text(bytes(raw[:MAX_EVIDENCE])).replace("\r\n", "\n").split("\n")
    return "\n".join(printable(line, MAX_EVIDENCE) for line in lines)
