"""What every dialect gives back: a SIP message as a log wrote it, or a self-contained record of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from redirectd.dialects.plain import Identity, Plain
from redirectd.dialects.window import Window


class Direction(Enum):
    """Which way a message went, seen from the host that wrote the log."""

    RECEIVED = "received"
    SENT = "sent"
    UNKNOWN = "unknown"


class Authenticity(Enum):
    """How well what a log shows is known to be what this host received (R38 to R40); a later one is worth more.

    UNPROVEN: the frame around it is doubtful, or the text is another program's. UNKEYED: a record that carries no
    proof and could not be asked for one. FRAMED: a message within a sure frame of its writer. PROVEN: a record whose
    MAC only this installation can write.
    """

    UNPROVEN = 0
    UNKEYED = 1
    FRAMED = 2
    PROVEN = 3

    @property
    def is_authentic(self) -> bool:
        """Whether it counts for automatic approval, `failing` and suspension (R39)."""
        return self.value >= Authenticity.FRAMED.value


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a message: transport in lower case ('' if not known), address without brackets, port."""

    transport: str
    address: str
    port: int | None = None

    def __str__(self) -> str:
        """`udp:192.0.2.1:5060`, IPv6 in brackets, parts that are not known left out."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        text = f"{host}:{self.port}" if self.port is not None else host
        return f"{self.transport}:{text}" if self.transport else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One SIP message as it is in a log.

    `start` and `end` are offsets in the window given to the dialect: the whole record, prefix included.
    `payload` is the SIP message with the log's escaping undone. `peer` is the other side, or the sender
    where `direction` is unknown; `local` is this side, or the destination then. `stamp` is the time as
    written ('' where the log has none). `cut` says the writer cut the message off.
    """

    start: int
    end: int
    payload: bytes
    dialect: str
    direction: Direction = Direction.UNKNOWN
    peer: Peer | None = None
    local: Peer | None = None
    stamp: str = ""
    cut: bool = False
    authenticity: Authenticity = Authenticity.FRAMED


URI_CUT = "the URI that was answered is cut off: the record carries no more of it"
"""Fault of a record that has no `request_uri` for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An answer given by a line that carries request and response together (one-line record, acc).

    `fork` is the branch index as text ('' where not known). `request_uri` is the URI that was answered (R5),
    `incoming_uri` the one this proxy was asked for. `contacts` are raw header values. `faults` say what the
    writer cut or could not read. `expires` and `reasons` are
    header values. `enough` is false for lines that can prove no pair of URIs (acc). `stamp` is the time of the
    answer, `asked_stamp` that of the request, `logged_stamp` that of the log's entry where the record's own time has to
    agree with it (R39), '' where the line has none. `forged` are records beside it that no proof speaks for.
    """

    start: int
    end: int
    dialect: str
    status: int
    method: str
    call_id: str
    cseq: int | None
    fork: str = ""
    request_uri: str | None = None
    incoming_uri: str | None = None
    contacts: tuple[str, ...] = ()
    contact_headers: int | None = None
    faults: tuple[str, ...] = ()
    peer: Peer | None = None
    stamp: str = ""
    asked_stamp: str = ""
    enough: bool = True
    in_dialog: bool = False
    expires: str | None = None
    reasons: tuple[str, ...] = ()
    authenticity: Authenticity = Authenticity.UNKEYED
    logged_stamp: str = ""
    forged: int = 0
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The record around the hit reaches past the window: more bytes may complete it. `start` is where it begins."""

    start: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The dialect recognises its own record but can't read it: kept, counted and shown.

    `forged` are the records in it that no proof speaks for (R39).
    """

    start: int
    end: int
    why: str
    dialect: str
    forged: int = 0


class Glimpse(NamedTuple):
    """A received 183 of which only the identity was read, as it is in the log: all that counting needs (R3).

    `message` is where its message begins; a record has none (-1), and the branch's index for a branch.
    `match` is what showed it, for a dialect that reads more of it: good until the window changes. `proven`: by its MAC.
    """

    start: int
    end: int
    identity: Identity
    message: int
    match: re.Match[bytes] | None = None
    proven: bool = False


class Heard(NamedTuple):
    """The rest of what a 183 says (R3): the Request-URI where it knows it itself, sender, time, SDP, Require.

    Texts are as the log has them, '' or None where it does not say.
    """

    request_uri: str | None
    peer: str
    stamp: str
    sdp: bytes
    require: bytes


Framed = Frame | Record | Incomplete | Unreadable | None


class Dialect(Protocol):
    """How one kind of log writes SIP down. Stateless and pure."""

    name: ClassVar[str]
    """As in `--dialect NAME`."""

    literals: ClassVar[tuple[bytes, ...]]
    """Byte strings, one of which stands at every answer of interest; `%d` in them is replaced by the status."""

    def frame(self, window: bytes | bytearray, at: int, *, final: bool) -> Framed:
        """The record that holds position `at` of `window`, or None if this dialect didn't write it.

        `at` may be any position inside the record: the scanner's literal or a Call-ID found on the way back.
        `window` begins and ends anywhere in the log, also within a record; `final` says that nothing follows
        it, so an unfinished record is a cut one and not `Incomplete`. Looks at a bounded stretch around `at`.
        """
        ...

    def spell(self, text: bytes) -> bytes:
        r"""How `text` (a branch or Call-ID) is written in this log, e.g. `/` as `\/` in rsyslog's JSON."""
        ...


@runtime_checkable
class Glimpsing(Protocol):
    """A dialect that can give a 183's identity without reading it."""

    glimpsed: ClassVar[bytes | tuple[bytes, ...]]
    """The literal, or the literals, at whose places it can."""

    def glimpse(self, window: bytes | bytearray, at: int) -> Glimpse | None:
        """The received 183 at a literal's position, or None for what only `Dialect.frame` can read."""
        ...


@runtime_checkable
class Hearing(Glimpsing, Protocol):
    """One that can give the rest of it as quickly."""

    def heard(self, window: bytes | bytearray, glimpse: Glimpse) -> Heard | None:
        """What else a 183 says that this dialect glimpsed; None for what only `Dialect.frame` can read."""
        ...


@runtime_checkable
class GlimpsingCalls(Protocol):
    """A dialect of messages that can give a plain request as quickly."""

    def glimpse_request(self, window: bytes | bytearray, at: int) -> Plain | None:
        """The plain request sent, in whose headers `at` lies; `NO_REQUEST` for a received message there.

        None for what only `Dialect.frame` can read.
        """
        ...


class StreamDialect(Protocol):
    """A dialect whose files are read from their beginning, because no position inside shows where a record begins."""

    name: ClassVar[str]

    captured: ClassVar[Dialect]
    """Reads `messages`, written as HEP datagrams, under this dialect's name."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with `head` (16 bytes or more) is such a file."""
        ...

    def messages(self, chunks: Iterable[bytes]) -> Iterator[Frame]:
        """All SIP messages of a whole file given in pieces of any size, in order.

        `start` and `end` of a frame are offsets in the file. Never raises for what the file holds; a torn end
        is dropped.
        """
        ...


class Unsearched:
    """A position inside such a file does not show where a message begins: packets, wrapped lines, rows by columns."""

    literals: ClassVar[tuple[bytes, ...]] = ()

    def frame(self, window: Window, at: int, *, final: bool) -> Framed:
        """Always None, since nothing is searched for."""
        return None

    def spell(self, text: bytes) -> bytes:
        """See `Dialect.spell`: nothing is escaped."""
        return text
