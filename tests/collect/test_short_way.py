"""The short ways of reading (one search for several byte strings, 183s at a glance) come to what the long ones do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.observer import Observation
from redirectd.collect.places import Places
from redirectd.collect.scan import Block
from redirectd.dialects.envelope import undo_array, undo_json, undo_octal
from redirectd.dialects.plain import early_media, plain_183, plain_request
from redirectd.dialects.registry import ALL, literals
from redirectd.sip.message import Request, parse_message
from tests.collect.logs import NOW, MemoryLog, reading, received, record, request, response, sent
from tests.collect.strategies import interleaved, pjsip_logs, record_logs
from tests.collect.test_oracle import LARGEST, blocks_of
from tests.dialects.writers import CASES

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"


class Watching:
    """An observer, with which a reader takes the long way everywhere."""

    def block(self, block: Block, begin: int) -> None:
        """See `Observer`."""

    def found(self, finding: Observation) -> None:
        """See `Observer`."""

    def taken_back(self, event_key: str) -> None:
        """See `Observer`."""


def outcome(
    log: bytes, block: int, cuts: list[int], *, short: bool, mode: Literal["each", "count"] = "each"
) -> tuple[object, ...]:
    """What reading a log that arrives in pieces comes to."""
    source, batch = MemoryLog(), Batch("test")
    with blocks_of(block):
        how = replace(reading(), session_progress=mode)
        reader = LogReader(source, how, clock=lambda: NOW, observer=None if short else Watching())
        done = 0
        for cut in [*sorted(cuts), len(log)]:
            source.grow(log[done:cut])
            done = max(done, cut)
            while reader.read(batch, final=False):
                pass
        while reader.read(batch, final=True):
            pass
    count = len(batch.progress) + batch.counted_progress
    told = batch.progress if mode == "each" else []
    verdicts = {key: replace(one, answer=replace(one.answer, response=None)) for key, one in batch.verdicts.items()}
    return count, told, verdicts, batch.quarantined, batch.losses, batch.read


SPELLINGS = [
    (b"Via: ", b"v:"),
    (b"Call-ID: ", b"i: "),
    (b"Call-ID: ", b"call-id : "),
    (b"CSeq: 1 ", b"CSeq: 1\r\n "),
    (b"CSeq: ", b"Cseq:  "),
    (b"Call-ID: ", b"call-id: other\r\nCall-ID: "),
    (b"\r\nTo: ", b"\r\nVia: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKother\r\nTo: "),
    (b";branch=", b";rport=5060;received=192.0.2.1;branch="),
    (b";branch=", b" ;branch="),
    (b"Content-Length: ", b"Require: 100rel, timer\r\nContent-Type: application/sdp\r\nl:"),
    (b"Content-Length: ", b"c: Application/SDP\r\nRequire: precondition\r\nrequire: 100REL \r\nContent-Length: 7"),
    (b"SIP/2.0 183 Session Progress", b"SIP/2.0 183"),
    (b"SIP/2.0 183 ", b"SIP/2.0 1830 "),
    (b"\r\n\r\n", b"\r\n"),
    (b"From: ", b"no header at all\r\nFrom: "),
]


@st.composite
def early(draw: st.DrawFn, number: int) -> list[bytes]:
    """A call of any dialect with 183s, its headers spelled in ways that programs have."""
    writer = draw(st.sampled_from(CASES))[1]
    branch, call = f"z9hG4bK-early-{number}", f"early-{number % 3}"
    asked = request(f"sip:user{number}@gw.test", call=call, branch=branch)
    answer = response("183 Session Progress", call=call, branch=branch, body=draw(st.sampled_from([b"", SDP])))
    for plain, other in draw(st.lists(st.sampled_from(SPELLINGS), max_size=2)):
        answer = answer.replace(plain, other, 1)
    before = [sent(asked) if draw(st.booleans()) else writer(asked).log] * draw(st.integers(0, 1))
    line = record(status=183, call=call, branch=draw(st.integers(0, 1)), buri=f"sip:user{number}@gw.test")
    behind = [writer(answer).log] * draw(st.integers(1, 2)) + [received(answer), line] * draw(st.integers(0, 1))
    return before + draw(st.permutations(behind))


@st.composite
def mixed_logs(draw: st.DrawFn) -> bytes:
    """A file that several programs write into, or that changes its kind half way."""
    calls = [draw(early(number)) for number in range(draw(st.integers(1, 4)))]
    parts = [[part] for part in draw(st.lists(pjsip_logs() | record_logs(), max_size=2))]
    return draw(interleaved([*calls, *parts]))


cuts = st.lists(st.integers(0, 12_000), max_size=4)
sizes = st.integers(3 * LARGEST, 6 * LARGEST)


@given(mixed_logs(), sizes, cuts)
def test_the_short_way_comes_to_what_the_long_one_does(log: bytes, block: int, cuts: list[int]) -> None:
    """R1, R3, R8: whatever writes into one file and wherever it is cut, none is lost, doubled or told otherwise."""
    cuts = [min(cut, len(log)) for cut in cuts]
    assert outcome(log, block, cuts, short=True) == outcome(log, block, cuts, short=False)


@given(mixed_logs(), sizes)
def test_counting_comes_to_as_many(log: bytes, block: int) -> None:
    """R3: where 183s are counted alone, as many are counted, and all else is the same."""
    each, count = (outcome(log, block, [], short=True, mode=mode) for mode in ("each", "count"))
    assert count[0] == each[0]
    assert count[2:] == each[2:]


PIECES = [
    *literals(ALL, (301, 183)),
    b"SIP/2.0 18",
    b"REDIRECTD v=1 ev=30",
    b"83,73,80,47,50,46,48,32,",
    b"\\",
    b"\n",
    b"x",
]


@pytest.mark.parametrize("passes", ["one", "many"])
@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join), st.integers(0, 60))
def test_no_place_is_missed(passes: str, window: bytes, begin: int) -> None:
    """R1: one pass, or many where its library is not installed, finds each byte string wherever it stands."""
    wanted = literals(ALL, (301, 183))
    with installed(passes):
        assert Places(wanted).find(bytearray(window), begin).places == standing(wanted, window, begin)


@pytest.mark.parametrize("passes", ["one", "many"])
@given(st.sets(st.text("ab;", min_size=1, max_size=5), min_size=2, max_size=6), st.text("ab;", max_size=60))
def test_what_overlaps_is_found(passes: str, words: set[str], text: str) -> None:
    """R1: a byte string is found, too, where it begins with what another one ends with; those counted are counted."""
    every = sorted(word.encode() for word in words)
    wanted = [word for word in every[::2] if not any(word != one and word in one for one in every[::2])]
    counted, window = every[1:], text.encode()
    with installed(passes):
        found = Places(wanted, counted).find(window, 0)
    assert found.places == standing(wanted, window, 0)
    assert found.counted == {one: there for one in counted if (there := standing([one], window, 0))}


@contextmanager
def installed(passes: str) -> Iterator[None]:
    """With the library that searches in one pass, or as if it were not there."""
    with pytest.MonkeyPatch.context() as patch:
        if passes == "one":
            pytest.importorskip("ahocorasick_rs")
        else:
            patch.setattr("redirectd.collect.places.one_pass", None)
        yield


def standing(wanted: Iterable[bytes], window: bytes, begin: int) -> list[int]:
    """Where one of the byte strings stands, told byte by byte."""
    return [at for at in range(begin, len(window)) if window.startswith(tuple(wanted), at)]


@pytest.mark.parametrize(("plain", "other"), [(b"", b""), *SPELLINGS])
def test_what_is_plain_reads_the_same(plain: bytes, other: bytes) -> None:
    """R5, R6: what one expression takes of a message is what its headers say."""
    for message in (response("183 Session Progress", body=SDP), request()):
        text = message.replace(plain, other, 1)
        short = plain_183(text) or plain_request(text)
        if short is None:
            assert other, "the usual spelling is plain"
            continue
        read = parse_message(text)
        branch, call_id, cseq, method = short.identity
        assert read.top_via is not None
        assert (read.top_via.branch, read.call_id) == (branch.decode(), call_id.decode())
        assert read.cseq == (cseq, method.decode())
        assert text[short.body :].startswith(read.body)
        if isinstance(read, Request):
            assert read.uri_text == short.uri.decode()
        else:
            sdp, require = early_media(text, 0, short.body, len(text))
            kind = read.header("content-type") or ""
            assert sdp == (read.body if "sdp" in kind.lower() else b"")
            assert tokens(require.decode()) == tokens(",".join(read.headers("require")))


def tokens(text: str) -> list[str]:
    """What a header's values list (25.1)."""
    return [token.strip() for token in text.split(",")]


escaped = st.lists(st.sampled_from([b"#015#012", b"#012", b"#01", b"#0", b"#", b"#177", b"a", b"15"]), max_size=12)
slashed = st.lists(st.sampled_from([b"\\", b"\\r", b"\\n", b'\\"', b"\\/", b"\\u000a", b"r", b"n", b"u"]), max_size=12)


@given(escaped.map(b"".join))
def test_octal_escapes_are_undone_from_left_to_right(text: bytes) -> None:
    """R25: as a reader of one byte after the other undoes them."""
    out, at = bytearray(), 0
    while at < len(text):
        digits = text[at + 1 : at + 4]
        if text[at : at + 1] == b"#" and (
            digits == b"177" or (len(digits) == 3 and digits.isdigit() and digits < b"040")
        ):
            out.append(int(digits, 8))
            at += 4
        elif text[at:] in (b"#", b"#0", b"#00", b"#01", b"#02", b"#03"):
            break
        else:
            out.append(text[at])
            at += 1
    assert undo_octal(text) == bytes(out)


@given(slashed.map(b"".join))
def test_json_escapes_are_undone_from_left_to_right(text: bytes) -> None:
    """R25: a backslash that is escaped escapes nothing."""
    letters = {b"r": b"\r", b"n": b"\n"}
    out, at = bytearray(), 0
    while at < len(text):
        if text[at : at + 6] == b"\\u000a":
            out += b"\n"
            at += 6
        elif text[at : at + 1] == b"\\" and at + 1 < len(text):
            out += letters.get(text[at + 1 : at + 2], text[at + 1 : at + 2])
            at += 2
        else:
            out += text[at : at + 1]
            at += 1
    assert undo_json(text) == bytes(out)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (b"83,73,80", b"SIP"),
        (b" 83, 73", b"SI"),
        (b"083,73", b"SI"),
        (b"83,256,73", b"S"),
        (b"83,,73", b"S"),
        (b"", b""),
    ],
)
def test_an_array_is_read_to_its_fault(numbers: bytes, text: bytes) -> None:
    """R25: journald's arrays of byte values, also those that another program made."""
    assert undo_array(numbers) == text
