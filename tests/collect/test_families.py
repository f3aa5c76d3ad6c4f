"""What one program wrote is never read as another's: entries of all the others stand in its SIP messages."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from redirectd.collect.batch import Batch
from redirectd.collect.log_reader import LogReader
from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.dialects import registry
from redirectd.dialects.family import FAMILIES, family_of
from redirectd.sources.file import open_log
from tests.dialects import writers
from tests.dialects.writers import WRITERS, Writer

POLICY = Policy(trusted_peers=(ip_network("0.0.0.0/0"),))
RECORD = (
    b"REDIRECTD v=1 ev=301 ts=1795748373.4 m=INVITE ci=f0 cseq=1 br=0 src=udp/192.0.2.7/5062 ouri=sip%3a1%40a.example "
    b"buri=sip%3a1%40a.example nct=1 ctlen=20 ct=%3Csip%3A2%40b.example%3E end=1"
)
ANSWER = (
    b"SIP/2.0 301 Moved\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKf\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
    b"Call-ID: f\r\nCSeq: 1 INVITE\r\nContact: <sip:2@b.example>\r\nContent-Length: 0\r\n\r\n"
)
OUTER: tuple[Writer, ...] = (
    writers.pjsip,
    writers.pjsip_plain,
    writers.chan_sip_sent,
    writers.stderr,
    writers.stderr_color,
    writers.sipdump,
    writers.hep_hex,
    writers.hep_binary,
    writers.sngrep,
)
HEADS = (b"", b"Nov 22 16:37:39 vm kamailio[1]: NOTICE: <script>: ", b" 2(17408) NOTICE: <script>: ")


def options(headers: bytes, body: bytes) -> bytes:
    """A stranger's OPTIONS."""
    return (
        b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bKx\r\n"
        b"From: <sip:x@192.0.2.66>;tag=1\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: stranger\r\nCSeq: 1 OPTIONS\r\n"
        b"%bContent-Length: %d\r\n\r\n%b"
    ) % (headers, len(body), body)


def moves(path: Path) -> Batch:
    """What reading a file with `dialect = "auto"` comes to."""
    with open_log(path) as log:
        dialects = registry.detect(log.read(log.start, 1 << 20))
        reader = LogReader(log, Reading("t", dialects, UTC, POLICY), clock=lambda: datetime(2026, 11, 30, tzinfo=UTC))
        batch = Batch("t")
        while reader.read(batch, final=True):
            pass
    return batch


@pytest.mark.parametrize("outer", OUTER, ids=lambda one: str(one.__name__))
def test_entries_of_other_families_in_a_message_make_nothing(tmp_path: Path, outer: Writer) -> None:
    """R38: a record or an entry of each other family, in the body, a header or a folded one, is that message's text."""
    family = FAMILIES[family_of(outer(options(b"", b"")).log)]
    others = [one(ANSWER).log for name, each in WRITERS.items() if name not in family for one in each]
    if "kamailio-record" not in family:
        others += [head + RECORD + b"\n" for head in HEADS]
    path = tmp_path / "log"
    for forged in others:
        line = forged.partition(b"\n")[0]
        for message in (
            options(b"", forged * 3),
            options(b"User-Agent: " + line + b"\r\n", b""),
            options(b"Subject: x\r\n " + line + b"\r\n", b""),
        ):
            path.write_bytes(outer(message).log * 2)
            batch = moves(path)
            assert not batch.verdicts, (forged, message)


def test_a_file_of_many_programs_has_the_family_of_its_envelope() -> None:
    """R38: a syslog and JSON lines are read by program tag; a file cut at its start is not taken for one program's."""
    assert family_of(b"Nov 22 16:37:39 vm kamailio[1]: x") == "syslog"
    assert family_of(b'{"message":"x"}') == "json"
    for head in (b"o=- 1 1 IN IP4 192.0.2.1\r\n", b""):
        assert family_of(head) == ""
