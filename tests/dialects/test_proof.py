"""R39: a record `v=2` is believed by its proof, wherever in an entry it is."""

from __future__ import annotations

from hashlib import sha512

import pytest

from redirectd.dialects.frame import Authenticity, Record, Unreadable
from redirectd.dialects.kamailio_record import PROOF_CUT, SEVERAL, WRONG_PROOF, KamailioRecord

KEY, OLD_KEY = b"0123456789abcdef" * 4, b"fedcba9876543210" * 4
HEAD = b"2026-11-30T01:55:31.072416+00:00 sip1 /usr/sbin/kamailio[235]: NOTICE: "
FIELDS = (
    b"v=2 ev=301 ts=1796003731.100000 m=INVITE ci=own cseq=1 br=0 src=udp/192.0.2.1/5060 "
    b"ouri=sip%3aa%40example.net buri=sip%3aa%40192.0.2.1%3a5060 nct=1 ctlen=20 ct=%3csip%3ab%40192.0.2.2%3e sdp="
)
EVIL = FIELDS.replace(b"ci=own", b"ci=evil")


def mac(fields: bytes, key: bytes = KEY) -> bytes:
    return sha512(key + fields).hexdigest()[:40].encode()


def line(fields: bytes = FIELDS, proof: bytes | None = None) -> bytes:
    return b"REDIRECTD " + fields + b" mac=" + (mac(fields) if proof is None else proof) + b" end=1"


OWN = line()
FORGERIES = [
    line(EVIL, b"0" * 40),
    line(EVIL, mac(FIELDS)),
    line(EVIL, mac(FIELDS)[:39]),
    line(EVIL, mac(EVIL) + b"0"),
    line(FIELDS + b" ct=%3csip%3aevil%40evil.test%3e", mac(FIELDS)),
    line(EVIL, sha512(EVIL).hexdigest()[:40].encode()),
    line(EVIL.replace(b"v=2", b"v=1")),
    line(EVIL, b"<null>"),
    line(EVIL, b"none"),
    b"REDIRECTD " + EVIL,
    b"REDIRECTD " + EVIL + b" REDIRECTD " + EVIL + b" mac=" + mac(FIELDS) + b" end=1",
]


def frame(log: bytes, at: int | None = None, keys: tuple[bytes, ...] = (KEY,)) -> object:
    return KamailioRecord(keys).frame(log, log.find(b"REDIRECTD") if at is None else at, final=True)


@pytest.mark.parametrize("forged", FORGERIES)
def test_a_forged_record_in_a_call_id_hides_nothing(forged: bytes) -> None:
    """R39: whatever `log_prefix` prints of a Call-ID, the entry's own record is read, and the forged one is counted."""
    log = b"x\n" + HEAD + b"{1 1 INVITE x <script>: " + forged + b"} <script>: " + OWN + b"\n"
    for at in (log.find(b"REDIRECTD"), log.rfind(b"REDIRECTD")):
        record = frame(log, at)
        assert isinstance(record, Record)
        assert (record.call_id, record.authenticity) == ("own", Authenticity.PROVEN)
        assert record.forged == forged.count(b"REDIRECTD")
        assert (record.start, record.end) == (2, len(log))


@pytest.mark.parametrize("forged", FORGERIES)
@pytest.mark.parametrize("keys", [(), (KEY,)], ids=["no-key", "key"])
def test_an_entry_without_a_proven_record_never_gives_the_forged_one(forged: bytes, keys: tuple[bytes, ...]) -> None:
    """R39: of several records without a proof none is taken for Kamailio's own; they are counted and kept."""
    log = HEAD + b"{1 1 INVITE x <script>: " + forged + b"} <script>: " + line(FIELDS, b"none") + b"\n"
    told = frame(log, keys=keys)
    assert isinstance(told, Unreadable)
    assert (told.why, told.forged) == (SEVERAL, log.count(b"REDIRECTD"))


def test_a_wrong_or_missing_proof_is_kept_and_counted() -> None:
    """R39: a proof that no key makes is forged; a line cut before it is unreadable, and neither is believed."""
    told = frame(HEAD + b"<script>: " + line(EVIL, b"0" * 40) + b"\n")
    assert isinstance(told, Unreadable)
    assert (told.why, told.forged) == (WRONG_PROOF, 1)
    told = frame(HEAD + b"<script>: " + OWN[:-60] + b"\n")
    assert isinstance(told, Unreadable)
    assert (told.why, told.forged) == (PROOF_CUT, 0)


@pytest.mark.parametrize(("keys", "proof"), [((), None), ((), b"none"), ((KEY,), b"none")])
def test_without_a_key_or_a_proof_a_record_is_unkeyed(keys: tuple[bytes, ...], proof: bytes | None) -> None:
    """R39: without any readable key a proof is never called wrong, and `mac=none` is not a proof."""
    record = frame(HEAD + b"<script>: " + line(FIELDS, proof) + b"\n", keys=keys)
    assert isinstance(record, Record)
    assert (record.call_id, record.authenticity, record.extra) == ("own", Authenticity.UNKEYED, {"sdp": ""})


def test_every_key_of_a_source_proves() -> None:
    """R39: during a rotation the current key and the one before prove, and those of other nodes."""
    record = frame(HEAD + b"<script>: " + line(FIELDS, mac(FIELDS, OLD_KEY)) + b"\n", keys=(KEY, OLD_KEY))
    assert isinstance(record, Record)
    assert record.authenticity is Authenticity.PROVEN


@pytest.mark.parametrize(
    "log",
    [
        b'{"@timestamp":"2026-11-30T01:55:31Z", "message":" NOTICE: <script>: ' + OWN.replace(b"/", b"\\/") + b'"}\n',
        b'{"MESSAGE":[' + b",".join(b"%d" % byte for byte in b"NOTICE: <script>: " + OWN) + b'],"__CURSOR":"s"}\n',
        b"\x1b[0;32;49m 1(17451) NOTICE: <script>: " + OWN + b"\n\x1b[0;39;49m",
        OWN,
    ],
    ids=["rsyslog-json", "array", "colour", "bare"],
)
def test_the_proof_is_checked_in_every_envelope(log: bytes) -> None:
    """R39: the proof is over the record as Kamailio wrote it, whatever escapes are around it."""
    record = frame(log, max(20, log.find(b"REDIRECTD")))
    assert isinstance(record, Record)
    assert record.authenticity is Authenticity.PROVEN


def test_several_proven_records_of_one_line_are_all_read() -> None:
    """R39: where a newline was lost between two records, both count."""
    second = line(FIELDS.replace(b"ci=own", b"ci=second"))
    log = HEAD + b"<script>: " + OWN + b" <script>: " + second + b"\n"
    first = frame(log)
    assert isinstance(first, Record)
    assert (first.call_id, first.forged) == ("own", 0)
    other = frame(log, log.find(b"REDIRECTD", first.end))
    assert isinstance(other, Record)
    assert (other.call_id, other.end) == ("second", len(log))


def test_a_183_is_told_at_a_glance_by_its_proof_alone() -> None:
    """R3, R39: the short way takes a `v=2` of a right proof, and leaves all others to the long one."""
    fields = FIELDS.replace(b"ev=301", b"ev=183")
    for proof, told in ((mac(fields), True), (b"0" * 40, None), (b"none", False)):
        log = b"x\n" + HEAD + b"<script>: " + line(fields, proof) + b"\n"
        glimpse = KamailioRecord((KEY,)).glimpse(log, log.find(b"REDIRECTD"))
        assert (glimpse.proven if glimpse else None) is told
