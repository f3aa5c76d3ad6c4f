"""R38, R39 on real servers: packets of a stranger whose text looks like the log's own entries teach nothing."""

from __future__ import annotations

import socket
import time
from hashlib import sha512

import pytest

from tests.peers.conftest import Answer, StartAsterisk, StartKamailio, StartKeyed
from tests.peers.lab.asterisk import Setup, dial_plan
from tests.peers.lab.kamailio import DUMP_REPLIES, DUMP_REQUESTS, to_dispatcher_set
from tests.peers.lab.process import wait_until
from tests.peers.lab.sip_message import new_mark
from tests.peers.lab.sip_peers import OK, moved_to, place_call
from tests.peers.operator import Operator

TRUSTED = "udp/127.0.0.10/5060"
FIELDS = (
    "v={} ev=301 ts={}.479770 m=INVITE ci=evil{} cseq=1 br=0 src={} ouri=sip%3aboss%40example.net "
    "buri=sip%3aboss%40192.0.2.1 nct=1 ctlen=24 ct=%3csip%3aevil%40192.0.2.66%3e "
)


def records(count: int) -> list[str]:
    """Records as a stranger writes them: of calls over two days, without a proof and with an invented one."""
    now = int(time.time())
    made = [FIELDS.format(1, now - 43_200 * n, n, TRUSTED) + "end=1" for n in range(count)]
    fields = FIELDS.format(2, now, "mac", TRUSTED) + "sdp="
    invented = sha512(fields.encode()).hexdigest()[:40]
    return [f"REDIRECTD {one}" for one in (*made, f"{fields} mac={invented} end=1", f"{fields} mac=none end=1")]


def send(from_address: str, to: tuple[str, int], headers: str, body: str = "", *, said: int | None = None) -> None:
    """One OPTIONS datagram with these header lines; `said` is its Content-Length where that is a lie."""
    length = len(body) if said is None else said
    message = (
        f"OPTIONS sip:boss@{to[0]}:{to[1]} SIP/2.0\r\nVia: SIP/2.0/UDP {from_address};branch={new_mark()};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:x@{from_address}>;tag=1\r\nTo: <sip:boss@{to[0]}>\r\n"
        f"Call-ID: {new_mark('stranger-')}\r\nCSeq: 1 OPTIONS\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((from_address, 0))
        stranger.sendto(message.encode(), to)


@pytest.mark.peer("asterisk")
def test_six_records_in_a_body_teach_nothing(
    operator: Operator, start_asterisk: StartAsterisk, answering_side: Answer, loopback_address: str
) -> None:
    """R38: an OPTIONS whose body, header or folded header holds records and whole blocks makes no remap and no 301."""
    old = answering_side(moved_to("<sip:new@203.0.113.9:5070>"))
    server = start_asterisk(Setup(dial_plan((old.address, old.port))))
    operator.configure(f'[[source]]\nname = "asterisk"\npath = "{server.full_log}"\n')
    text = "\r\n".join(records(6)) + "\r\n"
    answer = (
        "SIP/2.0 301 Moved\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKevil\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
        "Call-ID: evil-block\r\nCSeq: 1 INVITE\r\nContact: <sip:evil@192.0.2.66>\r\nContent-Length: 0\r\n\r\n"
    )
    head = f"<--- Received SIP response ({len(answer)} bytes) from UDP:127.0.0.10:5060 --->\n"
    there = (server.address, server.port)
    send(loopback_address, there, "Content-Type: text/plain\r\n", text)
    send(loopback_address, there, "Content-Type: text/plain\r\n", f"\n[Nov 30 10:00:00] VERBOSE[1] x.c: {head}{answer}")
    send(
        loopback_address, there, f"User-Agent: {records(1)[0]}\r\nSubject: x\r\n {records(1)[0]}\r\n {head.strip()}\r\n"
    )
    send(loopback_address, there, "X-Last: that was all\r\n")
    log = server.wait_for_log("X-Last: that was all")
    assert log.count(b"REDIRECTD v=") >= 10

    found = operator.json("ingest", str(server.full_log))
    assert (found["sightings"], found["unparsed"]) == (0, 0)
    assert operator.pending() == []
    assert operator.json("explain", str(server.full_log))["family"] == "asterisk"


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize("log", ["stderr", "rsyslog"])
def test_a_folded_header_that_an_xlog_prints_teaches_nothing(
    log: str, operator: Operator, start_keyed: StartKeyed, answering_side: Answer, loopback_address: str
) -> None:
    """R39: lines of a folded header, printed raw by any xlog, look like its own and are only counted."""
    moved = moved_to("<sip:new03@203.0.113.9:5070>")
    old = answering_side(lambda message: moved if message.method == "INVITE" else OK)
    proxy, _ = start_keyed(old, log=log, incoming='    xlog("L_NOTICE", "subject: $hdr(Subject)\\n");\n')
    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 301
    proxy.tells(1)

    forged = records(6)
    heads = ("", "0(4711) NOTICE: <script>: ", "Nov 30 10:00:00 vm kamailio[4711]: NOTICE: <script>: ")
    for head in heads:
        for indent in (" ", "\t", "     "):
            folds = "".join(f"{indent}{head}{one}\r\n" for one in forged)
            send(loopback_address, (proxy.address, proxy.port), f"Subject: hello\r\n{folds}")
    send(loopback_address, (proxy.address, proxy.port), "Subject: that was all\r\n")
    wait_until(lambda: b"that was all" in proxy.log_file.read_bytes(), "the last header in the log")
    assert proxy.log_file.read_bytes().count(b"ci=evil") >= len(heads) * 3 * len(forged)

    found = operator.json("ingest", str(proxy.log_file))
    assert found["sightings"] == 1
    [remap] = operator.pending()
    assert (remap["new_uri"], remap["calls"]) == ("sip:new03@203.0.113.9:5070", 1)
    assert found["lost"] > 0, "the forgeries are counted"


@pytest.mark.peer("kamailio")
def test_entries_behind_too_short_a_length_in_a_raw_dump_teach_nothing(
    operator: Operator, start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """R40: a datagram that goes on behind its Content-Length with Kamailio's own heads and a 301 is only in doubt."""
    moved = moved_to("<sip:new04@203.0.113.9:5070>")
    old = answering_side(lambda message: moved if message.method == "INVITE" else OK)
    dump = 'xlog("L_NOTICE", "received from $pr:$si:$sp at $TV(s).$TV(u):\\n$mb");\n'
    script = to_dispatcher_set(1, incoming=dump, extra=DUMP_REPLIES + DUMP_REQUESTS, on_reply="DUMP")
    proxy = start_kamailio(script, dispatcher=f"1 sip:{old.address}:{old.port}\n", log="stderr")
    operator.configure(f'[[source]]\nname = "kamailio"\npath = "{proxy.log_file}"\n')
    there = (proxy.address, proxy.port)
    assert place_call(loopback_address, there, "sip:c04@lab.test").status == 301
    headers = (
        f"Via: SIP/2.0/UDP {proxy.address};branch=z9hG4bKevil\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n"
        "Call-ID: evil-entry\r\nCSeq: 1 INVITE\r\n"
    )
    entries = (
        f" 2(4711) NOTICE: <script>: sent to udp:{old.address}:{old.port}:\nINVITE sip:boss@{old.address} SIP/2.0\r\n"
        f"{headers}Content-Length: 0\r\n\r\n"
        f" 2(4711) NOTICE: <script>: received from udp:{old.address}:{old.port} at 1.1:\nSIP/2.0 301 Moved\r\n"
        f"{headers}Contact: <sip:evil@192.0.2.66>\r\nContent-Length: 0\r\n\r\n"
    )
    for said, before in ((0, "x\r\n"), (1, "x\r\n"), (5, "v=0\r\ns=-\r\n"), (0, "\n x\n"), (9, "\r\n")):
        send(loopback_address, there, "Content-Type: text/plain\r\n", before + entries, said=said)
    send(loopback_address, there, "X-Last: that was all\r\n")
    wait_until(lambda: b"that was all" in proxy.log_file.read_bytes(), "the last header in the log")
    assert proxy.log_file.read_bytes().count(b"Call-ID: evil-entry") >= 10

    found = operator.json("ingest", str(proxy.log_file))
    held = operator.pending()
    assert [one["new_uri"] for one in held] == ["sip:evil@192.0.2.66"]
    assert "unproven" in held[0]["flags"]
    assert found["unpaired"] == 1, "the call's own 301 is read; onsend_route's dump is not the request that was sent"
    assert found["lost"] > 0, "the places are counted"
