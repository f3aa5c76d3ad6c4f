"""What explain says of a log: the same as ingest does, with places, pairs, rules, loops and what is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from redirectd.collect.explanation import SHOWN, Explanation, explain_log
from redirectd.collect.loops import MAX_HOPS, SeenMove, ways
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import hints, registry
from redirectd.service.ingestion import ingest
from redirectd.sources.file import open_log
from redirectd.sources.spool import SpoolLog
from redirectd.store import migrate
from redirectd.store.database import Database

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.glob("*/*") if path.suffix not in {".tsv", ".md"})
NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


def explained(path: Path) -> Explanation:
    """A file as explain reads it."""
    with open_log(str(path)) as log:
        reading = Reading(path.name, registry.detect(log.read(log.start, 1 << 20)), UTC, Policy())
        return explain_log(log, reading, lambda: NOW, with_lines=True)


def explained_bytes(log: bytes) -> Explanation:
    """The same of a log that comes by a pipe."""
    pieces = [log[at : at + 10_000] for at in range(0, len(log), 10_000)]
    stream = SpoolLog("pipe", lambda: pieces.pop(0) if pieces else b"")
    reading = Reading("pipe", registry.detect(log[: 1 << 20]), UTC, Policy())
    return explain_log(stream, reading, lambda: NOW, with_lines=True)


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


@pytest.mark.parametrize("name", [name for name in FILES if "hep3" not in name and not name.endswith((".gz", ".xz"))])
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
    """Where the whole answer stands in the log, too, a lesser line beside it is not a fault."""
    assert explained(CORPUS / name).hints() == ()


def test_answers_are_counted_by_dialect_and_code() -> None:
    """R8: each answer received or sent counts once by its code, whatever it is, and once more read changes nothing."""
    log = (CORPUS / "asterisk/ast22-pjsip.full.log").read_bytes()
    counts = explained_bytes(log + log).counts
    assert counts.by_status() == {"asterisk-pjsip": {100: 6, 180: 6, 183: 6, 200: 18, 301: 10, 302: 3, 486: 3}}
    assert counts.by_status(sent=True)["asterisk-pjsip"][603] == 6
    assert counts.requests == {"asterisk-pjsip": 2 * 103}


@pytest.mark.parametrize("name", ["asterisk/ast22-verbose-only.log", "asterisk/ast16-messages-only.log"])
def test_a_log_without_messages_counts_none(name: str) -> None:
    """Lines about calls are no messages: nothing is counted, and the advice stays."""
    found = explained(CORPUS / name)
    assert found.counts.dialects == set()
    assert found.hints()


def test_whole_messages_without_a_301_get_no_advice() -> None:
    """R1: what shows 302s shows 301s too, so that nothing is to be changed in the logging."""
    found = explained_bytes(BLOCK % (b"Transmitting SIP request", len(CALL), b"to", CALL) + ANSWERED_302 + FORWARDED)
    assert found.counts.by_status() == {"asterisk-pjsip": {302: 1}}
    assert found.hints() == ()


def test_chan_sip_gets_the_advice_for_chan_sip() -> None:
    """A log of chan_sip's verbose lines is not sent to pjsip.conf."""
    line = b'    -- Got SIP response 302 "Moved Temporarily" back from 192.0.2.121\n'
    [hint] = explained_bytes(line + FORWARDED).hints()
    assert "sip set debug on" in hint.setting


def test_flags_are_those_that_are_given() -> None:
    """R26: the flags of a remap can come from the policy, which is not known here."""
    with open_log(str(CORPUS / "asterisk/ast22-pjsip.full.log")) as log:
        reading = Reading("log", registry.detect(log.read(log.start, 1 << 20)), UTC, Policy())
        found = explain_log(log, reading, lambda: NOW, with_lines=True, held=lambda learnt: {"untrusted": "why"})
    flags = [entry["flags"] for entry in found.entries if "flags" in entry]
    assert flags
    assert all(one == {"untrusted": "why"} for one in flags)


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


CALL = (
    b"INVITE sip:b@192.0.2.7 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKonecall1\r\nFrom: <sip:a@x>;tag=1\r\n"
    b"To: <sip:b@192.0.2.7>\r\nCall-ID: c302\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)
BLOCK = b"[Nov 22 16:26:03] VERBOSE[2637] res_pjsip_logger.c: <--- %s (%d bytes) %s UDP:192.0.2.7:5060 --->\n%s\n"
_MOVED = CALL.replace(b"INVITE sip:b@192.0.2.7 SIP/2.0", b"SIP/2.0 302 Moved Temporarily", 1).replace(
    b"7>", b"7>;tag=2"
)
ANSWERED_302 = BLOCK % (b"Received SIP response", len(_MOVED), b"from", _MOVED) * 2
FORWARDED = b"[Nov 22 16:26:03] VERBOSE[1] app_dial.c:     -- Now forwarding PJSIP/x to 'Local/400@default'\n"
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
