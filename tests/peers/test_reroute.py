"""The whole job on running servers: a call is answered 301, the log is read, the remap approved and applied, and the
next call goes to the new address without touching the old one, as the answering sides saw it on the wire."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.peers.conftest import Answer, StartAsterisk, StartKamailio
from tests.peers.lab.asterisk import LOOK_UP_ASTDB, Setup, dial_plan
from tests.peers.lab.kamailio import LOOK_UP_INCOMING_USER, LOOK_UP_USER, to_dispatcher_set
from tests.peers.lab.loopback import own_address
from tests.peers.lab.process import wait_until
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, Reply, moved_to, place_call
from tests.peers.lab.sipp import SippAnswerer, sipp_call
from tests.peers.operator import Operator
from tests.service.service import Service

HTABLE = """
[[target]]
name = "users"
kind = "kamailio-htable"
path = "{path}"
match = "{match}"
reload = "jsonrpc:unix:{socket}"
"""


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize("match", ["request-uri", "incoming"])
def test_a_moved_user_is_rerouted_by_kamailio(
    match: str,
    operator: Operator,
    start_kamailio: StartKamailio,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """From the 301 in Kamailio's log to the next call at the new address, with the documented commands (R5)."""
    new = answering_side(RINGS_AND_ANSWERS)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    look_up = {"incoming": LOOK_UP_INCOMING_USER} if match == "incoming" else {"before_relay": LOOK_UP_USER}
    operator.configure()
    script = to_dispatcher_set(1, extra=operator.record_snippet(), **look_up)
    proxy = start_kamailio(script, dispatcher=f"1 sip:{old.address}:{old.port}\n")
    operator.configure(HTABLE.format(path=proxy.htable_file, match=match, socket=proxy.rpc_socket))
    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 301

    assert operator.json("ingest", proxy.tells())["sightings"] == 1
    [remap] = operator.pending()
    assert (remap["old_uri"], remap["new_uri"]) == (
        f"sip:c03@{old.address}:{old.port}",
        f"sip:new03@{new.address}:{new.port}",
    )
    operator.run("approve", str(remap["id"]), "--reason", "seen")
    [target] = operator.json("apply")["targets"]
    assert target["outcome"] == "verified"

    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@LAB.test").status == 200
    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:other@lab.test").status == 301
    assert new.invites() == [f"sip:new03@{new.address}:{new.port}"]
    assert [uri.partition("@")[0] for uri in old.invites()] == ["sip:c03", "sip:other"]

    operator.run("revoke", str(remap["id"]), "--reason", "moved back")
    operator.run("apply", "--force")
    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 301


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize("control", ["jsonrpc:unix:{rpc_socket}", "binrpc:unix:{ctl_socket}"])
def test_moves_are_put_live_and_outlive_a_restart(
    control: str,
    operator: Operator,
    start_kamailio: StartKamailio,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """With `live` a change is in force without a reload, a revoke takes it back, and a restart reads the same file."""
    new = answering_side(RINGS_AND_ANSWERS)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    script = to_dispatcher_set(1, before_relay=LOOK_UP_USER)
    proxy = start_kamailio(script, dispatcher=f"1 sip:{old.address}:{old.port}\n")
    reload = control.format(rpc_socket=proxy.rpc_socket, ctl_socket=proxy.ctl_socket)
    table = HTABLE.format(path=proxy.htable_file, match="request-uri", socket="").replace("jsonrpc:unix:", reload)
    operator.configure(table + "live = 10\n")
    operator.run("apply")
    place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test")
    operator.run("ingest", proxy.tells())
    [remap] = operator.pending()
    operator.run("approve", str(remap["id"]), "--reason", "seen")

    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 200
    proxy.restart()
    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 200
    operator.run("revoke", str(remap["id"]))
    operator.run("apply", "--force")
    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 301


@pytest.mark.peer("kamailio", "sipp")
def test_a_moved_gateway_is_rerouted_with_sipp_on_both_ends(
    operator: Operator, start_kamailio: StartKamailio, answering_side: Answer, short_folder: Path
) -> None:
    """A gateway that answers 301 to the ping is replaced in the dispatcher list; the operator's comments stay."""
    caller = own_address()
    with SippAnswerer(short_folder, own_address(), scenario="answers") as new:
        old = answering_side(moved_to(f"<sip:{new.address}:{new.port}>"))
        pings = 'modparam("dispatcher", "ds_ping_interval", 1)\nmodparam("dispatcher", "ds_probing_mode", 1)\n'
        operator.configure()
        record = operator.record_snippet()
        base = short_folder / "dispatcher.base.list"
        base.write_text(f"# our gateways\n1 sip:{old.address}:{old.port} 0 5 duid=a;weight=50 # the old one\n")
        proxy = start_kamailio(to_dispatcher_set(1, extra=record), dispatcher=base.read_text(), modules=pings)
        operator.configure(
            f'[[target]]\nname = "gateways"\nkind = "kamailio-dispatcher"\npath = "{proxy.dispatcher_file}"\n'
            f'base = "{base}"\nreload = "jsonrpc:unix:{proxy.rpc_socket}"\n'
        )
        operator.run("ingest", proxy.tells())
        [remap] = operator.pending()
        assert (remap["kind"], remap["methods"]) == ("gateway", ["OPTIONS"])
        operator.run("approve", str(remap["id"]), "--reason", "seen")
        assert operator.json("apply", "--force")["targets"][0]["outcome"] == "verified"

        written = proxy.dispatcher_file.read_text()
        assert "# our gateways" in written
        assert f"1 sip:{new.address}:{new.port} 0 5 duid=a;weight=50 # the old one" in written
        sipp_call(short_folder, caller, (proxy.address, proxy.port), "c03", "lab.test")
        assert new.wait_for(1) == [f"sip:c03@{new.address}:{new.port}"]
        assert old.invites() == []


@pytest.mark.peer("asterisk")
@pytest.mark.parametrize("control", ["asterisk -rx", "ami"])
def test_a_moved_user_is_rerouted_by_asterisk(
    control: str,
    operator: Operator,
    start_asterisk: StartAsterisk,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """From the 301 in Asterisk's full log to the next call at the new address; the old one is not asked again."""
    new = answering_side(RINGS_AND_ANSWERS)
    moved = f"sip:+4930222@{new.address}:{new.port};user=phone"
    old = answering_side(moved_to(f"<{moved}>"))
    server = start_asterisk(Setup(dial_plan((old.address, old.port))))
    operator.configure(
        f'[[target]]\nname = "dialplan"\nkind = "asterisk-dialplan"\nwidth = "user"\npath = "{server.dialplan_file}"\n'
        f"{server.control(control)}"
    )
    place_call(loopback_address, (server.address, server.port), f"sip:4930111@{server.address}")
    server.wait_for_log("BYE sip:")

    assert operator.json("ingest", str(server.full_log))["sightings"] == 1
    [remap] = operator.pending()
    assert (remap["old_uri"], remap["new_uri"]) == (f"sip:4930111@{old.address}:{old.port}", moved)
    operator.run("approve", str(remap["id"]), "--reason", "seen")
    [target] = operator.json("apply")["targets"]
    assert target["outcome"] == "verified"

    before = len(old.invites())
    assert place_call(loopback_address, (server.address, server.port), f"sip:4930111@{server.address}").status == 200
    assert new.invites()[-1] == moved
    assert len(old.invites()) == before
    [again] = operator.json("apply")["targets"]
    assert again["outcome"] == "unchanged"


@pytest.mark.peer("asterisk")
def test_a_moved_user_is_rerouted_through_astdb(
    operator: Operator, start_asterisk: StartAsterisk, answering_side: Answer, loopback_address: str
) -> None:
    """asterisk-astdb: the change is live without any reload, proven by reading back, and taken back by a revoke."""
    new = answering_side(RINGS_AND_ANSWERS)
    moved = f"sip:+4930222@{new.address}:{new.port};user=phone"
    old = answering_side(moved_to(f"<{moved}>"))
    plan = dial_plan((old.address, old.port)).partition("[redirectd-lookup]")[0]
    server = start_asterisk(Setup(plan + LOOK_UP_ASTDB))
    operator.configure(
        f'[[target]]\nname = "astdb"\nkind = "asterisk-astdb"\nwidth = "user"\npath = "{operator.folder}/astdb.txt"\n'
        f"{server.control('ami')}"
    )
    place_call(loopback_address, (server.address, server.port), f"sip:4930111@{server.address}")
    server.wait_for_log("BYE sip:")
    operator.run("ingest", str(server.full_log))
    [remap] = operator.pending()
    operator.run("approve", str(remap["id"]), "--reason", "seen")

    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    before = len(old.invites())
    assert place_call(loopback_address, (server.address, server.port), f"sip:4930111@{server.address}").status == 200
    assert (new.invites()[-1], len(old.invites())) == (moved, before)
    operator.run("revoke", str(remap["id"]), "--reason", "moved back")
    operator.run("apply", "--force")
    assert "not found" in server.rx("database get redirectd 4930111")


@pytest.mark.peer("kamailio")
def test_a_reload_that_lies_is_found_out(
    operator: Operator, start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """Kamailio reads another file than the one written: its reload says Ok, redirectd exits 4 and restores the file."""
    old = answering_side(moved_to("<sip:new03@127.0.0.9>"))
    proxy = start_kamailio(
        to_dispatcher_set(1, before_relay=LOOK_UP_USER), dispatcher=f"1 sip:{old.address}:{old.port}\n"
    )
    elsewhere = operator.folder / "redirectd_htable"
    before = proxy.htable_file.read_bytes()
    elsewhere.write_bytes(before)
    operator.configure(HTABLE.format(path=elsewhere, match="request-uri", socket=proxy.rpc_socket))
    place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test")
    operator.run("ingest", proxy.tells())
    operator.run("approve", str(operator.pending()[0]["id"]), "--reason", "seen")

    result = operator.json("apply", code=4)

    assert result["targets"][0]["outcome"] == "rolled-back"
    assert elsewhere.read_bytes() == before
    assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 301


@pytest.mark.peer("kamailio")
def test_the_record_tells_all_that_the_rules_need(
    operator: Operator, start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """The snippet's line carries a lifetime (R18), a reason (R23) and early media (R3) as they were sent."""
    headers = ["Expires: 7200", "Reason: Q.850;cause=22"]
    early = Reply(183, "Session Progress", ["Require: 100rel", "RSeq: 1"], with_sdp=True)
    peer = answering_side([early, *moved_to("<sip:new@127.0.0.9>", headers=headers)])
    operator.configure()
    script = to_dispatcher_set(1, extra=operator.record_snippet())
    proxy = start_kamailio(script, dispatcher=f"1 sip:{peer.address}:{peer.port}\n")
    place_call(loopback_address, (proxy.address, proxy.port), "sip:c01@lab.test")

    done = operator.try_run("ingest", proxy.tells())

    [remap] = operator.pending()
    assert list(remap["flags"]) == ["expiring", "unkeyed"]
    assert "number changed" in operator.run("show", str(remap["id"]))
    [progress] = [json.loads(line) for line in done.stderr.splitlines() if "session_progress" in line]
    assert (progress["sdp"], progress["reliable"], progress["media"][0]["codecs"]) == (True, True, ["PCMU"])
    assert progress["request_uri"] == f"sip:c01@{peer.address}:{peer.port}"


@pytest.mark.peer("kamailio")
def test_a_301_within_a_dialog_is_not_learnt_from(
    operator: Operator, start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """R10 through the snippet's line: the request had a To tag, so its URI is a remote target."""
    peer = answering_side(moved_to("<sip:new@127.0.0.9>"))
    operator.configure()
    script = to_dispatcher_set(1, extra=operator.record_snippet())
    proxy = start_kamailio(script, dispatcher=f"1 sip:{peer.address}:{peer.port}\n")
    request = (
        f"INVITE sip:c01@{peer.address}:{peer.port} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {loopback_address}:17060;branch=z9hG4bKdialog1\r\nMax-Forwards: 70\r\n"
        f"Route: <sip:{proxy.address}:{proxy.port};lr>\r\nFrom: <sip:a@lab.test>;tag=1\r\n"
        "To: <sip:c01@lab.test>;tag=2\r\nCall-ID: dialog1\r\nCSeq: 2 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind((loopback_address, 17060))
        caller.sendto(request.encode(), (proxy.address, proxy.port))
        peer.wait_for(1)
        log = proxy.tells()

    result = operator.json("ingest", log)

    assert (result["sightings"], result["refused"], result["remaps_new"]) == (1, 1, 0)


@pytest.mark.peer("kamailio")
def test_a_target_that_answers_404_after_the_approval_is_failing(
    operator: Operator,
    start_kamailio: StartKamailio,
    answering_side: Answer,
    loopback_address: str,
    short_folder: Path,
) -> None:
    """The snippet's line also tells of a 404 at the new address: the service flags the remap with its figures."""
    new = answering_side([Reply(404, "Not Found")])
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    operator.configure()
    record, own = operator.keyed_record_snippet(short_folder)
    proxy = start_kamailio(
        to_dispatcher_set(1, extra=record, before_relay=LOOK_UP_USER), dispatcher=f"1 sip:{old.address}:{old.port}\n"
    )
    source = '[daemon]\nsocket = "status.sock"\n'
    source += f'[[source]]\nname = "proxy"\npath = "{proxy.log_file}"\nrecord_keys = ["{own}"]\n'
    operator.configure(source, HTABLE.format(path=proxy.htable_file, match="request-uri", socket=proxy.rpc_socket))
    place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test")
    operator.run("ingest", proxy.tells())
    operator.run("approve", "1", "--reason", "seen")
    operator.run("apply")
    with Service(operator.folder):
        for _ in range(2):
            assert place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status == 404
        wait_until(lambda: any("failing" in one["flags"] for one in operator.pending()), "the flag")

    assert operator.json("show", "1")["reasons"]["failing"].startswith("its target has answered 404 in 2 calls")
    assert operator.json("ingest", str(proxy.log_file))["sightings"] == 0
    assert "failing" in operator.run("pending")
