"""R39 on a real Kamailio: its records come out proven, and a forged one in a Call-ID moves nothing."""

from __future__ import annotations

from hashlib import sha512
from pathlib import Path

import pytest

from redirectd.cli.recordkey import KAMAILIO_COPY, make_copies
from redirectd.config.recordkeys import read_key
from redirectd.dialects.frame import Authenticity, Record
from redirectd.dialects.kamailio_record import KamailioRecord
from tests.peers.conftest import Answer, StartKamailio
from tests.peers.lab.kamailio import to_dispatcher_set
from tests.peers.lab.sip_peers import moved_to, place_call
from tests.peers.operator import Operator

EVIL = (
    "v={} ev=301 ts=1796003731.1 m=INVITE ci=evil cseq=1 br=0 src=udp/192.0.2.1/5060 ouri=sip%3aboss%40example.net "
    "buri=sip%3aboss%40192.0.2.1 nct=1 ctlen=24 ct=%3csip%3aevil%40192.0.2.66%3e sdp="
)


@pytest.mark.peer("kamailio")
def test_a_forged_record_in_a_call_id_moves_nothing(
    operator: Operator,
    start_kamailio: StartKamailio,
    answering_side: Answer,
    loopback_address: str,
    short_folder: Path,
) -> None:
    """R39: with Debian's log_prefix the true record of each entry is proven, and forged ones are only counted."""
    own, copy = short_folder / "record.key", short_folder / "redirectd-key.cfg"
    make_copies(own, copy)
    copy.chmod(0o644)
    operator.configure()
    record = operator.record_snippet().replace(str(KAMAILIO_COPY), str(copy))
    record += '\nlog_prefix="{$mt $hdr(CSeq) $ci} "\n'
    old = answering_side(moved_to("<sip:new03@203.0.113.9:5070>"))
    proxy = start_kamailio(to_dispatcher_set(1, extra=record), dispatcher=f"1 sip:{old.address}:{old.port}\n")
    operator.configure(f'[[source]]\nname = "kamailio"\npath = "{proxy.log_file}"\nrecord_keys = ["{own}"]\n')
    invented = sha512(EVIL.encode()).hexdigest()[:40]
    forged = [
        f"x <script>: REDIRECTD {EVIL.format(2)} mac={invented} end=1",
        f"x <script>: REDIRECTD {EVIL.format(2)} mac=none end=1",
        f"x <script>: REDIRECTD {EVIL.format(1)} end=1",
    ]
    for call_id in ["", *forged]:
        sent = place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test", call_id=call_id)
        assert sent.status == 301
    proxy.tells(len(forged) * 2 + 1)

    found = operator.json("ingest", str(proxy.log_file))
    assert (found["sightings"], found["refused"], found["unparsed"]) == (len(forged) + 1, 0, 0)
    [remap] = operator.pending()
    assert (remap["new_uri"], remap["calls"]) == ("sip:new03@203.0.113.9:5070", len(forged) + 1)

    key, log = read_key(own), proxy.log_file.read_bytes()
    assert key is not None
    assert key not in log
    for line in (line for line in log.splitlines(keepends=True) if b"REDIRECTD v=2" in line):
        told = KamailioRecord([key]).frame(line, line.find(b"REDIRECTD"), final=True)
        assert isinstance(told, Record)
        assert told.authenticity is Authenticity.PROVEN
