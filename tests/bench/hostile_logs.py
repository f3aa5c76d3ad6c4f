"""Logs made to cost much, from the registry: `python -m tests.bench.hostile_logs [DIALECT ...]` prints each figure.

Each is of one dialect: it begins with calls as its program writes them, and goes on with one kind of text that is made
against a mechanism of the reading. `any` is text of which no program is known, read by all dialects.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network

from redirectd.collect.batch import Batch
from redirectd.collect.capture import CapturedLog, searchable
from redirectd.collect.console_streams import reader_of
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.dialects.frame import Dialect
from tests.collect.logs import MemoryLog
from tests.dialects.logfiles import LOGS, Log, Logged

NOW = datetime(2026, 11, 30, tzinfo=UTC)
POLICY = Policy(trusted_peers=(ip_network("0.0.0.0/0"),))
ANY = "any"
STREAMED = {one.name for one in registry.STREAMS} - {"hep"}
"""Read from their beginning: what is hostile in them is in their messages."""
_BODY = 20_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What reading a log took, in seconds of the processor; `longest` is that of its longest step."""

    size: int
    seconds: float
    longest: float

    @property
    def rate(self) -> float:
        """MB/s."""
        return self.size / 1e6 / max(self.seconds, 1e-6)


def message(first: bytes, number: int, extra: bytes = b"", body: bytes = b"", length: bytes = b"") -> bytes:
    """A message of call `number`; `length` is its Content-Length where that is a lie."""
    return (
        b"%b\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%08x\r\nFrom: <sip:a@b.test>;tag=1\r\n"
        b"To: <sip:u%d@gw.test>\r\nCall-ID: call%08x\r\nCSeq: 1 INVITE\r\n%bContent-Length: %b\r\n\r\n%b"
    ) % (first, number, number, number, extra, length or b"%d" % len(body), body)


def asked(number: int, user: int) -> Logged:
    """An INVITE that was sent."""
    return Logged(message(b"INVITE sip:u%d@gw.test SIP/2.0" % user, number), was_sent=True)


def moved(number: int, user: int, body: bytes = b"", length: bytes = b"") -> Logged:
    """A 301."""
    contact = b"Contact: <sip:n%d@p.test>\r\n" % user
    return Logged(message(b"SIP/2.0 301 Moved Permanently", number, contact, body, length))


def _dense(write: Log, number: int) -> bytes:
    return write([asked(number, number), moved(number, number)])


def _alone(write: Log, number: int) -> bytes:
    return write([moved(number, number)])


def _storm(write: Log, number: int) -> bytes:
    return write([asked(number, 1), moved(number, 1)])


def _junk(write: Log, number: int) -> bytes:
    return write([Logged(b"SIP/2.0 301 Moved\r\nX-Junk: %d\r\nContent-Length: 0\r\n\r\n" % number)])


def _lying(write: Log, number: int) -> bytes:
    return write([moved(number, number, length=b"60000")])


def _quoting(write: Log, number: int) -> bytes:
    """A message whose body is full of entries of its own log."""
    body = (write([moved(number, number)]) * (1 + _BODY // 500))[:_BODY]
    return write([Logged(message(b"OPTIONS sip:x@gw.test SIP/2.0", number, body=body))])


def _half(write: Log, number: int) -> bytes:
    entry = write([asked(number, number), moved(number, number)])
    return entry[: len(entry) * (30 + number * 7 % 65) // 100]


def _head(write: Log, number: int) -> bytes:
    """All that the writer puts before a message."""
    entry = write([moved(number, number)])
    at = max(entry.find(b"SIP/2.0"), entry.find(b"SIP\\/2.0"))
    return entry[:at] if at > 0 else entry[:60]


def _heads(write: Log, number: int) -> bytes:
    return _head(write, number) + b"SIP/2.0 301 x\n"


_MARK = re.compile(rb"[A-Za-z<|=~#*-][ -~]{8,17}")


def _crowded(write: Log, number: int) -> bytes:
    """A piece of a head every 20 bytes."""
    pieces = _MARK.findall(_head(write, number)) or [b"SIP/2.0 301 "]
    return b"".join(one[:18] + b"\n" for one in pieces)


def _one_line(write: Log, number: int) -> bytes:
    """Thousands of answers in one line."""
    line = _head(write, number).rstrip(b"\r\n") + b"SIP/2.0 301 Moved Call-ID: a CSeq: 1 INVITE " * 1400
    return line.replace(b"\n", b" ") + b"\n"


def _endless(write: Log, number: int) -> bytes:
    return _alone(write, number).replace(b"\n", b" ").replace(b"\r", b" ") + b"x" * 600


def _nested(write: Log, number: int) -> bytes:
    """JSON in JSON in JSON, with an answer innermost."""
    return b'{"MESSAGE":"' * 40 + b"SIP/2.0 301 Moved\\r\\nCall-ID: %d\\r\\n" % number + b'"}' * 40 + b"\n"


def _marks(write: Log, number: int) -> bytes:
    """Marks without end, quotes and angle brackets."""
    return (_head(write, number) + b'SIP/2.0 301 Contact: "<,\\' * 20 + b"\n") * 2


def _records(write: Log, number: int) -> bytes:
    """One-line records that begin and do not end."""
    return b"Nov 22 16:26:03 vm kamailio[1]: REDIRECTD v=2 ev=301 ts=1795364763.1 m=INVITE ci=%d ct=%%3C\n" % number


KINDS: dict[str, Callable[[Log, int], bytes]] = {
    "nothing but 301s": _dense,
    "301s without their requests": _alone,
    "a storm of one loop": _storm,
    "unreadable 301s": _junk,
    "lengths that lie": _lying,
    "bodies full of entries": _quoting,
    "half entries": _half,
    "heads without messages": _heads,
    "a head every 20 bytes": _crowded,
    "thousands of answers in a line": _one_line,
    "a line that never ends": _endless,
    "nested JSON": _nested,
    "marks without end": _marks,
    "half records": _records,
}
WHOLE = {"nothing but 301s", "301s without their requests", "a storm of one loop", "unreadable 301s"}


def text(kind: str, write: Log, size: int) -> bytes:
    """At least `size` bytes of a log of that kind; less where its dialect has no entry for such a message."""
    make, pieces, made, number = KINDS[kind], [write([asked(0, 0), moved(0, 0)] * 3)], 0, 0
    while made < size:
        number += 1
        pieces.append(make(write, number))
        made += len(pieces[-1])
        if not pieces[-1]:
            break
    return b"".join(pieces)


def streamed(kind: str, write: Log, size: int) -> bytes:
    """The same for a capture: what is hostile is in its messages."""
    logged: list[Logged] = [asked(0, 0), moved(0, 0)]
    collected: list[Logged] = []

    def collect(those: Sequence[Logged]) -> bytes:
        collected.extend(those)
        return b"".join(one.message for one in those)

    made = number = 0
    while made < size:
        number += 1
        collected.clear()
        piece = KINDS[kind](collect, number)
        whole = kind in WHOLE or kind == "lengths that lie"
        logged += collected if whole else [moved(number, number, body=piece[-_BODY:])]
        made += len(piece)
    return write(logged)


def cost(log: bytes, dialects: tuple[Dialect, ...] = ()) -> Cost:
    """Reads a log as `ingest` does, without a database."""
    source = searchable(MemoryLog(log))
    found = dialects or registry.detect(log[: 1 << 20])
    if isinstance(source, CapturedLog):
        found = (source.dialect,)
    began, longest = time.thread_time(), 0.0
    reader, batch, more = reader_of(source, Reading("bench", found, UTC, POLICY), clock=lambda: NOW), Batch("b"), True
    while more:
        step = time.thread_time()
        more = reader.read(batch, final=True)
        reader.confirm()
        longest = max(longest, time.thread_time() - step)
        if batch.weight > 2000:
            batch = Batch("bench")
    return Cost(len(log), time.thread_time() - began, longest)


def costs(name: str, size: int) -> Iterator[tuple[str, Cost, Cost]]:
    """By kind of text: what a log of a dialect costs, and one of half its size."""
    write = LOGS["asterisk-pjsip" if name == ANY else name][0]
    make = streamed if name in STREAMED else text
    for kind in KINDS:
        log = make(kind, write, size)
        if len(log) < size:
            continue
        half = make(kind, write, size // 2)
        dialects = registry.ALL if name == ANY else ()
        yield kind, cost(log, dialects), cost(half, dialects)


def main(names: Sequence[str]) -> None:
    """The command."""
    for name in names or (*LOGS, ANY):
        for kind, whole, half in costs(name, 1 << 21):
            ratio = whole.seconds / max(half.seconds, 1e-6)
            sys.stdout.write(
                f"{name:18} {kind:32} {whole.rate:7.1f} MB/s {whole.longest * 1000:6.0f} ms  {ratio:.1f} x\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
