"""Small logs as Asterisk's pjsip logger and Kamailio's one-line record write them, and what reading them gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha512
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from redirectd.collect.batch import Batch, SessionProgress
from redirectd.collect.log_reader import LogReader
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.collect.verdict import Learnt, Refused
from redirectd.dialects import registry
from redirectd.dialects.frame import Dialect
from redirectd.dialects.registry import with_keys
from redirectd.sources.follow import FollowedFile
from redirectd.sources.place import Position

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
POLICY = Policy(trusted_peers=(ip_network("192.0.2.0/24"),))
PEER = "UDP:192.0.2.7:5060"


def opener(log: Path) -> Callable[[Mapping[str, Any] | None], FollowedFile]:
    """What opens a collector's log at a stored position, or at its beginning where there is none."""
    return lambda stored: FollowedFile(log, Position.from_dict(dict(stored)) if stored is not None else None)


class MemoryLog:
    """A log of bytes in memory; `grow` adds to it, `older` is the rotated file before it."""

    start = 0

    def __init__(self, data: bytes = b"", older: MemoryLog | None = None) -> None:
        self.name = "memory"
        self.data = data
        self._older = older

    def grow(self, data: bytes) -> None:
        self.data += data

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]

    def read_into(self, offset: int, buffer: memoryview) -> int:
        part = self.read(offset, len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def end(self) -> int:
        return len(self.data)

    def previous(self) -> MemoryLog | None:
        return self._older


def request(
    uri: str = "sip:old@gw.test",
    *,
    method: str = "INVITE",
    call: str = "call-1",
    cseq: int = 1,
    branch: str | None = "z9hG4bKPjaaaaaaaa",
    to: str = "<sip:dialled@somewhere.test>",
    extra: Iterable[str] = (),
) -> bytes:
    """A request as pjsip sends it."""
    via = "Via: SIP/2.0/UDP 192.0.2.1:5060;rport" + (f";branch={branch}" if branch else "")
    head = [
        f"{method} {uri} SIP/2.0",
        via,
        'From: "sipp" <sip:sipp@192.0.2.1>;tag=f1',
        f"To: {to}",
        f"Call-ID: {call}",
        f"CSeq: {cseq} {method}",
        *extra,
        "Content-Length: 0",
    ]
    return _text(head)


def response(
    status: str = "301 Moved Permanently",
    *contacts: str,
    method: str = "INVITE",
    call: str = "call-1",
    cseq: int = 1,
    branch: str | None = "z9hG4bKPjaaaaaaaa",
    further_vias: Iterable[str] = (),
    to: str = "<sip:dialled@somewhere.test>;tag=t1",
    extra: Iterable[str] = (),
    body: bytes = b"",
) -> bytes:
    """A response; each of `contacts` is a Contact header line's value."""
    via = "Via: SIP/2.0/UDP 192.0.2.1:5060" + (f";branch={branch}" if branch else "")
    head = [
        f"SIP/2.0 {status}",
        via,
        *(f"Via: SIP/2.0/UDP 192.0.2.99;branch={one}" for one in further_vias),
        'From: "sipp" <sip:sipp@192.0.2.1>;tag=f1',
        f"To: {to}",
        f"Call-ID: {call}",
        f"CSeq: {cseq} {method}",
        *(f"Contact: {contact}" for contact in contacts),
        *extra,
        f"Content-Length: {len(body)}",
    ]
    return _text(head) + body


def _text(lines: Iterable[str]) -> bytes:
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"


def sent(message: bytes, *, to: str = PEER, stamp: str = "Nov 22 16:26:03") -> bytes:
    """A message that Asterisk sent, as it stands in its full log."""
    return _block(message, b"Transmitting", b"to", to, stamp)


def received(message: bytes, *, peer: str = PEER, stamp: str = "Nov 22 16:26:04") -> bytes:
    """A message that Asterisk received."""
    return _block(message, b"Received", b"from", peer, stamp)


def _block(message: bytes, verb: bytes, preposition: bytes, peer: str, stamp: str) -> bytes:
    kind = b"response" if message.startswith(b"SIP/2.0") else b"request"
    head = b"[%s] VERBOSE[2630] res_pjsip_logger.c: <--- %s SIP %s (%d bytes) %s %s --->\n"
    return head % (stamp.encode(), verb, kind, len(message), preposition, peer.encode()) + message + b"\n"


def call(answer: bytes, asked: bytes | None = None) -> bytes:
    """A request that was sent, some noise, and its answer."""
    noise = b"[Nov 22 16:26:03] VERBOSE[2633][C-00000001] dial.c: Called PJSIP/old@trunk\n"
    return sent(asked if asked is not None else request()) + noise + received(answer)


def record(
    *contacts: str,
    status: int = 301,
    method: str = "INVITE",
    call: str = "call-1",
    cseq: int | str = 1,
    branch: int = 0,
    peer: str = "udp/192.0.2.7/5060",
    buri: str = "sip:old@gw.test",
    ouri: str = "sip:dialled@lab.test",
    ts: str = "1795364763.123456",
    end: str = " end=1",
    key: bytes | None = None,
) -> bytes:
    """The one-line record that `redirectd snippet kamailio` makes Kamailio write: `v=2`, proven, with a `key`."""
    contact = ", ".join(contacts).encode("utf-8", "surrogateescape")
    values = (
        f"v={1 if key is None else 2} ev={status} ts={ts} m={method} ci={_quoted(call)} cseq={cseq} br={branch} "
        f"src={peer} "
        f"ouri={_quoted(ouri)} buri={_quoted(buri)} nct={len(contacts)} ctlen={len(contact)} "
        f"ct={quote_from_bytes(contact, safe='')}"
    )
    if key is not None:
        values += f" mac={sha512(key + values.encode()).hexdigest()[:40]}"
        stamp = datetime.fromtimestamp(float(ts), UTC)
        head = f"{stamp:%b %d %H:%M:%S} vm kamailio[2630]: NOTICE"
    else:
        head = "Nov 22 16:26:03 vm kamailio[2630]: NOTICE"
    return f"{head}: {{2 1 INVITE}} <script>: REDIRECTD {values}{end}\n".encode()


def _quoted(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe="")


@dataclass
class Found:
    """What a log came to: remaps as old -> (new URIs, flags), refusals as (rule, old), and the rest."""

    remaps: dict[str, tuple[list[str], set[str]]] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    learnt: list[Learnt] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    progress: list[SessionProgress] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    batch: Batch = field(default_factory=lambda: Batch("test"))

    @property
    def sightings(self) -> int:
        return len(self.learnt) + len(self.refusals)


def reading(policy: Policy = POLICY, dialects: Sequence[Dialect] = registry.ALL) -> Reading:
    """How the tests read: UTC, all dialects."""
    return Reading("test", dialects, UTC, policy)


def read(data: bytes, policy: Policy = POLICY, *, older: bytes | None = None, keys: Sequence[bytes] = ()) -> Found:
    """Reads a whole log through scanner, pairing and rules; `keys` prove its records."""
    log = MemoryLog(data, MemoryLog(older) if older is not None else None)
    how = reading(policy)
    if keys:
        how = replace(how, dialects=with_keys(how.dialects, tuple(keys)))
    reader = LogReader(log, how, clock=lambda: NOW)
    batch = Batch("test")
    while reader.read(batch, final=True):
        pass
    return found_in(batch)


def found_in(batch: Batch) -> Found:
    """A batch in the words of the tests."""
    found = Found(progress=batch.progress, unreadable=[one.why for one in batch.quarantined], batch=batch)
    for verdict in batch.verdicts.values():
        if isinstance(verdict, Learnt):
            found.learnt.append(verdict)
            found.remaps[verdict.old_uri] = ([one.uri for one in verdict.candidates], set(verdict.flags))
        else:
            found.refusals.append(verdict)
            found.refused.append((verdict.rule, verdict.old_uri))
    return found
