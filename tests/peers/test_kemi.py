"""The routes as a script: `redirectd snippet kamailio --kemi`, run by the real app_lua and app_python3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from redirectd.cli.recordkey import KAMAILIO_COPY, make_copies
from tests.peers.conftest import Answer
from tests.peers.lab.loopback import free_port, own_address
from tests.peers.lab.process import Child, wait_until
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, moved_to, place_call
from tests.peers.operator import Operator
from tests.peers.stock import KAMAILIO_TARGET

CFG = """#!KAMAILIO
listen=udp:{address}:{port}
loadmodule "jsonrpcs.so"
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "{engine}.so"
modparam("{engine}", "load", "{script}")
cfgengine "{language}"
"""
LUA = """dofile("{folder}/redirectd.lua")
function ksr_request_route()
  if KSR.siputils.has_totag() < 0 then
    KSR.pv.sets("$ru", "sip:" .. KSR.pv.get("$rU") .. "@{gateway}")
    redirectd_before_relay()
  end
  KSR.tm.t_relay()
  return 1
end
function ksr_reply_route()
  redirectd_ping()
  return 1
end
"""
PYTHON = """import sys
sys.path.insert(0, "{folder}")
import KSR as KSR
import redirectd_kemi

def mod_init():
    return Routes()

class Routes:
    def child_init(self, rank):
        return 0

    def ksr_request_route(self, msg):
        if KSR.siputils.has_totag() < 0:
            KSR.pv.sets("$ru", "sip:" + KSR.pv.get("$rU") + "@{gateway}")
            redirectd_kemi.before_relay()
        KSR.tm.t_relay()
        return 1

    def ksr_reply_route(self, msg):
        redirectd_kemi.ping()
        return 1

    def ksr_onsend_route(self, msg):
        return 1

    def redirectd_reply(self, msg):
        return redirectd_kemi.reply()
"""


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize(
    ("language", "engine", "name", "script"),
    [("lua", "app_lua", "main.lua", LUA), ("python", "app_python3", "main.py", PYTHON)],
)
def test_a_script_records_and_reroutes(
    language: str,
    engine: str,
    name: str,
    script: str,
    operator: Operator,
    short_folder: Path,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """R39, R41: the script's record is proven, its key is the exact one, and the moved call goes to the new address."""
    new = answering_side(RINGS_AND_ANSWERS)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    address = own_address()
    port = free_port(address)
    for each in ("run", "tables"):
        (short_folder / each).mkdir()
    make_copies(short_folder / "record.key", short_folder / "redirectd-key.cfg")
    operator.configure(KAMAILIO_TARGET.format(folder=short_folder))
    gateway = f"{old.address}:{old.port}"
    (short_folder / name).write_text(script.format(folder=short_folder, gateway=gateway))
    cfg = short_folder / "kamailio.cfg"
    cfg.write_text(CFG.format(address=address, port=port, engine=engine, language=language, script=short_folder / name))
    text = operator.run("snippet", "kamailio", "--file", str(cfg), "--json")
    found = json.loads(text.replace(str(KAMAILIO_COPY), str(short_folder / "redirectd-key.cfg")))
    assert found["wrong"] == []
    for part in found["parts"]:
        with Path(part["file"]).open("a") as file:
            file.write(f"{part['text']}\n")
    operator.try_run("apply")
    output = short_folder / "kamailio.stderr"
    command = ["kamailio", "-f", str(cfg), "-Y", str(short_folder / "run"), "-DD", "-E", "-P", str(short_folder / "p")]
    with Child(command, output) as child:
        child.wait_until(lambda: operator.try_run("apply").returncode == 0, "Kamailio answers")
        call = loopback_address, (address, port)
        assert place_call(*call, "sip:c%303@x.test").status == 301
        wait_until(lambda: b"REDIRECTD v=2 ev=301" in output.read_bytes(), "the record of the 301")
        operator.run("ingest", str(output))
        [remap] = operator.pending()
        assert remap["old_uri"] == f"sip:c%303@{gateway}"
        assert "unkeyed" not in remap["flags"]
        operator.run("approve", str(remap["id"]), "--reason", "seen")
        assert operator.json("apply")["targets"][0]["outcome"] == "verified"
        assert place_call(*call, "sip:c%303@x.test").status == 200
        assert place_call(*call, "sip:c04@x.test").status == 301
    assert new.invites() == [f"sip:new03@{new.address}:{new.port}"]
