"""The one-line record: every field, every kind of loss, and no forgery."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.dialects.frame import Incomplete, Peer, Record, Unreadable
from redirectd.dialects.kamailio_record import CONTACT_CUT, CONTACT_UNREADABLE, LINE_CUT, KamailioRecord, whole_entries
from redirectd.sip.text import to_bytes

HEAD = b"Nov 22 16:37:39 vm kamailio[14390]: NOTICE: <script>: "
LINE = (
    b"REDIRECTD v=1 ev=301 ts=1795369921.232458 m=INVITE ci=1-26096%40127.0.0.1 cseq=7 br=2 src=udp/127.0.0.1/20003 "
    b"ouri=sip%3ac03%40lab.test buri=sip%3ac03%40gw03.carrier.test%3buser%3dphone nct=1 ctlen=27 "
    b"ct=%3csip%3anew03%40127.0.0.1%3a20001%3e end=1"
)


def read(log: bytes, *, final: bool = True) -> Record:
    record = KamailioRecord().frame(log, max(log.find(b"REDIRECTD"), 0), final=final)
    assert isinstance(record, Record)
    return record


def test_every_field_is_read() -> None:
    """R5: the URI that was asked and the incoming one, with all else that the line tells."""
    record = read(HEAD + LINE + b"\n")
    assert (record.status, record.method, record.call_id, record.cseq) == (301, "INVITE", "1-26096@127.0.0.1", 7)
    assert record.request_uri == "sip:c03@gw03.carrier.test;user=phone"
    assert record.incoming_uri == "sip:c03@lab.test"
    assert record.contacts == ("<sip:new03@127.0.0.1:20001>",)
    assert record.peer == Peer("udp", "127.0.0.1", 20003)
    assert (record.fork, record.contact_headers, record.stamp) == ("2", 1, "1795369921.232458")
    assert record.faults == ()
    assert record.enough


@pytest.mark.parametrize(
    "log",
    [
        b" 2(26536) NOTICE: <script>: " + LINE + b"\n",
        b"\x1b[0;32;49m 1(17451) NOTICE: <script>: " + LINE + b"\n\x1b[0;39;49m",
        b"NOTICE: {2 1 INVITE 1-17295@127.0.0.1} <script>: " + LINE + b"\n",
        b'{"@timestamp":"2026-11-22T16:37:35Z", "message":" NOTICE: <script>: ' + LINE.replace(b"/", b"\\/") + b'"}\n',
        b'{"time":"2026-11-22T16:40:17.4Z","msg":"' + LINE + b'","pname":"kamailio"}\n',
        b'@cee: {"time":"2026-11-22T16:40:17.4Z","msg":"' + LINE + b'"}\n',
        b'{ "level": "NOTICE" "prefix": broken, "message": "' + LINE + b'" }\n',
        b'{"MESSAGE":[' + b",".join(b"%d" % byte for byte in b"NOTICE: <script>: " + LINE) + b'],"__CURSOR":"s"}\n',
        LINE,
    ],
    ids=["stderr", "colour", "log_prefix", "rsyslog-json", "engine", "cee", "invalid-json", "array", "bare"],
)
def test_record_is_the_same_in_every_envelope(log: bytes) -> None:
    """The record stands in any log, a JSON line that is not valid among them."""
    at = log.find(b"REDIRECTD")
    record = KamailioRecord().frame(log, at if at >= 0 else 20, final=True)
    assert isinstance(record, Record)
    assert record.request_uri == "sip:c03@gw03.carrier.test;user=phone"
    assert record.peer == Peer("udp", "127.0.0.1", 20003)
    assert record.faults == ()


def test_older_and_stray_fields_are_kept_apart() -> None:
    """A line with `rr=` or unknown fields reads as before; the strangers are decoded into `extra`."""
    record = read(HEAD + LINE.replace(b" nct=1", b" rr=Moved%20Permanently x=%e9 nct=1") + b"\n")
    assert record.extra == {"rr": "Moved Permanently", "x": "\udce9"}
    assert record.contacts == ("<sip:new03@127.0.0.1:20001>",)


def test_bytes_that_are_not_utf8_come_back() -> None:
    """R25: a value that is not UTF-8 is kept reversibly."""
    record = read(HEAD + LINE.replace(b"new03", b"%ff%fe") + b"\n")
    assert to_bytes(record.contacts[0]) == b"<sip:\xff\xfe@127.0.0.1:20001>"


@pytest.mark.parametrize(
    ("old", "new", "fault", "contacts"),
    [
        (b"ctlen=27 ct=%3csip%3anew03%40127.0.0.1%3a20001%3e", b"ctlen= ct=", (CONTACT_UNREADABLE,), ()),
        (b"ctlen=27 ct=", b"ctlen=1300 ct=%3csip%3aa%40b%3e%2c", (CONTACT_CUT,), ("<sip:a@b>",)),
        (b"ctlen=27 ct=", b"ctlen=1300 ct=", (CONTACT_CUT,), ()),
        (b"nct=1 ctlen=27 ct=%3csip%3anew03%40127.0.0.1%3a20001%3e", b"nct=0 ctlen= ct=", (), ()),
        (b" end=1", b"", (LINE_CUT, CONTACT_CUT), ()),
    ],
    ids=["unreadable", "cut-second", "cut-only", "none", "line-cut"],
)
def test_lost_contacts_are_named(old: bytes, new: bytes, fault: tuple[str, ...], contacts: tuple[str, ...]) -> None:
    """R13, R14: no Contact, an unreadable one and a cut one are three different things."""
    record = read(HEAD + LINE.replace(old, new) + b"\n")
    assert record.faults == fault
    assert record.contacts == contacts


@pytest.mark.parametrize("keep", [30, 70, 150, 200, 220, 240])
def test_cut_line_never_gives_half_a_value(keep: int) -> None:
    """A line cut anywhere gives whole values or none, and says that it was cut."""
    framed = KamailioRecord().frame(HEAD + LINE[:keep] + b"\n", len(HEAD), final=True)
    if isinstance(framed, Record):
        assert LINE_CUT in framed.faults
        assert framed.request_uri in {None, "sip:c03@gw03.carrier.test;user=phone"}
        assert framed.incoming_uri in {None, "sip:c03@lab.test"}
        assert framed.contacts == ()
    else:
        assert isinstance(framed, Unreadable)


def test_line_without_its_end_waits() -> None:
    """While the log may go on, half a line is Incomplete from the line's start."""
    log = b"x\n" + HEAD + LINE[:100]
    assert KamailioRecord().frame(log, log.find(b"REDIRECTD"), final=False) == Incomplete(2)


@pytest.mark.parametrize(
    "text",
    [
        b'NOTICE: <script>: reply 301 Moved from 192.0.2.1:5060 contact="' + LINE + b'" <sip:a@b>',
        b"NOTICE: <script>: reply 301 <script>: " + LINE,
        b"NOTICE: reply 301 Moved contact=<sip:x@y>: " + LINE,
    ],
)
def test_record_inside_other_text_is_no_record(text: bytes) -> None:
    """R26: a header value quoted by an operator's own line can't forge a record."""
    log = b"Nov 22 16:37:39 vm kamailio[14390]: " + text + b"\n"
    assert KamailioRecord().frame(log, log.find(b"REDIRECTD"), final=True) is None


def test_sixty_contacts_lose_only_the_last(corpus: Path) -> None:
    """The corpus line with 60 Contacts, cut at 1200 bytes, keeps only whole ones."""
    log = (corpus / "kamailio/snippet-all-cases.log").read_bytes()
    at = log.find(b"REDIRECTD v=1 ev=301", log.find(b"ci=1-26623") - 200)
    record = KamailioRecord().frame(log, log.find(b"ci=1-26623"), final=True)
    assert at > 0
    assert isinstance(record, Record)
    assert record.contact_headers == 60
    assert record.contacts[0].count("<sip:") == record.contacts[0].count(">") > 10
    assert record.contacts[0].endswith(
        ("q=0.0", "q=0.1", "q=0.2", "q=0.3", "q=0.4", "q=0.5", "q=0.6", "q=0.7", "q=0.8", "q=0.9")
    )


@given(
    entries=st.lists(st.sampled_from([b'"a, \\" <b" <sip:x@y>', b"<sip:a,b@c>;q=0.5", b"sip:d@e"]), min_size=1),
    cut=st.binary(max_size=9),
)
def test_whole_entries_end_at_a_comma_between_entries(entries: list[bytes], cut: bytes) -> None:
    """R14: commas in quotes and angle brackets do not separate."""
    assert whole_entries(b",".join([*entries, b"<" + cut.translate(None, b'<>",\\')])) == b",".join(entries)
