"""Files as they come: several writers in one, cut anywhere, gzipped, begun and ended in the middle of a message."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.collect.verdict import Learnt
from redirectd.dialects import registry
from redirectd.service.ingestion import Summary, ingest
from redirectd.sources.file import open_log
from redirectd.sources.spool import SpoolLog
from redirectd.store import migrate
from redirectd.store.database import Database

CORPUS = Path(__file__).parent.parent / "corpus"
POLICY = Policy(trusted_peers=(ip_network("127.0.0.0/8"),), allowed_target_networks=(ip_network("127.0.0.0/8"),))
NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
ASTERISK, KAMAILIO = "asterisk/ast22-pjsip.full.log", "kamailio/xlog-syslog.log"
BY_DIALECT = {
    "asterisk-pjsip": ("asterisk/ast22-pjsip.full.log", 10),
    "asterisk-json": ("asterisk/ast22-iso-ms.json.log", 3),
    "asterisk-syslog": ("asterisk/ast22-rsyslog-escaped.log", 1),
    "asterisk-console": ("asterisk/ast22-console-ansi.log", 1),
    "asterisk-chan-sip": ("asterisk/ast16-pjsip-and-chan_sip.full.log", 3),
    "hep": ("asterisk/ast22-hep3.raw", 12),
    "kamailio-record": ("kamailio/snippet-all-cases.log", 34),
    "kamailio-dump": ("kamailio/xlog-syslog.log", 32),
    "kamailio-json": ("kamailio/xlog-json-engine.log", 2),
    "kamailio-stderr": ("kamailio/xlog-stderr-color.log", 1),
    "kamailio-journal": ("kamailio/journal.json", 4),
    "kamailio-acc": ("kamailio/acc-syslog.log", 10),
    "kamailio-text": ("kamailio/register-301.log", 1),
    "sipdump": ("kamailio/sipdump.data", 8),
}


def text(name: str) -> bytes:
    data = (CORPUS / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def batch_of(data: bytes, dialect: str = "auto") -> Batch:
    """Bytes read as a log, without a database."""
    log = SpoolLog("torn")
    log.feed(data)
    dialects = registry.detect(data[: 1 << 20]) if dialect == "auto" else (registry.by_name(dialect),)
    reader = LogReader(log, Reading("torn", dialects, UTC, POLICY), clock=lambda: NOW)
    batch = Batch("torn")
    while reader.read(batch, final=True):
        pass
    return batch


def learnt(batch: Batch) -> set[tuple[str, str]]:
    """The remaps of a batch by what makes one."""
    return {(one.identity, one.answer.event_key) for one in batch.verdicts.values() if isinstance(one, Learnt)}


def moves(batch: Batch) -> set[str]:
    return {identity for identity, _ in learnt(batch)}


@pytest.mark.parametrize("dialect", sorted(BY_DIALECT))
def test_each_dialect_reads_its_log_when_forced(dialect: str) -> None:
    """R8: `--dialect` alone finds as many sightings as the log has in that dialect, all told by it."""
    name, sightings = BY_DIALECT[dialect]
    found = batch_of(text(name), dialect)
    assert len(found.verdicts) == sightings
    assert {one.answer.dialect for one in found.verdicts.values()} == {dialect}


def test_forced_on_a_foreign_log_a_dialect_finds_nothing_false() -> None:
    """R5: a dialect that did not write a log makes no remap that the right one would not make."""
    for name in (ASTERISK, KAMAILIO, "kamailio/sipdump.data", "asterisk/ast22-iso-ms.json.log"):
        right = moves(batch_of(text(name)))
        for dialect in registry.ALL:
            assert moves(batch_of(text(name), dialect.name)) <= right, (name, dialect.name)


@pytest.mark.parametrize("kind", ["one after the other", "line by line", "gz"])
def test_several_writers_in_one_file(tmp_path: Path, kind: str) -> None:
    """R8: two servers that write into one syslog file are read as each alone; their sums are the file's."""
    blocks, lines = text(ASTERISK), text(KAMAILIO)
    head = lines.index(b"\n") + 1
    data = lines[:head] + interleaved(blocks, lines[head:]) if kind == "line by line" else lines + blocks
    path = tmp_path / ("both.log.gz" if kind == "gz" else "both.log")
    path.write_bytes(gzip.compress(data) if kind == "gz" else data)
    expected = json.loads((CORPUS / "expected.json").read_text())
    found = ingested(tmp_path, path)
    assert found.sightings == expected[ASTERISK]["sightings"] + expected[KAMAILIO]["sightings"]
    assert found.session_progress == expected[ASTERISK]["session_progress"] + expected[KAMAILIO]["session_progress"]


def test_a_log_of_asterisks_own_is_asterisks_alone() -> None:
    """R38: lines that look like Kamailio's in it can be text of a message, and are read as nothing else."""
    alone = batch_of(text(ASTERISK))
    assert moves(batch_of(text(ASTERISK) + text(KAMAILIO))) == moves(alone)


def interleaved(blocks: bytes, lines: bytes) -> bytes:
    """Whole blocks of Asterisk with lines of Kamailio between them: a writer appends each record at once."""
    out: list[bytes] = []
    rest = lines.splitlines(keepends=True)
    for part in blocks.split(b"\n["):
        out.append((b"[" if out else b"") + part + b"\n")
        out += rest[:2]
        rest = rest[2:]
    return b"".join(out + rest)


def ingested(folder: Path, path: Path) -> Summary:
    database = Database(f"sqlite:///{folder}/redirectd.db")
    migrate.ensure(database)
    with open_log(str(path)) as log:
        dialects = registry.detect(log.read(log.start, 1 << 20))
        return ingest(log, Reading("both", dialects, UTC, POLICY), database, node="n", clock=lambda: NOW)


@pytest.mark.parametrize(
    "name",
    [
        "asterisk/ast22-pjsip.full.log",
        "asterisk/ast22-iso-ms.json.log",
        "asterisk/ast22-rsyslog-escaped.log",
        "asterisk/ast22-console-ansi.log",
        "asterisk/ast22-hep3.raw",
        "kamailio/xlog-syslog.log",
        "kamailio/xlog-rsyslog-json.log",
        "kamailio/xlog-stderr-color.log",
        "kamailio/journal.json",
        "kamailio/sipdump.data",
        "kamailio/siptrace-hep3.raw",
        "kamailio/acc-syslog.log",
    ],
)
def test_a_file_cut_anywhere_tells_less_and_nothing_false(name: str) -> None:
    """R7, R14: ended or begun in the middle of a header, an escape or a message, a file tells no more than whole."""
    data = text(name)
    whole = batch_of(data)
    right = learnt(whole)
    calls = {one.answer.call_key for one in whole.verdicts.values()}
    for at in range(0, len(data), 997 * max(1, len(data) // 40_000)):
        for part in (data[:at], data[at:]):
            found = batch_of(part)
            assert len(found.verdicts) <= len(whole.verdicts), at
            assert {one.answer.call_key for one in found.verdicts.values()} <= calls, at
            wrong = {one for one in learnt(found) - right if not held(found, one[1])}
            assert not wrong, at


def held(batch: Batch, event_key: str) -> bool:
    """Whether a cut answer's remap is held as malformed."""
    verdict = batch.verdicts[event_key]
    return isinstance(verdict, Learnt) and "malformed" in verdict.flags


@pytest.mark.parametrize("name", ["kamailio/xlog-syslog.log", "kamailio/xlog-rsyslog-json.log"])
@pytest.mark.parametrize("limit", [301, 452, 503, 604, 755])
def test_lines_cut_at_a_loggers_limit(name: str, limit: int) -> None:
    """R14: where each line is cut at the logger's limit, whatever stands there, no false remap comes of it."""
    whole = batch_of(text(name))
    cut = b"\n".join(line[:limit] for line in text(name).split(b"\n"))
    found = batch_of(cut)
    assert {one.answer.call_key for one in found.verdicts.values()} <= {
        one.answer.call_key for one in whole.verdicts.values()
    }
    assert not {one for one in learnt(found) - learnt(whole) if not held(found, one[1])}
