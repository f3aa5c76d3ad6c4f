"""Why callers hear nothing before the answer: each INVITE with a 183, what was offered and answered, and by which peer.

An observation of a log and nothing else (R3): nothing of it is stored, and it decides nothing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from redirectd.collect.traffic import LoggedMessage, TransactionName, status_of, transaction_of
from redirectd.dialects.frame import Direction
from redirectd.sip.message import Message, Request
from redirectd.sip.sdp import Media, media_summary
from redirectd.sip.text import printable, to_bytes

MAX_OPEN = 5_000
"""Transactions that are followed at a time; of more the oldest is taken as ended."""

MAX_STEPS = 40
"""Messages that are kept of one transaction."""

MAX_BRANCHES = 64
"""Branches of one INVITE for which a PRACK is looked at: it has no branch of theirs."""

MAX_PEERS = 1_000
"""Peers that are listed separately."""

MAX_EXAMPLES = 3
"""Calls that are kept of each peer and finding."""

MAX_PAIRS = 20
"""Different offers and answers that are counted of one peer."""

OTHERS = "others"
"""Stands for the peers beyond `MAX_PEERS`."""

_NO_SOUND = frozenset({"telephone-event", "cn"})
_RELIABLE = "100rel"


class EarlyFinding(StrEnum):
    """What can be wrong with early media; a call can have several."""

    NO_SDP = "no-sdp"
    NO_COMMON_CODEC = "no-common-codec"
    PORT_ZERO = "port-0"
    NOT_SENDING = "not-sending"
    NO_PRACK = "no-prack"
    RINGING_AFTER = "ringing-after"


EXPLAINED = {
    EarlyFinding.NO_SDP: "183 without SDP: it carries no early media, and the caller's own ringing tone is right",
    EarlyFinding.NO_COMMON_CODEC: "no codec of the 183 was offered in the INVITE",
    EarlyFinding.PORT_ZERO: "port 0 in the 183: the audio was refused",
    EarlyFinding.NOT_SENDING: "the 183 says recvonly or inactive: nothing is sent to the caller",
    EarlyFinding.NO_PRACK: "reliable 183 (100rel, RSeq) without a PRACK: it is sent again, and the call can fail",
    EarlyFinding.RINGING_AFTER: "180 after the 183: many phones then play their own ringing tone over the media",
}
"""What a finding means, for people."""


@dataclass(frozen=True, slots=True)
class Step:
    """One message of a transaction: `from_caller` says its way, `notes` its SDP and what makes it reliable."""

    seen_at: datetime | None
    from_caller: bool
    label: str
    notes: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class EarlyCall:
    """One INVITE transaction with a 183, as far as the log shows it.

    `peer` is who answered 183, or who this host sent it to (`sent`); `caller` is the other end where a capture shows
    it, '' where it is this host. `offered` and `answered` are media lines, None
    where the log does not show that message. `progress` counts each 183 once (R3), `with_sdp` those of them with SDP.
    """

    name: TransactionName
    peer: str
    sent: bool
    caller: str = ""
    request_uri: str = ""
    seen_at: datetime | None = None
    position: int = 0
    invited: bool = False
    offered: tuple[Media, ...] = ()
    answered: tuple[Media, ...] = ()
    progress: int = 0
    with_sdp: int = 0
    repeated: int = 0
    final: int | None = None
    ringing_after: bool = False
    by_record: bool = False
    steps: list[Step] = field(default_factory=list)
    more_steps: int = 0
    reliable: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    seen: set[tuple[str, str, bool]] = field(default_factory=set)

    def findings(self) -> tuple[EarlyFinding, ...]:
        """What can be wrong with it, in the order in which to look."""
        sound = [media for media in self.answered if media.kind == "audio"]
        open_sound = [media for media in sound if media.port]
        found = {
            EarlyFinding.NO_SDP: not self.with_sdp,
            EarlyFinding.NO_COMMON_CODEC: bool(open_sound) and not common_codecs(self.offered, self.answered),
            EarlyFinding.PORT_ZERO: bool(sound) and not open_sound,
            EarlyFinding.NOT_SENDING: bool(open_sound)
            and all(media.direction in {"recvonly", "inactive"} for media in open_sound),
            EarlyFinding.NO_PRACK: self.invited and bool(self.reliable - self.acknowledged),
            EarlyFinding.RINGING_AFTER: self.ringing_after,
        }
        if not any(media.kind == "audio" for media in self.offered):
            found[EarlyFinding.NO_COMMON_CODEC] = False  # not shown, or the 183 itself is the offer
        return tuple(name for name, is_so in found.items() if is_so)


def codecs_of(media: Iterable[Media]) -> tuple[str, ...]:
    """The names of the audio codecs, each once, in the order offered; events and comfort noise carry no sound."""
    names = (name for one in media if one.kind == "audio" for name in one.codecs)
    return tuple(dict.fromkeys(name.upper() for name in names if name.lower() not in _NO_SOUND))


def common_codecs(offered: Iterable[Media], answered: Iterable[Media]) -> tuple[str, ...]:
    """Those that both have."""
    wanted = codecs_of(offered)
    return tuple(name for name in codecs_of(answered) if name in wanted)


@dataclass(slots=True)
class PeerEarly:
    """What one peer's 183s come to; `sent` are those that this host sent to it. `codecs` are offer and answer."""

    peer: str
    sent: bool
    calls: int = 0
    progress: int = 0
    with_sdp: int = 0
    reliable: int = 0
    fine: int = 0
    findings: Counter[EarlyFinding] = field(default_factory=Counter)
    codecs: Counter[tuple[str, str]] = field(default_factory=Counter)
    directions: Counter[str] = field(default_factory=Counter)
    first: EarlyCall | None = None
    examples: dict[EarlyFinding, list[EarlyCall]] = field(default_factory=dict)


class EarlyReport:
    """Takes a log's messages in their order; `peers` is the summary once `end` was called. Bounded."""

    def __init__(self) -> None:
        self.peers: dict[tuple[str, bool], PeerEarly] = {}
        self._open: OrderedDict[TransactionName, EarlyCall] = OrderedDict()
        self._calls: dict[tuple[str, int], list[EarlyCall]] = {}

    def add(self, logged: LoggedMessage) -> None:
        """Takes the next message of the log."""
        name = transaction_of(logged)
        if name is None:
            return
        if name.method == "PRACK":
            self._acknowledge(logged, name)
        elif name.method == "INVITE":
            status = status_of(logged)
            if status is None:
                self._invite(logged, name)
            else:
                self._answer(logged, name, status)

    def end(self) -> list[PeerEarly]:
        """The summary by peer, most calls first."""
        while self._open:
            self._close(self._open.popitem(last=False)[1])
        return sorted(self.peers.values(), key=lambda one: (-one.calls, one.sent, one.peer))

    def _invite(self, logged: LoggedMessage, name: TransactionName) -> None:
        message = logged.message
        if not isinstance(message, Request) or message.method != "INVITE":
            return
        call = self._call(logged, name, sent=logged.direction is Direction.RECEIVED)
        if call.invited:
            return  # sent again
        call.invited = True
        if logged.direction is Direction.UNKNOWN and logged.peer is not None:
            call.caller = str(logged.peer)
        call.request_uri = printable(message.uri_text, 500)
        call.seen_at, call.position = logged.seen_at, logged.position
        call.offered = _media_of(message)
        can = _RELIABLE in _tokens(message, "supported") | _tokens(message, "require")
        self._step(call, logged, f"INVITE {call.request_uri}", _notes("offers", call.offered, can=can), caller=True)

    def _answer(self, logged: LoggedMessage, name: TransactionName, status: int) -> None:
        call = self._open.get(name)
        if call is None and status != 183:
            return  # no INVITE was seen: only a 183 is of interest
        call = call or self._call(logged, name, sent=logged.direction is Direction.SENT)
        if logged.direction is not Direction.SENT and logged.peer is not None:
            call.peer = str(logged.peer)
        if status == 183:
            self._progress(call, logged)
            return
        if status == 180 and call.with_sdp:
            call.ringing_after = True
        phrase = getattr(logged.message, "reason", "")
        self._step(call, logged, f"{status} {printable(phrase, 60)}".rstrip(), (), caller=False)
        if status >= 200:
            call.final = status
            del self._open[name]
            self._close(call)

    def _progress(self, call: EarlyCall, logged: LoggedMessage) -> None:
        """A 183: one that is repeated, as a reliable one is until its PRACK, counts once (R3)."""
        media, has_sdp, reliable, rseq, tag = _told(logged)
        call.position = call.position or logged.position
        is_copy = bool(call.seen) and (logged.record is not None or call.by_record)  # a line and a message of one 183
        if is_copy or (known := (tag, rseq, has_sdp)) in call.seen:
            call.repeated += not is_copy
            return
        call.by_record = logged.record is not None
        if len(call.seen) < MAX_STEPS:
            call.seen.add(known)
        call.progress += 1
        call.with_sdp += has_sdp
        if media:
            call.answered = media
        if reliable and len(call.reliable) < MAX_STEPS:
            call.reliable.add(rseq)
        label = "183 Session Progress" + (f" (reliable{f', RSeq {rseq}' if rseq else ''})" if reliable else "")
        self._step(call, logged, label, _notes("answers", media) if has_sdp else ("no SDP",), caller=False)

    def _acknowledge(self, logged: LoggedMessage, name: TransactionName) -> None:
        message = logged.message
        if not isinstance(message, Request):
            return
        rseq, _, rest = (message.header("rack") or "").strip().partition(" ")
        cseq = rest.strip().partition(" ")[0]
        if not (cseq.isascii() and cseq.isdigit() and len(cseq) <= 10):
            return
        for call in self._calls.get((name.call_id, int(cseq)), ()):
            call.acknowledged.add(rseq[:20])
            self._step(call, logged, f"PRACK (RSeq {printable(rseq, 20)})", (), caller=True)

    def _call(self, logged: LoggedMessage, name: TransactionName, *, sent: bool) -> EarlyCall:
        call = self._open.get(name)
        if call is None:
            peer = logged.local if logged.direction is Direction.UNKNOWN and status_of(logged) is None else logged.peer
            call = self._open[name] = EarlyCall(name, str(peer) if peer else "unknown", sent)
            branches = self._calls.setdefault((name.call_id, name.cseq), [])
            if len(branches) < MAX_BRANCHES:
                branches.append(call)
            if len(self._open) > MAX_OPEN:
                self._close(self._open.popitem(last=False)[1])
        return call

    def _step(
        self, call: EarlyCall, logged: LoggedMessage, label: str, notes: tuple[str, ...], *, caller: bool
    ) -> None:
        if len(call.steps) >= MAX_STEPS:
            call.more_steps += 1
            return
        call.steps.append(Step(logged.seen_at, caller, label, notes))

    def _close(self, call: EarlyCall) -> None:
        """Adds a transaction with a 183 to its peer's sum."""
        asked = call.name.call_id, call.name.cseq
        branches = [one for one in self._calls.pop(asked, ()) if one is not call]
        if branches:
            self._calls[asked] = branches
        if not call.progress:
            return
        key = (call.peer, call.sent)
        if key not in self.peers and len(self.peers) >= MAX_PEERS:
            key = (OTHERS, call.sent)
        peer = self.peers.setdefault(key, PeerEarly(*key))
        peer.calls += 1
        peer.progress += call.progress
        peer.with_sdp += call.with_sdp
        peer.reliable += len(call.reliable)
        pair = (", ".join(codecs_of(call.offered)[:8]), ", ".join(codecs_of(call.answered)[:8]))
        if pair in peer.codecs or len(peer.codecs) < MAX_PAIRS:
            peer.codecs[pair] += 1
        for media in call.answered:
            if media.kind == "audio":
                peer.directions[media.direction] += 1
        found = call.findings()
        peer.fine += not found
        peer.first = peer.first or call
        for finding in found:
            peer.findings[finding] += 1
            examples = peer.examples.setdefault(finding, [])
            if len(examples) < MAX_EXAMPLES:
                examples.append(call)


def _media_of(message: Message) -> tuple[Media, ...]:
    return media_summary(message.body) if _has_sdp(message) else ()


def _has_sdp(message: Message) -> bool:
    return "sdp" in (message.header("content-type") or "").lower() and bool(message.body)


def _tokens(message: Message, name: str) -> set[str]:
    return {token.strip().lower() for value in message.headers(name) for token in value.split(",")[:50]}


def _told(logged: LoggedMessage) -> tuple[tuple[Media, ...], bool, bool, str, str]:
    """Of a 183: its media, whether it has SDP, whether it is reliable, its RSeq and To tag."""
    if (message := logged.message) is not None:
        reliable = _RELIABLE in _tokens(message, "require")
        rseq = printable(message.header("rseq") or "", 20)
        return _media_of(message), _has_sdp(message), reliable, rseq, printable(message.to_tag or "", 100)
    assert logged.record is not None
    extra = logged.record.extra
    sdp = extra.get("sdp", "")
    reliable = _RELIABLE in {token.strip().lower() for token in extra.get("rq", "").split(",")}
    return media_summary(to_bytes(sdp)), bool(sdp), reliable, "", ""


def _notes(what: str, media: tuple[Media, ...], *, can: bool = False) -> tuple[str, ...]:
    """One line for each media line of an SDP, and whether the caller knows 100rel."""
    lines = [
        f"{what} {one.kind} {', '.join(one.codecs[:8]) or 'no known codec'}, {one.direction}"
        + ("" if one.port else ", port 0")
        for one in media[:4]
    ]
    return (*lines, *(("supports 100rel",) if can else ()))
