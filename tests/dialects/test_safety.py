"""What every dialect of the registry withstands, whatever is in a message (R38 to R40); `LOGS` has a log of each."""

from __future__ import annotations

from datetime import UTC
from ipaddress import ip_network
from itertools import cycle, product
from random import Random

import pytest

from redirectd.collect.batch import Batch
from redirectd.collect.capture import CapturedLog, searchable
from redirectd.collect.console_streams import reader_of
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.collect.verdict import Learnt
from redirectd.dialects import registry
from redirectd.dialects.chan_sip_block import ENTRY_BUFFER
from redirectd.dialects.registry import ALL, STREAMS
from tests.collect.logs import NOW, MemoryLog
from tests.dialects.logfiles import LOGS, Log, Logged
from tests.dialects.writers import NOISE

POLICY = Policy(trusted_peers=(ip_network("0.0.0.0/0"),))
NAMED = [(name, log) for name in sorted(LOGS) for log in LOGS[name]]
IDS = [f"{name}-{number}" for name in sorted(LOGS) for number in range(len(LOGS[name]))]
SEARCHED = [(name, log) for name, log in NAMED if name not in {one.name for one in STREAMS} - {"hep"}]
SEARCHED_IDS = [one for (name, _), one in zip(NAMED, IDS, strict=True) if name in {name for name, _ in SEARCHED}]
FRAMED = [one for one in NAMED if one[0] != "sip-text"]
"""Text of an unknown program has no frame: its whole log is that of nobody."""
FRAMED_IDS = [one for one in IDS if not one.startswith("sip-text")]
every = pytest.mark.parametrize(("name", "write"), NAMED, ids=IDS)
searched = pytest.mark.parametrize(("name", "write"), SEARCHED, ids=SEARCHED_IDS)
known = pytest.mark.parametrize("auto", [True, False], ids=["family found", "all dialects"])

OTHER_LINES = {
    "asterisk-syslog": b"Nov 22 16:26:01 vm asterisk[1]: VERBOSE[1]: pbx.c:1 in pbx_extension_helper: Executing\n",
    "kamailio-journal": b'{"__CURSOR":"s=1","MESSAGE":"reply 100","__REALTIME_TIMESTAMP":"1795365767101508"}\n',
    "kamailio-stderr": b" 2(17408) NOTICE: <script>: reply 100 Trying from 192.0.2.9:5060\n",
}
"""Lines of the same program, where it begins its lines in a way of its own."""

COMMON = (
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%b\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>%b\r\n"
    b"Call-ID: %b\r\nCSeq: 1 INVITE\r\n"
)


def answer(
    call: bytes, new: bytes, *, status: bytes = b"301 Moved", extra: bytes = b"", body: bytes = b"", size: bytes = b""
) -> Logged:
    """A response; `size` is its Content-Length where that is a lie."""
    head = b"SIP/2.0 %b\r\n" % status + COMMON % (call[:8], b";tag=2", call)
    return Logged(
        head + b"Contact: <%b>\r\n%bContent-Length: %b\r\n\r\n%b" % (new, extra, size or b"%d" % len(body), body)
    )


def call(name: bytes, old: bytes, new: bytes) -> list[Logged]:
    """A request that was sent, and the 301 to it."""
    asked = b"INVITE %b SIP/2.0\r\n" % old + COMMON % (name[:8], b"", name) + b"Content-Length: 0\r\n\r\n"
    return [Logged(asked, was_sent=True), answer(name, new)]


def numbered(number: int) -> list[Logged]:
    return call(b"call%d" % number, b"sip:old%d@gw.test" % number, b"sip:new%d@p.test" % number)


EVIL = call(b"evil", b"sip:victim@gw.test", b"sip:evil@p.test")


def read(data: bytes, *, auto: bool = True) -> Batch:
    """What a log comes to: by the dialects that its beginning shows, or by all of them."""
    log = searchable(MemoryLog(data))
    dialects = registry.detect(log.read(0, 1 << 20)) if auto else ALL
    if isinstance(log, CapturedLog):
        dialects = (log.dialect,)
    reader, batch = reader_of(log, Reading("t", dialects, UTC, POLICY), clock=lambda: NOW), Batch("t")
    while reader.read(batch, final=True):
        pass
    return batch


def seen(batch: Batch) -> set[str]:
    """The calls of the answers that count."""
    return {one.answer.call_id for one in batch.verdicts.values()}


def moves(batch: Batch) -> set[str]:
    """Old and new URI of each remap that was learnt."""
    return {
        f"{one.old_uri} > {one.candidates[0].key.removesuffix(':5060')}"
        for one in batch.verdicts.values()
        if isinstance(one, Learnt)
    }


def expected(*numbers: int) -> set[str]:
    return {f"sip:old{number}@gw.test > sip:new{number}@p.test" for number in numbers}


def believed(batch: Batch) -> list[object]:
    """What was learnt of the forged entries and counts as authentic."""
    return [
        one
        for one in batch.verdicts.values()
        if "evil" in one.answer.call_id + repr(one.answer.contacts) and one.answer.authenticity.is_authentic
    ]


def unaccounted(batch: Batch, count: int) -> int:
    """Of `count` answers, those that are neither counted as calls nor as anything unreadable or lost."""
    genuine = {one for one in seen(batch) if one.startswith("call")}
    return count - len(genuine) - len(batch.quarantined) - batch.losses.get("cut-short", 0)


def test_every_dialect_has_logs_to_be_tested_with() -> None:
    """R38: a dialect that brings no writer of its log is tested by nothing here."""
    assert LOGS.keys() == {one.name for one in ALL}


@every
@known
def test_what_was_written_is_read(name: str, write: Log, auto: bool) -> None:
    """R5, R6: every call, with its move where the log shows one, and nothing else."""
    batch = read(write([one for number in range(3) for one in numbered(number)]), auto=auto)
    assert seen(batch) == {"call0", "call1", "call2"}
    assert moves(batch) in (expected(0, 1, 2), set())
    assert bool(moves(batch)) is (name not in {"kamailio-acc", "kamailio-text"})
    assert not batch.quarantined
    assert not batch.losses


@every
def test_a_log_cut_anywhere_shows_no_other_moves(name: str, write: Log) -> None:
    """R25, R40: whatever is left of a log, calls that are whole are read, and the one that is cut is no other move."""
    first, log = write(numbered(0)), write([*numbered(0), *numbered(1), *numbered(2)])
    step = max(1, len(first) // 40)
    for at in range(0, len(first), step):
        behind = read(log[at:])
        assert moves(behind) <= expected(0, 1, 2)
        if (name, write) in SEARCHED:
            assert {"call1", "call2"} <= seen(behind)
        before = read(log[: len(log) - at])
        assert moves(before) <= expected(0, 1, 2)
        assert "call0" in seen(before)


@searched
def test_noise_between_entries_changes_nothing(name: str, write: Log) -> None:
    """R25: other lines of the same program come between the entries."""
    noise = OTHER_LINES.get(name) or next((line for program, line in NOISE.items() if name.startswith(program)), b"\n")
    parts = [write(numbered(number)) for number in range(3)]
    batch = read(noise * 3 + (noise * 2).join(parts) + noise)
    assert seen(batch) == {"call0", "call1", "call2"}
    assert not batch.quarantined


NEVER_SURE = {"kamailio-record", "kamailio-acc", "kamailio-text", "siptrace-rows", "ngrep-wrapped", "sip-text"}
"""Dialects whose every sighting is held: text without a frame, and lines without a proof."""


@searched
@known
def test_entries_of_two_writers_in_turn_are_read_or_counted(name: str, write: Log, auto: bool) -> None:
    """R38, R40: two programs write one log: no call of either is lost uncounted, where the log is not known as one's.

    HEP's datagrams are no text, and have a file of their own.
    """
    for other, second in SEARCHED:
        if "hep" in {name, other} and name != other:
            continue
        parts = [(write, second)[number % 2](numbered(number)) for number in range(4)]
        batch = read(b"".join(parts), auto=auto)
        own = 2 if auto else 4
        assert unaccounted(batch, own) <= 0 or batch.losses.get("ambiguous-frame"), other
        assert moves(batch) <= expected(0, 1, 2, 3), other


PLACES = ("body", "long length", "short length", "folded header", "header", "Call-ID", "user part")


def forged(place: str, entries: bytes) -> Logged:
    """A message of a stranger that holds entries of some log."""
    line = entries.replace(b"\r", b"").strip(b"\n")
    if place == "body":
        return answer(b"st", b"sip:s@t", status=b"200 OK", body=b"x\r\n" + entries * 2)
    if place == "long length":
        return answer(b"st", b"sip:s@t", status=b"200 OK", body=entries * 2, size=b"60000")
    if place == "short length":
        return answer(b"st", b"sip:s@t", status=b"200 OK", body=b"x\r\n" + entries * 2, size=b"1")
    if place == "folded header":
        return answer(b"st", b"sip:s@t", status=b"200 OK", extra=b"X: y\r\n %b\r\n" % line.replace(b"\n", b"\r\n "))
    if place == "header":
        return answer(b"st", b"sip:s@t", status=b"200 OK", extra=b"X: %b\r\n" % line.replace(b"\n", b" "))
    if place == "Call-ID":
        return answer(b"st" + line.replace(b"\n", b"_"), b"sip:s@t", status=b"200 OK")
    return answer(b"st", b"sip:%b@t" % line.replace(b"\n", b"%0a"), status=b"200 OK")


@every
@pytest.mark.parametrize("place", PLACES)
def test_no_entry_of_any_dialect_in_a_message_is_believed(name: str, write: Log, place: str) -> None:
    """R38, R40: it makes no authentic remap, and hides no call before or behind it."""
    for other, forger in NAMED:
        try:
            log = write([*numbered(0), forged(place, forger(EVIL)), *numbered(1)])
        except UnicodeDecodeError:
            continue  # JSON holds no such bytes
        batch = read(log)
        assert not believed(batch), other
        assert unaccounted(batch, 2) <= 0, other


LIES: dict[str, bytes] = {
    "0": b"Content-Length: 0\r\n",
    "3": b"Content-Length: 3\r\n",
    "5": b"Content-Length: 5\r\n",
    "folded": b"Content-Length:\r\n 5\r\n",
    "compact": b"l: 5\r\n",
    "short, then long": b"Content-Length: 5\r\nContent-Length: 900\r\n",
    "long, then short": b"Content-Length: 900\r\nContent-Length: 5\r\n",
    "negative": b"Content-Length: -5\r\n",
    "words": b"Content-Length: five\r\n",
    "none": b"",
}
"""Header lines that say less than there is, or nothing; `900` ends within the forged text."""


@pytest.mark.parametrize(("name", "write"), FRAMED, ids=FRAMED_IDS)
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_length_that_says_less_makes_no_entry_of_what_follows(name: str, write: Log, lie: bytes) -> None:
    """R38, R40: its own writer's delimiter and entries behind such a length are no authentic remap."""
    own = [log for other, log in NAMED if other == name or log is write]
    for forger, before in product(own, (b"", b"x\r\n", b"v=0\r\n")):
        honest = answer(b"st", b"sip:s@t", status=b"200 OK", size=b"LIE")
        liar = honest.message.replace(b"Content-Length: LIE\r\n", lie) + before + forger(EVIL) * 2
        try:
            batch = read(write([*numbered(0), Logged(liar), *numbered(1)]))
        except UnicodeDecodeError:
            continue  # JSON holds no such bytes
        assert not believed(batch), before
        assert unaccounted(batch, 2) <= 0, before


CROSSED_LIES: dict[str, bytes] = LIES | {
    "1": b"Content-Length: 1\r\n",
    "60000": b"Content-Length: 60000\r\n",
    "huge": b"Content-Length: 999999999999\r\n",
    "compact, long": b"l: 60000\r\n",
    "long, then compact": b"Content-Length: 60000\r\nl: 5\r\n",
    "folded, long": b"Content-Length:\r\n 60000\r\n",
    "space": b"Content-Length : 5\r\n",
    "plus": b"Content-Length: +5\r\n",
    "two": b"Content-Length: 5 900\r\n",
    "other name": b"X-Content-Length: 60000\r\n",
}
FIRST_LINES = (b"SIP/2.0 200 %b\r\n", b"SIP/2.0 183 %b\r\n", b"SIP/2.0 301 %b\r\n", b"OPTIONS sip:%b@d SIP/2.0\r\n")
CROSSED = (
    "body",
    "first line",
    "Via",
    "display name",
    "user part",
    "Call-ID",
    "Contact",
    "parameter",
    "header",
    "fold",
)
FAKE_RECORD = (
    b"REDIRECTD v=2 ev=301 ts=1795364763.123456 m=INVITE ci=evil cseq=1 br=0 src=udp/192.0.2.7/5062 "
    b"ouri=sip%%3avictim%%40gw.test buri=sip%%3avictim%%40gw.test nct=1 ctlen=18 ct=%%3csip%%3aevil%%40p.test%%3e "
    b"mac=%b end=1\n" % (b"0" * 64)
)


def crossed(chance: Random) -> Logged:
    """A stranger's message that holds entries of some log in one place, and lies about its length."""
    place, lie = chance.choice(CROSSED), chance.choice([*CROSSED_LIES.values(), b"Content-Length: %d\r\n"])
    _, forger = chance.choice(NAMED)
    forged = (forger(EVIL) if chance.random() < 0.95 else FAKE_RECORD) * chance.choice((1, 2))
    line = forged.replace(b"\r", b"").strip(b"\n").replace(b"\n", chance.choice((b" ", b"_", b"%0a")))
    put = dict.fromkeys(CROSSED, b"") | ({place: line} if place not in {"body", "fold"} else {})
    if place == "body":
        put["body"] = chance.choice((b"x\r\n", b"v=0\r\n")) + forged
    if place == "fold":
        put["fold"] = forged.replace(b"\r", b"").strip(b"\n").replace(b"\n", b"\r\n ")
    message = chance.choice(FIRST_LINES) % (put["first line"] or b"x") + (
        b'Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKst;x=%b\r\nFrom: "%b" <sip:a@b>;tag=1\r\n'
        b'To: <sip:%b@d>;tag=2\r\nCall-ID: st%b\r\nCSeq: 1 INVITE\r\nContact: <sip:s%b@t>;x="%b"\r\n'
        b"X: y%b\r\nY: z\r\n %b\r\n"
    ) % tuple(put[one] for one in CROSSED[2:])
    message += (lie % len(put["body"]) if b"%d" in lie else lie) + chance.choice((b"\r\n", b"\r\n", b"")) + put["body"]
    return Logged(message.replace(b"\r\n", b"\n") if chance.random() < 0.1 else message, chance.random() < 0.15)


def own(batch: Batch) -> list[object]:
    """What is believed of a forged entry, and is not the stranger's own answer."""
    return [one for one in believed(batch) if isinstance(one, Learnt) and not one.answer.call_id.startswith("st")]


CROSSINGS = 15
"""Messages for each log; the campaign in `tests.bench` takes many more."""


@pytest.mark.parametrize(("name", "write"), NAMED, ids=IDS)
def test_no_lie_and_place_of_a_forged_entry_go_together(name: str, write: Log) -> None:
    """R38, R40: whatever a message lies and wherever it has an entry of any log, no call near it is lost or forged."""
    chance = Random(name)
    for number in range(CROSSINGS):
        liar = crossed(chance)
        if name.startswith("asterisk") and len(liar.message) > ENTRY_BUFFER - 512:
            continue  # Asterisk cuts such an entry
        try:
            log = write([*numbered(0), liar, *numbered(1)])
        except UnicodeDecodeError:
            continue  # JSON holds no such bytes
        for auto in (True, False):
            batch = read(log, auto=auto)
            assert not own(batch), (number, auto)
            assert unaccounted(batch, 2) <= 0 or batch.losses.get("ambiguous-frame"), (number, auto)


@every
def test_lengths_that_are_right_hold_nothing(name: str, write: Log) -> None:
    """R40: bodies of every length, also of none, put no call behind them in doubt."""
    bodies = (b"", b"v=0\r\n", b"v=0", b"v=0\r\n\r\n", b"a\nb\n", b"\x01" * 300 if "json" not in name else b"x")
    answers = [answer(b"call1", b"sip:s@t", status=b"183 Session Progress", body=one) for one in bodies]
    batch = read(write([*numbered(0), *answers, *numbered(2)]))
    assert {"call0", "call2"} <= seen(batch)
    assert moves(batch) in (expected(0, 2), set())
    held = [one for one in batch.verdicts.values() if not one.answer.authenticity.is_authentic]
    assert bool(held) is (name in NEVER_SURE), held
    assert "ambiguous-frame" not in batch.losses


@every
@known
@pytest.mark.parametrize(
    "size", [b"0", b"1", b"300", b"60000", b"999999999", b"9" * 20, b"-5", b"x", b"60000\r\nContent-Length: 4"]
)
def test_a_lying_length_hides_nothing(name: str, write: Log, size: bytes, auto: bool) -> None:
    """R40: whatever length a message states, each answer behind it is read or counted, and none is another move."""
    for body, was_sent in zip((b"v=0\r\n", b"v=0\r\n" * 40, b""), cycle((False, True))):
        liar = answer(b"liar", b"sip:x@y", status=b"183 Session Progress", body=body, size=size)
        calls = [one for number in range(1, 8) for one in numbered(number)]
        batch = read(write([*numbered(0), Logged(liar.message, was_sent), *calls]), auto=auto)
        assert moves(batch) <= expected(*range(8))
        assert unaccounted(batch, 8) <= 0


HEADERS = (
    b"<--- Received SIP response (%d bytes) from UDP:192.0.2.66:5060 --->\nSIP/2.0 200 OK\n",
    b"Transmitting (NAT) to 192.0.2.66:5060:\nSIP/2.0 301 Moved\n",
)


@pytest.mark.parametrize("header", HEADERS, ids=["pjsip", "chan_sip"])
@pytest.mark.parametrize("name", ["asterisk-pjsip", "asterisk-console"])
def test_no_header_in_a_body_changes_how_the_log_is_read(name: str, header: bytes) -> None:
    """R38: a dated header in a body makes no dated console of a log, one of chan_sip hides nothing on a terminal."""
    for write in LOGS[name]:
        for lead, size in product((b"", b"[x] "), range(440, 580, 9)):
            body = b"\n" + lead + (header % size if b"%d" in header else header)
            log = write([*numbered(0), answer(b"st", b"sip:s@t", status=b"200 OK", body=body), *numbered(1)])
            assert seen(read(log)) >= {"call0", "call1"}
