"""What a container runtime or the journal wraps is read as the same console without the wrapping is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.collect import console_streams
from redirectd.collect.batch import Batch
from redirectd.collect.console_streams import ConsoleStreams, Reads, reader_of, shows_wrapper
from redirectd.collect.log_reader import LogReader
from redirectd.dialects.wrapped_lines import WRAPPERS, wrapper_of
from tests.collect.logs import NOW, Found, MemoryLog, found_in, reading, received, record, request, response, sent
from tests.collect.wrapping import SEVERAL, WRITERS, docker, interleaved

CORPUS = Path(__file__).parent.parent / "corpus"
CONSOLE = (CORPUS / "asterisk/ast22-console-ansi.log").read_bytes()
STDERR = (CORPUS / "kamailio/snippet-all-cases.log").read_bytes()
CALL = sent(request()) + received(response("301 Moved Permanently", "<sip:new@192.0.2.50>"))
"""As a console prints it: with dates, CR LF within the message."""


def opened(log: MemoryLog, *, offset: int = 0, followed: bool = False) -> Reads:
    return reader_of(log, reading(), clock=lambda: NOW, offset=offset, followed=followed)


def read_all(data: bytes) -> Found:
    reader, batch = opened(MemoryLog(data)), Batch("test")
    while reader.read(batch, final=True):
        pass
    assert reader.offset == len(data)
    assert batch.read == len(data)
    return found_in(batch)


def told(found: Found) -> tuple[object, ...]:
    return found.remaps, sorted(found.refused), len(found.progress), sorted(found.unreadable), found.batch.losses


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("console", [CONSOLE, STDERR, CALL], ids=["asterisk", "kamailio", "call"])
def test_wrapped_console_reads_as_the_console(name: str, console: bytes) -> None:
    """The same remaps, refusals, 183s and losses come of a console whatever wraps its lines."""
    plain, wrapped = read_all(console), read_all(b"".join(WRITERS[name](console, "stdout")))
    assert told(wrapped) == told(plain)
    assert plain.sightings


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"docker compose logs"}))
def test_time_comes_from_the_wrapper_where_the_console_has_none(name: str) -> None:
    """R37: Kamailio's standard error has no time; the wrapper's is the answer's."""
    message = response("301 Moved Permanently", "<sip:new@192.0.2.50>").replace(b"\r\n", b"\r\n")
    head = b" 1(7) NOTICE: <script>: %s"
    text = head % (b"sent\n" + request()) + head % (b"reply from udp:192.0.2.7:5060\n" + message)
    found = read_all(b"".join(WRITERS[name](text, "stderr")))
    (learnt,) = found.learnt
    assert learnt.answer.seen_at is not None
    assert learnt.answer.seen_at.strftime("%m-%dT%H:%M:%S") == "11-22T16:26:03"


@pytest.mark.parametrize("name", sorted(SEVERAL))
def test_interleaved_consoles_are_each_read_alone(name: str) -> None:
    """Lines of several programs in turn: each console is whole again, and what each holds is found."""
    texts = {"stdout": CONSOLE, "stderr": STDERR}
    both = read_all(interleaved(name, texts))
    alone = [read_all(text) for text in texts.values()]
    assert both.remaps == alone[0].remaps | alone[1].remaps
    assert both.sightings == sum(one.sightings for one in alone)
    assert both.unreadable == [*alone[0].unreadable, *alone[1].unreadable]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_no_text_of_a_message_is_a_line_of_the_wrapper(name: str) -> None:
    """R38: lines of every wrapper, with records and blocks in them, in a message's body and headers make nothing."""
    forged = received(response("301 Moved Permanently", "<sip:evil@192.0.2.66>", call="forged"))
    lines = [line for write in WRITERS.values() for line in write(record("<sip:evil@192.0.2.66>") + forged, "kamailio")]
    body = b"".join(lines)
    genuine = response("200 OK", extra=(lines[0].decode().strip(),), body=body)
    found = read_all(b"".join(WRITERS[name](sent(request()) + received(genuine), "stdout")))
    assert not found.sightings
    assert "evil" not in repr(found.remaps)


@pytest.mark.parametrize("part", [1, 3])
def test_bare_line_ends_let_no_message_reach_behind_its_count(part: int) -> None:
    """R38, R40: where the CRI dropped the CRs, what can be of a message whose lines had none is counted, not believed.

    A CR is put back on each line, so the count of such a message ends before its text does.
    """
    forged = sent(request("sip:victim@gw.test", call="forged"))
    forged += received(response("301 Moved Permanently", "<sip:evil@192.0.2.66>", call="forged"))
    genuine = response("200 OK", call="other", body=b"\n" * (len(forged) // part) + forged)
    found = read_all(b"".join(WRITERS["CRI"](sent(request(call="other")) + received(genuine) + CALL, "stdout")))
    assert all("unproven" in flags for contacts, flags in found.remaps.values() if "evil" in repr(contacts))
    assert "sip:old@gw.test" in found.remaps
    assert found.batch.losses["ambiguous-frame"]


@pytest.mark.parametrize("name", ["journal", "journalctl -o short"])
def test_a_count_that_lacks_the_empty_lines_hides_no_call(name: str) -> None:
    """R40: the journal drops a console's empty lines, so that what Asterisk counted can reach over the next blocks."""
    for gaps in (294, 497, 672, 721, 1400):
        other = received(response("200 OK", call="other", body=b"v=0" + b"\n" * gaps + b"x\r\n"))
        lines = WRITERS[name](other + CALL, "stdout")
        found = read_all(b"".join(one for one in lines if b'"MESSAGE": ""' not in one and one[-3:] != b": \n"))
        assert "sip:old@gw.test" in found.remaps, gaps
    assert found.batch.losses["ambiguous-frame"]


@pytest.mark.parametrize("line", [b"a=b\r\n", b"\r\r\n", b"\n"])
def test_messages_behind_one_of_many_lines_are_read_or_counted(line: bytes) -> None:
    """R40: what comes behind a message of few lines is read, behind one of so many that it is in doubt, counted."""
    for lines in (0, 1, 40, 200, 600):
        other = received(response("200 OK", call="other", body=line * lines))
        found = read_all(b"".join(WRITERS["CRI"](other + CALL, "stdout")))
        assert found.sightings or found.batch.losses["ambiguous-frame"]
        assert found.sightings or lines > 40


@given(data=st.data(), name=st.sampled_from(sorted(WRITERS)))
def test_reading_goes_on_wherever_it_was_cut(data: st.DataObject, name: str) -> None:
    """A log that grows byte by byte, read in stretches and by a new reader from any committed offset, finds it once."""
    wrapped = b"".join(WRITERS[name](CALL, "stdout"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wrapped)), max_size=4)))
    log = MemoryLog()
    reader, batch = opened(log, followed=True), Batch("test")
    is_told = False
    for end in (*cuts, len(wrapped)):
        log.data = wrapped[:end]
        if not is_told or data.draw(st.booleans()):
            is_told = shows_wrapper(log)
            reader = opened(log, offset=reader.offset, followed=True)
        while reader.read(batch, final=False):
            pass
        reader.confirm()
        assert reader.offset <= end
    while reader.read(batch, final=True):
        pass
    seen = [verdict.old_uri for verdict in batch.verdicts.values()]
    assert seen == ["sip:old@gw.test"]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_message_goes_on_in_the_next_file(name: str) -> None:
    """A rotation in the middle of a block loses nothing, and the first file is left."""
    lines = WRITERS[name](CALL, "stdout")
    first, second = b"".join(lines[:15]), b"".join(lines[15:])
    log, batch = MemoryLog(first), Batch("test")
    reader = opened(log, followed=True)
    while reader.read(batch, final=True):
        pass
    assert reader.offset == len(first)
    reader.follow(MemoryLog(second), 0)
    while reader.read(batch, final=True):
        pass
    assert reader.offset == len(second)
    assert list(found_in(batch).remaps) == ["sip:old@gw.test"]


def test_what_was_not_committed_is_read_again() -> None:
    """After a failed commit the reader goes back to the confirmed offset and finds the same once more."""
    log, batch = MemoryLog(b"".join(docker(CALL))), Batch("test")
    reader = opened(log, followed=True)
    assert reader.read(batch, final=False)
    reader.undo(log, 0)
    again = Batch("test")
    while reader.read(again, final=False):
        pass
    assert list(found_in(again).remaps) == list(found_in(batch).remaps) == ["sip:old@gw.test"]


def test_parts_of_a_line_are_joined() -> None:
    """A message longer than a wrapper's line is whole again."""
    long = response("301 Moved Permanently", "<sip:new@192.0.2.50>", extra=("X: " + "x" * 9_000,))
    for name in ("docker json-file", "CRI"):
        lines = WRITERS[name](sent(request()) + received(long), "stdout")
        assert read_all(b"".join(lines)).remaps == {"sip:old@gw.test": (["sip:new@192.0.2.50"], set())}


def test_what_the_wrapper_lost_is_counted() -> None:
    """R40: a message that journalctl left out, and a line that is not the wrapper's, are losses."""
    head = b"Nov 22 16:26:03 vm kamailio[7]: "
    found = read_all(head + b"INFO: <core>: up\n" + head + b"[1.2K blob data]\n")
    assert found.batch.losses == {"blob-data": 1}
    found = read_all(b"".join(docker(CALL)) + b"SIP/2.0 301 Moved\n")
    assert found.batch.losses == {"not-wrapped": 1}


def test_a_line_without_end_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line over the bound is passed over and counted; what comes behind it is read."""
    monkeypatch.setattr(console_streams, "CHUNK", 1 << 12)
    monkeypatch.setattr(console_streams, "LONGEST_LINE", 1 << 14)
    lines = docker(CALL)
    found = read_all(lines[0] + b"x" * 50_000 + b"\n" + b"".join(lines[1:]))
    assert found.batch.losses == {"line-too-long": 1}
    assert list(found.remaps) == ["sip:old@gw.test"]


def test_silent_consoles_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unfinished message of one console waits for a bounded stretch of others, and so many consoles are kept."""
    monkeypatch.setattr(console_streams, "PATIENCE", 1 << 12)
    half = received(response("301 Moved Permanently", "<sip:new@192.0.2.50>"))[:200]
    noise = b"[Nov 22 16:26:03] VERBOSE[1] x.c: nothing\n" * 200
    lines = WRITERS["docker compose logs"](half, "asterisk-1")
    for number in range(100):
        lines += WRITERS["docker compose logs"](noise[:420], f"other-{number}")
    log, batch = MemoryLog(b"".join(lines)), Batch("test")
    reader = opened(log, followed=True)
    while reader.read(batch, final=False):
        pass
    assert reader.offset > len(log.data) - 10_000
    assert isinstance(reader, ConsoleStreams)
    assert len(reader._consoles) <= console_streams.MOST_STREAMS


@given(head=st.binary(max_size=300), tail=st.binary(max_size=300), name=st.sampled_from(sorted(WRITERS)))
def test_any_bytes_between_lines_raise_nothing(head: bytes, tail: bytes, name: str) -> None:
    """R25: whatever stands between the wrapper's lines, the reading ends at the end."""
    lines = WRITERS[name](CALL, "stdout")
    for wrapper in WRAPPERS:
        for line in head.split(b"\n"):
            wrapper().unwrap(line)
    read_all(b"".join(lines[:3]) + head + b"\n" + b"".join(lines[3:]) + tail)


class Counting(MemoryLog):
    """Counts the bytes that are read."""

    count = 0

    def read(self, offset: int, size: int) -> bytes:
        found = super().read(offset, size)
        self.count += len(found)
        return found


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_work_grows_with_the_log_and_no_faster(name: str) -> None:
    """Each byte of the wrapped log is read a bounded number of times."""
    lines = b"".join(WRITERS[name](CALL, "stdout"))
    counts = []
    for copies in (200, 800):
        log, batch = Counting(lines * copies), Batch("test")
        reader = opened(log)
        while reader.read(batch, final=True):
            pass
        counts.append(log.count / len(log.data))
    assert counts[1] <= max(2.0, counts[0])


def test_plain_logs_have_no_wrapper() -> None:
    """What Kamailio, Asterisk and syslog write by themselves is read in place."""
    for path in (*(CORPUS / "asterisk").iterdir(), *(CORPUS / "kamailio").iterdir(), *(CORPUS / "cases").glob("L*")):
        wrapper = wrapper_of(path.read_bytes())
        assert wrapper is None or (path.name, wrapper.name) == ("journal.json", "journal"), path.name
    assert isinstance(opened(MemoryLog(record("<sip:new@192.0.2.50>"))), LogReader)
