"""The requests of a log outside dialogs, each with what became of it: what a simulation of routing replays."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from redirectd.collect.answer import waited
from redirectd.collect.traffic import REMEMBERED, LoggedMessage, TransactionName, status_of, transaction_of
from redirectd.dialects.frame import Direction
from redirectd.sip.message import Request

MAX_WAITING = 20_000
"""Requests whose answer is waited for at a time; of more the oldest is taken as not answered."""

METHODS = frozenset({"INVITE", "MESSAGE", "SUBSCRIBE", "OPTIONS"})
"""Those that a remap can move (R12)."""


@dataclass(slots=True)
class RequestFate:
    """One request: `uri` as asked, `status` of its final answer, `waited_ms` until then; None where not known.

    `received` says that this host was asked, and not that it asked another one; None where the log does not say.
    """

    uri: str
    method: str
    call_id: str
    received: bool | None
    seen_at: datetime | None
    status: int | None = None
    waited_ms: int | None = None


class RequestFates:
    """Reads them out of a log's messages. What was passed over is counted, so that the coverage can be reported."""

    def __init__(self, not_before: datetime | None = None) -> None:
        """`not_before` leaves out what is older; a request without a time is taken."""
        self.counts: Counter[str] = Counter()
        self._not_before = not_before
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._waiting: OrderedDict[TransactionName, RequestFate] = OrderedDict()

    def of(self, messages: Iterable[LoggedMessage]) -> Iterator[RequestFate]:
        """Each request once, with its final answer; in the order in which they are answered, the others at the end."""
        for logged in messages:
            name = transaction_of(logged)
            if logged.record is not None:
                self.counts["records"] += 1
            elif name is None or name.method not in METHODS:
                self.counts["other"] += 1
            elif (status := status_of(logged)) is None:
                yield from self._asked(logged, name)
            elif status >= 200 and (fate := self._waiting.pop(name, None)) is not None:
                fate.status = status
                fate.waited_ms = waited(fate.seen_at, logged.seen_at)
                yield fate
        while self._waiting:
            yield self._waiting.popitem(last=False)[1]

    def _asked(self, logged: LoggedMessage, name: TransactionName) -> Iterator[RequestFate]:
        message = logged.message
        if not isinstance(message, Request) or message.method != name.method or name in self._waiting:
            return  # an ACK of another kind, or sent again
        if message.to_tag is not None:
            self.counts["in_dialog"] += 1
            return
        if self._not_before is not None and logged.seen_at is not None and logged.seen_at < self._not_before:
            self.counts["older"] += 1
            return
        received = None if logged.direction is Direction.UNKNOWN else logged.direction is Direction.RECEIVED
        if self._is_copy((name.call_id, name.cseq, name.method, message.uri_text, received)):
            return
        self.counts["received" if received else "sent"] += 1
        self._waiting[name] = RequestFate(message.uri_text, name.method, name.call_id, received, logged.seen_at)
        if len(self._waiting) > MAX_WAITING:
            yield self._waiting.popitem(last=False)[1]

    def _is_copy(self, key: Hashable) -> bool:
        """Whether a capture showed the same request on another leg."""
        if key in self._seen:
            self.counts["copies"] += 1
            return True
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return False
