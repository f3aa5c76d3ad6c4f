"""What explain says of a log: the same as ingest does, with places, pairs, rules, loops and what is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from redirectd.collect.batch import Batch
from redirectd.collect.explanation import SHOWN, Explanation
from redirectd.collect.linecount import LineCount
from redirectd.collect.log_reader import LogReader
from redirectd.collect.loops import MAX_HOPS, SeenMove, ways
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import hints, registry
from redirectd.service.ingestion import ingest
from redirectd.sources.file import open_log
from redirectd.store import migrate
from redirectd.store.database import Database

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.glob("*/*") if path.suffix not in {".tsv", ".md"})
NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


def explained(path: Path) -> Explanation:
    """A file as explain reads it."""
    with open_log(str(path)) as log:
        reading = Reading(path.name, registry.detect(log.read(log.start, 1 << 20)), UTC, Policy())
        explanation = Explanation(LineCount(log))
        reader = LogReader(log, replace(reading, counted=hints.literals()), clock=lambda: NOW, observer=explanation)
        batch = Batch(path.name)
        while reader.read(batch, final=True):
            pass
    return explanation


@pytest.mark.parametrize("name", FILES)
def test_explain_counts_what_ingest_counts(tmp_path: Path, name: str) -> None:
    """R8: for every real log the summary of explain is the one that ingest gives with an empty database."""
    database = Database(f"sqlite:///{tmp_path}/redirectd.db")
    migrate.ensure(database)
    with open_log(str(CORPUS / name)) as log:
        reading = Reading(name, registry.detect(log.read(log.start, 1 << 20)), UTC, Policy())
        counted = ingest(log, reading, database, node="test", clock=lambda: NOW)
    told = explained(CORPUS / name).summary()
    for word in ("sightings", "session_progress", "unpaired", "refused", "unparsed"):
        assert told[word] == getattr(counted, word), word


@pytest.mark.parametrize("name", [name for name in FILES if "hep3" not in name and not name.endswith(".gz")])
def test_lines_are_those_of_the_file(name: str) -> None:
    """Each place is named by its line from 1, and so is its request, which holds the answer's old URI (R5, R6)."""
    data = (CORPUS / name).read_bytes()
    for entry in explained(CORPUS / name).entries:
        assert entry["line"] == data[: entry["position"]].count(b"\n") + 1
        if (request := entry["request"]) is not None:
            assert request["line"] == data[: request["position"]].count(b"\n") + 1
            if entry["dialect"] == "asterisk-pjsip":
                assert entry["old_uri"].encode() in data[request["position"] : request["position"] + 300]


def test_a_storm_is_named_and_cut_short() -> None:
    """R34: a redirect loop is named with its calls; of what came to the same only some places are shown."""
    explanation = explained(CORPUS / "asterisk/ast16-loop-storm.full.log.gz")
    (loop,), chains = explanation.ways()
    assert set(loop.uris) == {"sip:loopA@127.0.30.1:5060", "sip:loopB@127.0.30.2:5060"}
    assert (loop.calls, chains) == ((98, 98), [])
    assert len(explanation.entries) == 2 * SHOWN
    assert {entry["like_this"] for entry in explanation.entries} == {98}


def test_what_is_not_learnt_names_its_rule() -> None:
    """R8, R13: sent and repeated answers and an answer without Contact each say by which rule they make no remap."""
    rules = {
        (entry["read_as"], entry["rule"])
        for name in ("kamailio/sipdump.data", "asterisk/ast22-pjsip.full.log", "kamailio/siptrace-hep3.raw")
        for entry in explained(CORPUS / name).entries
    }
    assert {("sent", "R8"), ("copy", "R8"), ("refused", "R13"), ("session progress", "R3")} <= rules


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("asterisk/ast22-verbose-only.log", "asterisk-forwarding"),
        ("kamailio/register-301.log", "operator-text"),
        ("kamailio/acc-syslog.log", "kamailio-acc-uri"),
    ],
)
def test_what_a_log_cannot_tell_comes_with_the_setting(name: str, expected: str) -> None:
    """A log without whole answers names what to switch on."""
    told = {hint.name: hint for hint in explained(CORPUS / name).hints()}
    assert told[expected].setting


@pytest.mark.parametrize("name", ["kamailio/xlog-syslog.log", "asterisk/ast22-pjsip.full.log"])
def test_a_log_that_tells_all_gets_no_advice(name: str) -> None:
    """Where the whole answer stands in the log, too, a lesser line beside it is no fault."""
    assert explained(CORPUS / name).hints() == ()


def move(old: str, new: str, calls: int = 1) -> SeenMove:
    return SeenMove(old, old, new, new, calls)


def test_loops_and_chains_are_told_apart() -> None:
    """R33, R34: what leads back is a loop, what leads on is a chain, a chain into a loop ends at it."""
    loops, chains = ways([move("a", "b", 3), move("b", "a", 2), move("x", "a"), move("p", "q"), move("q", "r")])
    assert [(set(loop.uris), set(loop.calls)) for loop in loops] == [({"a", "b"}, {2, 3})]
    assert [chain.uris for chain in chains] == [("p", "q", "r")]


def test_long_chains_are_bounded() -> None:
    """R33: a chain is followed for ten hops; a hundred thousand moves are dealt with at once."""
    (chain,) = ways(move(str(n), str(n + 1)) for n in range(100_000))[1]
    assert len(chain.calls) == MAX_HOPS


ASKED = (
    b"INVITE sip:a@%b SIP/2.0\r\n%bVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKcaller\r\nTo: <sip:a@lab.test>\r\n"
    b"Call-ID: one\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)
ANSWER = (
    b"SIP/2.0 301 Moved\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKproxy.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKcaller\r\nTo: <sip:a@lab.test>;tag=1\r\nCall-ID: one\r\n"
    b"CSeq: 1 INVITE\r\nContact: <sip:new@p.test>\r\nContent-Length: 0\r\n\r\n"
)


@pytest.mark.parametrize("dumped", ["$mb", "$snd(buf)"])
def test_a_dump_of_what_was_received_names_what_shows_what_was_sent(tmp_path: Path, dumped: str) -> None:
    """R7: in onsend_route `$mb` is not what Kamailio 5.6.3 sends, `$snd(buf)` is, and the advice says so."""
    via = b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKproxy.0\r\n"
    asked = ASKED % ((b"lab.test", b"") if dumped == "$mb" else (b"192.0.2.7:5060", via))
    head = b"Nov 23 01:09:34 vm kamailio[2160]: NOTICE: <script>: "
    log = head + b"sent to 1:192.0.2.7:5060:\n" + asked + b"\n" + head + b"received from udp:192.0.2.7:5060:\n"
    path = tmp_path / "dump.log"
    path.write_bytes(log + ANSWER + b"\n")
    found = explained(path)
    if dumped == "$mb":
        assert found.summary()["unpaired"] == 1
        [hint] = found.hints()
        assert "$snd(buf)" in hint.setting
        assert "redirectd snippet kamailio" in hint.setting
    else:
        assert [entry["old_uri"] for entry in found.entries] == ["sip:a@192.0.2.7:5060"]
        assert found.hints() == ()


def test_each_hint_names_a_setting() -> None:
    """Whatever a log could not tell, the advice names what to set or to do."""
    for mark in hints.MARKS:
        assert mark.silent or len(mark.setting) > 20, mark.name
