"""Proofs that the laboratory is real: what it starts speaks SIP, logs it, reloads and answers."""

import re
import urllib.request
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.peers.conftest import Answer, StartAsterisk, StartKamailio
from tests.peers.lab.asterisk import Setup, dial_plan
from tests.peers.lab.kamailio import DUMP_REPLIES, LOOK_UP_INCOMING_USER, LOOK_UP_USER, to_dispatcher_set
from tests.peers.lab.loopback import own_address
from tests.peers.lab.process import LabError, wait_until
from tests.peers.lab.sip_peers import EARLY_MEDIA_AND_ANSWERS, OK, RINGS_AND_ANSWERS, moved_to, place_call
from tests.peers.lab.sipp import SippAnswerer, sipp_call

BLOCK = re.compile(rb"<--- (Received|Transmitting) SIP (request|response) \((\d+) bytes\) (?:from|to) (\S+) --->\n")


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize("log", ["stderr", pytest.param("rsyslog", marks=pytest.mark.peer("rsyslog"))])
def test_kamailio_logs_the_301_it_relays(
    log: str, start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """A call through Kamailio is answered 301 by a peer that saw it, and one REDIRECTD line tells so."""
    old = answering_side(moved_to("<sip:new03@192.0.2.9:5070;user=phone>"))
    proxy = start_kamailio(to_dispatcher_set(1), dispatcher=f"1 sip:{old.address}:{old.port}\n", log=log)

    call = place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test")

    assert call.status == 301
    assert old.invites() == [f"sip:c03@{old.address}:{old.port}"]
    wait_until(lambda: b"REDIRECTD v=1 ev=301" in proxy.log_file.read_bytes(), "a REDIRECTD line")
    lines = [line for line in proxy.log_file.read_text().splitlines() if "REDIRECTD" in line]
    assert len(lines) == 1
    assert "ouri=sip%3ac03%40lab.test" in lines[0]
    assert f"buri=sip%3ac03%40{old.address}%3a{old.port} " in lines[0]
    assert lines[0].endswith("ct=%3csip%3anew03%40192.0.2.9%3a5070%3buser%3dphone%3e end=1")


@pytest.mark.peer("kamailio", "rsyslog")
def test_kamailio_dumps_whole_replies_through_rsyslog(
    start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """A `$mb` dump of a 183 is one syslog line with CR LF as #015#012."""
    peer = answering_side(EARLY_MEDIA_AND_ANSWERS)
    script = to_dispatcher_set(1, on_reply="DUMP", extra=DUMP_REPLIES)
    proxy = start_kamailio(script, dispatcher=f"1 sip:{peer.address}:{peer.port}\n", log="rsyslog")

    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c01@lab.test").status == 200

    wait_until(lambda: b"SIP/2.0 183 Session Progress#015#012" in proxy.log_file.read_bytes(), "the dump")


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize("match", ["request-uri", "incoming"])
def test_htable_reload_moves_a_user(
    match: str, start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """After htable.reload the next call goes to the new address and not to the old one, three reloads in a row."""
    old, new = answering_side(moved_to("<sip:x@192.0.2.1>")), answering_side(RINGS_AND_ANSWERS)
    if match == "incoming":
        script, key = to_dispatcher_set(1, incoming=LOOK_UP_INCOMING_USER), "sip:c03@lab.test:;"
    else:
        script, key = to_dispatcher_set(1, before_relay=LOOK_UP_USER), f"sip:c03@{old.address}:{old.port};"
    proxy = start_kamailio(script, dispatcher=f"1 sip:{old.address}:{old.port}\n")
    place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test")

    for generation in (1, 2, 3):
        target = f"sip:new{generation}@{new.address}:{new.port}"
        proxy.write_users({key: target}, generation=generation)
        proxy.reload_users(generation=generation)
        assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@LAB.test").status == 200
        assert new.invites()[-1] == target

    assert len(old.invites()) == 1


@pytest.mark.peer("kamailio")
def test_dispatcher_reload_moves_a_gateway(
    start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """After dispatcher.reload the next call goes to the new gateway; an unknown command is an error; HTTP answers."""
    old, new = answering_side(moved_to("<sip:x@192.0.2.1>")), answering_side(RINGS_AND_ANSWERS)
    proxy = start_kamailio(to_dispatcher_set(1), dispatcher=f"1 sip:{old.address}:{old.port}\n")

    proxy.dispatcher_file.write_text(f"1 sip:{new.address}:{new.port}\n")
    proxy.reload_dispatcher()

    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 200
    assert (old.invites(), new.invites()) == ([], [f"sip:c03@{new.address}:{new.port}"])
    with pytest.raises(LabError, match="Method Not Found"):
        proxy.rpc("no.such")
    request = b'{"jsonrpc":"2.0","id":1,"method":"core.version"}'
    with urllib.request.urlopen(proxy.rpc_url, data=request, timeout=10) as answer:
        assert b"kamailio 5" in answer.read()


@pytest.mark.peer("kamailio")
def test_dispatcher_pings_reach_the_gateway(start_kamailio: StartKamailio, answering_side: Answer) -> None:
    """Kamailio's own OPTIONS reach the answering side where pinging is on."""
    gateway = answering_side(OK)
    pings = 'modparam("dispatcher", "ds_ping_interval", 1)\nmodparam("dispatcher", "ds_probing_mode", 1)\n'

    start_kamailio(to_dispatcher_set(1), dispatcher=f"1 sip:{gateway.address}:{gateway.port}\n", modules=pings)

    assert gateway.wait_for(1, "OPTIONS")[0] == f"sip:{gateway.address}:{gateway.port}"


@pytest.mark.peer("kamailio", "sipp")
def test_sipp_calls_through_kamailio(start_kamailio: StartKamailio, short_folder: Path, loopback_address: str) -> None:
    """With sipp on both ends: the first call is answered 301, the second, after a reload, by the new gateway."""
    caller = loopback_address
    with (
        SippAnswerer(short_folder, own_address(), scenario="moved", contact="<sip:new@192.0.2.9>") as old,
        SippAnswerer(short_folder, own_address(), scenario="answers") as new,
    ):
        proxy = start_kamailio(to_dispatcher_set(1), dispatcher=f"1 sip:{old.address}:{old.port}\n")
        sipp_call(short_folder, caller, (proxy.address, proxy.port), "c03", "lab.test")
        assert old.wait_for(1) == [f"sip:c03@{old.address}:{old.port}"]
        assert b"ct=%3csip%3anew%40192.0.2.9%3e end=1" in proxy.log_file.read_bytes()

        proxy.dispatcher_file.write_text(f"1 sip:{new.address}:{new.port}\n")
        proxy.reload_dispatcher()
        sipp_call(short_folder, caller, (proxy.address, proxy.port), "c03", "lab.test")
        assert new.wait_for(1) == [f"sip:c03@{new.address}:{new.port}"]
        assert len(old.invites()) == 1


@pytest.mark.peer("asterisk")
def test_asterisk_logs_the_301_with_exact_byte_counts(
    start_asterisk: StartAsterisk, answering_side: Answer, loopback_address: str
) -> None:
    """Each SIP block in the full log is as long as its head line says, and the 301 stands there as it was sent."""
    new = answering_side(RINGS_AND_ANSWERS)
    contact = f"<sip:+4930222@{new.address}:{new.port};user=phone>"
    old = answering_side(moved_to(contact))
    server = start_asterisk(Setup(dial_plan((old.address, old.port))))

    call = place_call(loopback_address, (server.address, server.port), f"sip:4930111@{server.address}")

    assert call.status == 200
    assert old.invites() == [f"sip:4930111@{old.address}:{old.port}"]
    assert new.invites() == [f"sip:+4930222@{new.address}:{new.port};user=phone"]
    log = server.wait_for_log("BYE sip:")
    blocks = [(head, log[head.end() : head.end() + int(head[3])]) for head in BLOCK.finditer(log)]
    assert len(blocks) > 8
    for head, message in blocks:
        assert log[head.end() + len(message) :][:1] == b"\n"
        assert b"SIP/2.0" in message.partition(b"\r\n")[0]
    moved = [message for head, message in blocks if head[1] == b"Received" and message.startswith(b"SIP/2.0 301")]
    assert [f"Contact: {contact}\r\n".encode() in message for message in moved] == [True]


@pytest.mark.peer("asterisk")
def test_asterisk_looks_up_a_moved_user(
    start_asterisk: StartAsterisk, answering_side: Answer, loopback_address: str
) -> None:
    """A row in the included file and an AMI reload send the next call to the new address, the old one untouched."""
    old, new = answering_side(moved_to("<sip:x@192.0.2.1>")), answering_side(RINGS_AND_ANSWERS)
    server = start_asterisk(Setup(dial_plan((old.address, old.port))))
    target = f"sip:+4930222@{new.address}:{new.port};user=phone"
    # The row's name is the MD5 of 4930111.
    row = f"exten => ed7fc85b142b64556b795d456e930f00,1,Return({target.replace(';', chr(92) + ';')})\n"
    server.dialplan_file.write_text(f"[redirectd-map-ed]\n{row}")

    answer = server.ami("Reload", {"Module": "pbx_config"})

    assert "Response: Success" in answer
    wait_until(
        lambda: target in server.rx("dialplan show ed7fc85b142b64556b795d456e930f00@redirectd-map-ed"),
        "the row is loaded",
    )
    assert place_call(loopback_address, (server.address, server.port), "sip:4930111@lab.test").status == 200
    assert (old.invites(), new.invites()) == ([], [target])


@pytest.mark.peer("asterisk")
def test_asterisk_manager_lets_in_only_with_the_secret(start_asterisk: StartAsterisk) -> None:
    """AMI answers an action after the login with the configured secret and refuses another one."""
    server = start_asterisk(Setup(dial_plan(("127.0.0.1", 9))))

    assert "CoreStartupDate" in server.ami("CoreStatus")
    with pytest.raises(LabError, match="Authentication failed"):
        server.ami("CoreStatus", secret="wrong")


@pytest.mark.peer("postgresql")
def test_postgresql_answers(postgresql_url: str) -> None:
    """A PostgreSQL of the test's own answers SELECT 1 in an empty database."""
    _answers_one(postgresql_url)


@pytest.mark.peer("mariadb")
def test_mariadb_answers(mariadb_url: str) -> None:
    """A MariaDB of the test's own answers SELECT 1 in an empty database."""
    _answers_one(mariadb_url)


def _answers_one(url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()
