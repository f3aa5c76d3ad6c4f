"""An answer with the request it answers, in whatever form a log has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from redirectd.dialects.extent import head_end
from redirectd.dialects.frame import Authenticity, Direction, Frame, Peer, Record
from redirectd.sip.compare import route_key
from redirectd.sip.message import Request, Response
from redirectd.sip.text import printable, to_bytes
from redirectd.sip.uri import SipUri, UriError, parse_uri

WEAK, UNPAIRED, CUT, WHOLE = range(4)
"""How much one telling of an answer proves; a better telling of the same answer replaces a lesser one (R8).

WEAK: a line that can prove no pair of URIs. UNPAIRED: the request was not found. CUT: paired, but the writer
cut the Contacts. WHOLE: paired and complete.
"""

BEST = 2 * WHOLE + 1
"""The standing that no other sighting of the same answer beats: authentic and whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as the rules take it.

    `request_uri` is the URI that was answered (R5), None where the request was not found (R7); `incoming_uri` the one
    this proxy had been asked for. `contacts` and `expires` are raw header values. `fork` distinguishes the branches
    of one transaction ('' where not logged). `seen_at` is aware UTC, None where the log has no time; `waited_ms` is the
    time from the request to it, None where the log does not date both. `position` is the offset in the source.
    `faults` are what the writer cut or could not read; `text` is the evidence as logged.
    """

    status: int
    method: str
    call_id: str
    cseq: int | None
    fork: str
    request_uri: str | None
    incoming_uri: str | None = None
    in_dialog: bool = False
    contacts: tuple[str, ...] = ()
    contact_headers: int | None = None
    expires: str | None = None
    reasons: tuple[str, ...] = ()
    to_hint: str = ""
    peer: Peer | None = None
    local: Peer | None = None
    direction: Direction = Direction.RECEIVED
    seen_at: datetime | None = None
    waited_ms: int | None = None
    dialect: str = ""
    position: int = 0
    faults: tuple[str, ...] = ()
    rank: int = WHOLE
    authenticity: Authenticity = Authenticity.FRAMED
    text: str = ""
    response: Response | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    _keys: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def standing(self) -> int:
        """Its weight beside other sightings of the same answer: authentic pairs of URIs first (R39), then by rank."""
        is_sure = self.authenticity.is_authentic and self.rank >= CUT
        return self.rank + WHOLE + 1 if is_sure else self.rank

    @property
    def call_key(self) -> str:
        """Names the call; all sightings of one answer share it."""
        return self._key("call", _call_key)

    @property
    def event_key(self) -> str:
        """Names the answered transaction: equal for retransmissions and for other loggers' copies (R8).

        A weak sighting has neither branch nor a sure CSeq: its call alone names it.
        """
        return self._key("event", _event_key)

    @property
    def move_key(self) -> str:
        """Names the transaction together with the URI that was answered; the event key alone where that is not logged.

        Two proxies in a row that share a database know one call by the same Call-ID, CSeq and branch index, and yet
        each was answered for a URI of its own (R5).
        """
        return self._key("move", _move_key)

    def know_place(self, place: str) -> None:
        """Takes the route key of the URI that was answered from who has read it, which saves `move_key` the reading."""
        if self.rank != WEAK and self.request_uri is not None:
            self._keys["move"] = _moved_key(self.event_key, place)

    @property
    def peer_text(self) -> str:
        """The peer as it is stored and shown: `udp:192.0.2.1:5060`, `unknown` where the log doesn't say."""
        return self._key("peer", _peer_text)

    def _key(self, name: str, make: Callable[[Answer], str]) -> str:
        """A key, made once: every step from here to the database asks for it again."""
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = make(self)
        return key


def _call_key(answer: Answer) -> str:
    return _hash(answer.call_id)


def _event_key(answer: Answer) -> str:
    if answer.rank == WEAK:
        return answer.call_key
    return event_key(answer.call_id, answer.cseq, answer.method, answer.fork, answer.status)


def _move_key(answer: Answer) -> str:
    """See `Answer.move_key`."""
    if answer.rank == WEAK or answer.request_uri is None:
        return answer.event_key
    return _moved_key(answer.event_key, _place(answer.request_uri))


def _moved_key(event: str, place: str) -> str:
    return _hash(f"{event}\0{place}")


def _peer_text(answer: Answer) -> str:
    return printable(str(answer.peer), 80) if answer.peer else "unknown"


def event_key(call_id: str, cseq: int | None, method: str, fork: str, status: int) -> str:
    """See `Answer.event_key`. A provisional answer is stored nowhere: a name for this process is made far sooner."""
    text = f"{call_id}\0{cseq}\0{method}\0{fork}\0{status}"
    return f"{hash(text):x}" if status < 200 else _hash(text)


def _place(uri_text: str) -> str:
    """The route key of a URI, so that two loggers' spellings of it are one; the text of what has none."""
    try:
        uri = parse_uri(uri_text)
    except UriError:
        return uri_text
    return str(route_key(uri)) if isinstance(uri, SipUri) else uri_text


def fork_of(branch: str | None) -> str:
    """What distinguishes the branches of one transaction: Kamailio's branch index, else the whole branch.

    Kamailio's tm writes `z9hG4bK<hash>.<random>.<index>`, the index in hexadecimal with the lowest digit first; its
    one-line record has the index alone, so the index is what both sightings share. A foreign branch of that
    shape does no harm: Call-ID and CSeq are compared as well.
    """
    if not branch:
        return ""
    head, _, index = branch.rpartition(".")
    if "." in head and head.startswith("z9hG4bK") and len(index) in {1, 2} and _HEX.issuperset(index):
        return str(int(index[::-1], 16))
    return branch


_HEX = frozenset("0123456789abcdef")


def from_record(
    record: Record, *, position: int, seen_at: datetime | None, text: str, asked_at: datetime | None = None
) -> Answer:
    """The answer in a self-contained line; `asked_at` is the request's time, where the line has it."""
    if not record.enough:
        rank = WEAK
    elif record.request_uri is None:
        rank = UNPAIRED
    else:
        rank = CUT if record.faults else WHOLE
    return Answer(
        status=record.status,
        method=record.method,
        call_id=record.call_id,
        cseq=record.cseq,
        fork=record.fork,
        request_uri=record.request_uri,
        incoming_uri=record.incoming_uri,
        in_dialog=record.in_dialog,
        contacts=record.contacts,
        contact_headers=record.contact_headers,
        expires=record.expires,
        reasons=record.reasons,
        peer=record.peer,
        seen_at=seen_at,
        waited_ms=waited(asked_at, seen_at),
        dialect=record.dialect,
        position=position,
        faults=record.faults,
        rank=rank,
        authenticity=record.authenticity if record.enough else Authenticity.UNPROVEN,
        text=text,
        extra=record.extra,
    )


LONGEST_WAIT_MS = 180_000
"""Timer C (16.8): no proxy waits longer for an answer to an INVITE."""


def from_messages(
    frame: Frame,
    response: Response,
    request: Request | None,
    *,
    position: int,
    seen_at: datetime | None,
    text: str,
    asked_at: datetime | None = None,
) -> Answer:
    """The answer in a response and, where it was found, its request (R6) with the time it is logged at."""
    via, cseq = response.top_via, response.cseq
    cut = _contacts_cut(frame, response)
    rank = UNPAIRED if request is None else CUT if cut else WHOLE
    return Answer(
        status=response.status,
        method=cseq.method if cseq else "",
        call_id=response.call_id or "",
        cseq=cseq.number if cseq else None,
        fork=fork_of(via.branch if via else None),
        request_uri=request.uri_text if request else None,
        in_dialog=request is not None and request.to_tag is not None,
        contacts=tuple(response.headers("contact")),
        contact_headers=len(response.headers("contact")),
        expires=response.header("expires"),
        reasons=tuple(response.headers("reason")),
        to_hint=response.header("to") or "",
        peer=frame.peer,
        local=frame.local,
        direction=frame.direction,
        seen_at=seen_at,
        waited_ms=waited(asked_at, seen_at),
        dialect=frame.dialect,
        position=position,
        faults=("the writer cut the message off",) if cut else (),
        rank=rank,
        authenticity=frame.authenticity,
        text=text,
        response=response,
    )


def waited(asked_at: datetime | None, seen_at: datetime | None) -> int | None:
    """Milliseconds from request to answer; None where the log has no times, whole seconds only, or strange ones."""
    if asked_at is None or seen_at is None or not (asked_at.microsecond or seen_at.microsecond):
        return None
    milliseconds = round((seen_at - asked_at).total_seconds() * 1000)
    return milliseconds if 0 <= milliseconds <= LONGEST_WAIT_MS else None


def _contacts_cut(frame: Frame, response: Response) -> bool:
    """Whether a Contact can be missing or short: the headers don't end, and that is the writer's doing.

    A body that was cut takes nothing away; chan_sip drops the empty line behind the headers.
    """
    if head_end(response.raw, 0, len(response.raw)) >= 0:
        return False
    return frame.cut or not response.raw.endswith(b"\n")


def _hash(text: str) -> str:
    return blake2b(to_bytes(text), digest_size=16).hexdigest()
