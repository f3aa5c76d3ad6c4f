"""Debian's own configuration files and what `redirectd snippet` prints for them, on the real servers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from redirectd.cli.recordkey import KAMAILIO_COPY, make_copies
from tests.peers.conftest import Answer, StartAsterisk
from tests.peers.lab.asterisk import Setup
from tests.peers.lab.loopback import free_port, own_address
from tests.peers.lab.process import Child, run, wait_until
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, moved_to, place_call
from tests.peers.operator import Operator
from tests.peers.stock import ASTERISK_FOLDER, KAMAILIO_CFG, KAMAILIO_TARGET, PHONES, paste, pristine


class StockKamailio:
    """Debian's kamailio.cfg in a folder, with calls of the PSTN route, as its own comments say to switch them on."""

    def __init__(
        self, folder: Path, operator: Operator, caller: str, *, defines: str = "", match: str = "request-uri"
    ) -> None:
        self.folder, self.operator = folder, operator
        self.address = own_address()
        self.port = free_port(self.address)
        self.cfg = folder / "kamailio.cfg"
        self.cfg.write_bytes(pristine("kamailio", KAMAILIO_CFG))
        listen = f'#!define WITH_PSTN\n{defines}listen=udp:{self.address}:{self.port}\nalias="{caller}"\n'
        (folder / "kamailio-local.cfg").write_text(listen)
        self.output = folder / "kamailio.stderr"
        for name in ("run", "tables"):
            (folder / name).mkdir()
        make_copies(folder / "record.key", folder / "redirectd-key.cfg")
        operator.configure(KAMAILIO_TARGET.format(folder=folder), f'match = "{match}"')

    def snippet(self, *more: str) -> Any:
        """What is printed for this file, with the paths of a Debian host as those of the folder."""
        text = self.operator.run("snippet", "kamailio", "--file", str(self.cfg), "--json", *more)
        return json.loads(text.replace(str(KAMAILIO_COPY), str(self.folder / "redirectd-key.cfg")))

    def set_up(self) -> None:
        """Pastes what is printed, and makes the table that Kamailio needs to start."""
        # The runtime folder is the laboratory's, which the printed lines can't know.
        socket_line = f'modparam("jsonrpcs", "dgram_socket", "{self.folder}/run/kamailio_rpc.sock")'
        found = self.snippet()
        assert (found["wrong"], found["unknown"]) == ([], [])
        assert socket_line in found["parts"][0]["text"]
        paste(found["parts"])
        self.operator.try_run("apply")

    def command(self, *more: str) -> list[str]:
        return ["kamailio", "-f", str(self.cfg), "-Y", str(self.folder / "run"), *more]

    @contextmanager
    def started(self, gateway: tuple[str, int]) -> Iterator[None]:
        """Starts it with this PSTN gateway."""
        command = self.command("-DD", "-E", "-P", str(self.folder / "pid"))
        with Child(command, self.output) as child:
            child.wait_until(lambda: self._rpc("core.version"), "Kamailio's RPC answers")
            self._rpc("cfg.sets", "pstn", "gw_ip", gateway[0])
            self._rpc("cfg.sets", "pstn", "gw_port", str(gateway[1]))
            yield

    def call(self, caller: str, number: str) -> int:
        domain = f"{self.address}:{self.port}"
        return place_call(caller, (self.address, self.port), f"sip:{number}@{domain}").status

    def _rpc(self, method: str, *parameters: str) -> bool:
        own = self.folder / "client.sock"
        own.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(own))
            client.settimeout(5)
            try:
                client.connect(str(self.folder / "run/kamailio_rpc.sock"))
            except OSError:
                return False
            client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode())
            answer = json.loads(client.recv(1 << 16))
        assert "error" not in answer, answer
        return True


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize(
    ("defines", "match"),
    [("", "request-uri"), ("#!define WITH_ANTIFLOOD\n", "request-uri"), ("", "incoming")],
)
def test_stock_kamailio_starts_with_what_is_printed(
    defines: str,
    match: str,
    operator: Operator,
    short_folder: Path,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """Debian's kamailio.cfg and the printed lines at their places: it starts, records a 301, and reroutes the next.

    With WITH_ANTIFLOOD it loads htable itself, and db_text has to come before.
    """
    new = answering_side(RINGS_AND_ANSWERS)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    host = StockKamailio(short_folder, operator, loopback_address, defines=defines, match=match)
    host.set_up()
    code, said = run(host.command("-c"))
    assert code == 0, said
    with host.started((old.address, old.port)):
        assert host.call(loopback_address, "+49301112223") == 301
        wait_until(lambda: b"REDIRECTD v=2 ev=301" in host.output.read_bytes(), "the record of the 301")
        assert operator.json("ingest", str(host.output))["sightings"] == 1
        [remap] = operator.pending()
        assert "unkeyed" not in remap["flags"]
        operator.run("approve", str(remap["id"]), "--reason", "seen")
        assert operator.json("apply")["targets"][0]["outcome"] == "verified"
        assert host.call(loopback_address, "+49301112223") == 200
        assert host.call(loopback_address, "+49301112224") == 301
    assert new.invites() == [f"sip:new03@{new.address}:{new.port}"]
    assert len(old.invites()) == 2
    again = host.snippet()
    assert (again["parts"], again["wrong"]) == ([], []), "what is there is not printed again"


STOCK_FILES = ("pjsip.conf", "logger.conf", "extensions.conf", "manager.conf")
OPERATORS = {
    "pjsip.conf": f"\n[global]\ntype=global\nuser_agent=StockHost{PHONES}",
    "extensions.conf": """
[from-phones]
exten => _9X.,1,Dial(PJSIP/${{EXTEN:1}}@carrier,30)
exten => _X.,1,NoOp()
 same => n,Dial(PJSIP/${{EXTEN}}@carrier,10)
 same => n,Hangup()
""",
}
TRUNK = """
[[source]]
name = "asterisk"
path = "{folder}/log/full"
[[target]]
name = "trunk"
kind = "asterisk-dialplan"
width = "user"
path = "{folder}/etc/extensions_redirectd.conf"
reload = "asterisk -C {folder}/etc/asterisk.conf -rx"
"""


@pytest.mark.peer("asterisk")
def test_stock_asterisk_keeps_its_global(
    operator: Operator, start_asterisk: StartAsterisk, answering_side: Answer, loopback_address: str
) -> None:
    """Debian's files with an operator's [global] and dialplan, and the printed lines: all in force, the call moves.

    The number is looked up as it is sent: dialled with a 9, learnt without.
    """
    stock = {name: pristine("asterisk-config", ASTERISK_FOLDER / name) for name in STOCK_FILES}
    new = answering_side(RINGS_AND_ANSWERS)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    server = start_asterisk(Setup(""), start=False)
    folder = server.config_file.parent
    for name, content in stock.items():
        more = OPERATORS.get(name, "").format(
            address=server.address, port=server.port, gateway=f"{old.address}:{old.port}"
        )
        (folder / name).write_bytes(content + more.encode())
    operator.configure(TRUNK.format(folder=folder.parent))
    found = operator.json("snippet", "asterisk", "--file", str(folder))
    assert (found["wrong"], found["unknown"]) == ([], [])
    paste(found["parts"])
    server.start()
    assert "StockHost" in server.rx("pjsip show settings")
    assert place_call(loopback_address, (server.address, server.port), "sip:930111@pbx.test").status == 200
    server.wait_for_log("301 Moved Permanently")
    operator.run("ingest", str(server.full_log))
    [remap] = [one for one in operator.pending() if one["kind"] == "user"]
    assert remap["old_uri"] == f"sip:30111@{old.address}:{old.port}"
    operator.run("approve", str(remap["id"]), "--reason", "seen")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"
    before = len(old.invites())
    for number in ("930111", "30111"):
        assert place_call(loopback_address, (server.address, server.port), f"sip:{number}@pbx.test").status == 200
    assert len(old.invites()) == before
    again = operator.json("snippet", "asterisk", "--file", str(folder))
    assert (again["parts"], again["wrong"]) == ([], [])


FREEPBX = {
    "extensions.conf": """
#include extensions_override_freepbx.conf
#include extensions_additional.conf
#include extensions_custom.conf
[macro-dialout-trunk-predial-hook]
exten => s,1,@END@
""",
    "extensions_override_freepbx.conf": "",
    "extensions_custom.conf": "",
    "extensions_additional.conf": """
; this file is auto-generated by FreePBX
[globals]
OUT_1 = PJSIP
OUT_1_SUFFIX = @carrier
OUT_2 = AMP:PJSIP/$OUTNUM$@carrier
OUT_3 = SIP/peer
OUTPREFIX_1 = 9
[from-phones]
exten => _8X.,1,@CALL@(@NAME@dialout-trunk@S@2,${EXTEN:1},,off@E@)
exten => _X.,1,@CALL@(@NAME@dialout-trunk@S@1,${EXTEN},,off@E@)
[macro-dialout-trunk]
exten => s,1,Set(DIAL_TRUNK=${ARG1})
exten => s,n,Set(DIAL_NUMBER=${ARG2})
exten => s,n,Set(OUTNUM=${OUTPREFIX_${DIAL_TRUNK}}${DIAL_NUMBER})
exten => s,n,Set(custom=${CUT(OUT_${DIAL_TRUNK},:,1)})
exten => s,n,@CALL@(@NAME@dialout-trunk-predial-hook@S@@E@)
exten => s,n,GotoIf($["${PREDIAL_HOOK_RET}" = "BYPASS"]?bypass)
exten => s,n,GotoIf($["${custom}" = "AMP"]?customtrunk)
exten => s,n,Dial(${OUT_${DIAL_TRUNK}}/${OUTNUM}${OUT_${DIAL_TRUNK}_SUFFIX},10)
exten => s,n(bypass),Hangup()
exten => s,n(customtrunk),Set(pre_num=${CUT(OUT_${DIAL_TRUNK},$,1)})
exten => s,n,Set(the_num=${CUT(OUT_${DIAL_TRUNK},$,2)})
exten => s,n,Set(post_num=${CUT(OUT_${DIAL_TRUNK},$,3)})
exten => s,n,ExecIf($["${the_num}" = "OUTNUM"]?Set(the_num=${OUTNUM}))
exten => s,n,Dial(${pre_num:4}${the_num}${post_num},10)
exten => s,n,Hangup()
""",
    "logger.conf": """
[general]
dateformat=%F %T
[logfiles]
full => debug,error,notice,warning
#include logger_logfiles_custom.conf
""",
    "logger_logfiles_custom.conf": "",
}
WAYS = {
    "Macro": {"@CALL@": "Macro", "@NAME@": "", "@S@": ",", "@E@": "", "@END@": "MacroExit()"},
    "Gosub": {"@CALL@": "Gosub", "@NAME@": "macro-", "@S@": ",s,1(", "@E@": ")", "@END@": "Return()"},
}
OWN_HOOK = "[macro-dialout-trunk-predial-hook]\nexten => s,1,NoOp(mine)\n same => n,Set(SEEN=1)\n same => n,@END@\n"


def in_way(text: str, way: str) -> str:
    """The text as this generation of FreePBX writes it."""
    for mark, value in WAYS[way].items():
        text = text.replace(mark, value)
    return text


def generated_files(folder: Path, way: str, operators_pjsip: str) -> None:
    """An imitation of what FreePBX generates, with Macro (to 16) or Gosub (17), in place of the laboratory's files."""
    head, _, rest = operators_pjsip.partition("user_agent=StockHost\n")
    pjsip = f"{head}user_agent=StockHost\n#include pjsip_custom_post.conf\n{rest}"
    for name, text in {**FREEPBX, "pjsip.conf": pjsip, "pjsip_custom_post.conf": ""}.items():
        (folder / name).write_text(in_way(text, way))
    with (folder / "modules.conf").open("a") as modules:
        modules.write("\nload = app_macro.so\nload = func_cut.so\nload = app_exec.so\n")


@pytest.mark.peer("asterisk")
@pytest.mark.parametrize(("way", "own_hook"), [("Macro", False), ("Macro", True), ("Gosub", False)])
def test_freepbx_shape(
    way: str,
    own_hook: bool,
    operator: Operator,
    start_asterisk: StartAsterisk,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """On generated files the printed lines go into the user's own: the hook moves calls of both kinds of pjsip trunk.

    The number is learnt and looked up as it is sent, with the trunk's prefix, and an own hook stays.
    """
    new = answering_side(RINGS_AND_ANSWERS)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    server = start_asterisk(Setup(""), start=False)
    folder = server.config_file.parent
    pjsip = OPERATORS["pjsip.conf"].format(
        address=server.address, port=server.port, gateway=f"{old.address}:{old.port}"
    )
    generated_files(folder, way, pjsip)
    if own_hook:
        (folder / "extensions_custom.conf").write_text(in_way(OWN_HOOK, way))
    operator.configure(TRUNK.format(folder=folder.parent).replace("log/full", "log/redirectd"))
    found = operator.json("snippet", "freepbx", "--file", str(folder))
    assert (found["wrong"], found["unknown"]) == ([], [])
    paste(found["parts"])
    server.start()
    log = folder.parent / "log/redirectd"
    assert "StockHost" in server.rx("pjsip show settings")
    assert "redirectd-freepbx" in server.rx("dialplan show macro-dialout-trunk-predial-hook")
    for number in ("30111", "830222"):
        assert place_call(loopback_address, (server.address, server.port), f"sip:{number}@pbx.test").status == 200
    wait_until(lambda: log.read_bytes().count(b"301 Moved Permanently") > 1, "both 301s in the log")
    operator.run("ingest", str(log))
    users = [one for one in operator.pending() if one["kind"] == "user"]
    assert sorted(one["old_uri"] for one in users) == [
        f"sip:{number}@{old.address}:{old.port}" for number in ("30222", "930111")
    ]
    for one in users:
        operator.run("approve", str(one["id"]), "--reason", "seen")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"
    before = len(old.invites())
    for number in ("30111", "830222"):
        assert place_call(loopback_address, (server.address, server.port), f"sip:{number}@pbx.test").status == 200
    assert len(old.invites()) == before
    again = operator.json("snippet", "freepbx", "--file", str(folder))
    assert (again["parts"], again["wrong"]) == ([], [])
