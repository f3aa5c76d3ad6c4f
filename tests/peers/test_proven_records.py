"""R39 on a real Kamailio: its records come out proven, and a forged one in a Call-ID moves nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from hashlib import sha512
from pathlib import Path

import pytest

from redirectd.collect.policy import Policy
from redirectd.collect.reading import Reading
from redirectd.config.secrets import read_key
from redirectd.dialects import registry
from redirectd.dialects.frame import Authenticity, Record
from redirectd.dialects.kamailio_record import KamailioRecord
from redirectd.review.follower import Follower, Watch
from redirectd.review.target_health import failing
from redirectd.service.collector import Collector
from redirectd.sources.follow import FollowedFile
from redirectd.store.database import Database
from tests.peers.conftest import Answer, StartKeyed
from tests.peers.lab.sip_peers import moved_to, place_call
from tests.peers.operator import Operator

EVIL = (
    "v={} ev=301 ts=1796003731.1 m=INVITE ci=evil cseq=1 br=0 src=udp/192.0.2.1/5060 ouri=sip%3aboss%40example.net "
    "buri=sip%3aboss%40192.0.2.1 nct=1 ctlen=24 ct=%3csip%3aevil%40192.0.2.66%3e sdp="
)
LOG_PREFIX = '\nlog_prefix="{$mt $hdr(CSeq) $ci} "\n'


@pytest.mark.peer("kamailio")
def test_a_forged_record_in_a_call_id_moves_nothing(
    operator: Operator,
    start_keyed: StartKeyed,
    answering_side: Answer,
    loopback_address: str,
    short_folder: Path,
) -> None:
    """R39: with Debian's log_prefix the true record of each entry is proven, and forged ones are only counted."""
    old = answering_side(moved_to("<sip:new03@203.0.113.9:5070>"))
    proxy, _ = start_keyed(old, more=LOG_PREFIX)
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

    key, log = read_key(short_folder / "record.key"), proxy.log_file.read_bytes()
    assert key is not None
    assert key not in log
    for line in (line for line in log.splitlines(keepends=True) if b"REDIRECTD v=2" in line):
        told = KamailioRecord([key]).frame(line, line.find(b"REDIRECTD"), final=True)
        assert isinstance(told, Record)
        assert told.authenticity is Authenticity.PROVEN


GONE = (
    "v={} ev=404 ts={} m=INVITE ci=gone{} cseq=1 br=0 src=udp/127.0.0.1/5060 ouri={uri} buri={uri} nct=0 ctlen=0 ct= "
)


@pytest.mark.peer("kamailio")
def test_twelve_forged_404s_do_not_suspend_an_approved_remap(
    operator: Operator,
    start_keyed: StartKeyed,
    answering_side: Answer,
    loopback_address: str,
    short_folder: Path,
) -> None:
    """R39: calls whose Call-ID holds `ev=404` of an approved target, printed by log_prefix, make nothing fail."""
    old = answering_side(moved_to("<sip:new03@127.0.0.9:5070>"))
    proxy, _ = start_keyed(old, more=LOG_PREFIX)
    place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test")
    proxy.tells(1)
    operator.json("ingest", str(proxy.log_file))
    [remap] = operator.pending()
    operator.run("approve", str(remap["id"]))

    uri = "sip%3anew03%40127.0.0.9%3a5070"
    for number in range(12):
        fields = GONE.format(1 + number % 2, f"{time.time() + 5:.6f}", number, uri=uri)
        proof = "" if number % 2 == 0 else f"mac={sha512(fields.encode()).hexdigest()[:40]} "
        call_id = f"x <script>: REDIRECTD {fields}{proof}end=1"
        place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test", call_id=call_id)
    proxy.tells(13)
    assert proxy.log_file.read_bytes().count(b"ev=404") >= 12
    key = read_key(short_folder / "record.key")
    assert key is not None
    assert followed(operator.folder / "redirectd.db", proxy.log_file, key) == {}


def followed(file: Path, log: Path, key: bytes) -> dict[int, list[str]]:
    """What a service that follows the log counts against approved remaps."""
    database = Database(f"sqlite:///{file}")
    reading = Reading("kamailio", registry.with_keys(registry.ALL, [key]), UTC, Policy())
    collector = Collector(
        lambda _stored: FollowedFile(log, None),
        reading,
        database,
        node="here",
        clock=lambda: datetime.now(UTC),
        on_progress=lambda _progress: None,
        companion=Follower(database, Watch(), clock=lambda: datetime.now(UTC)),
    )
    try:
        while collector.pump().more:
            pass
        with database.read() as connection:
            return {number: [str(figure) for figure in one.figures] for number, one in failing(connection).items()}
    finally:
        collector.source.close()
        database.close()
