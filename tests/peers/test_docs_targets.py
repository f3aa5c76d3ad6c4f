"""The operator's parts in docs/targets.md, loaded into the real servers: checked, started, and rerouting a request."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from redirectd.plan.target import LookedUp
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.kamailio_alias_db import KamailioAliasDb
from redirectd.targets.kamailio_dialplan import KamailioDialplan
from redirectd.targets.kamailio_htable import KamailioHtable
from tests.docs.page import ROOT, blocks, commands
from tests.peers.conftest import Answer, StartAsterisk
from tests.peers.lab.asterisk import Setup
from tests.peers.lab.loopback import free_port, own_address
from tests.peers.lab.process import SEARCH_PATH, Child
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, place_call
from tests.peers.operator import Operator

PAGE = ROOT / "docs" / "targets.md"
# An operator's kamailio.cfg without any of redirectd's, which answers what it made of the Request-URI.
CFG = """
debug=2
log_stderror=yes
children=1
auto_aliases=no
dns=no
rev_dns=no
listen=udp:{address}:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
{modules}
request_route {{
    {route}
    append_to_reply("X-Moved: $ru\\r\\n");
    sl_send_reply("200", "Told");
}}
"""


def part(name: str) -> str:
    """The block of the page for one kind, as an operator pastes it."""
    [text] = [block.text for block in blocks(PAGE) if block.mark == ("operator", name)]
    return text


def target_table(kind: str) -> str:
    """The `[[target]]` of the page for one kind."""
    [text] = [b.text for b in blocks(PAGE) if b.language == "toml" and f'kind = "{kind}"' in b.text]
    return text


@pytest.fixture
def folder(short_folder: Path) -> Path:
    """A host's folders below a short path."""
    for name in ("etc/kamailio/redirectd", "run/kamailio", "op"):
        (short_folder / name).mkdir(parents=True)
    return short_folder


def _placed(text: str, folder: Path) -> str:
    return text.replace("/etc/kamailio", f"{folder}/etc/kamailio").replace("/run/kamailio", f"{folder}/run/kamailio")


def _operator(folder: Path, kind: str, old: str, new: str) -> Operator:
    """An operator with one approved move and the page's target."""
    operator = Operator(folder / "op")
    operator.configure(_placed(target_table(kind), folder))
    operator.import_moves({old: new}, "--force", "--reason", "a test")
    return operator


def _start(folder: Path, address: str, modules: str, route: str) -> tuple[Child, int]:
    """A Kamailio with the given parts: `kamailio -c` first, then a real start."""
    port = free_port(address)
    config = folder / "kamailio.cfg"
    config.write_text(CFG.format(address=address, port=port, modules=modules, route=route))
    environ = {"PATH": SEARCH_PATH}
    checked = subprocess.run(
        ["kamailio", "-c", "-f", str(config)], capture_output=True, text=True, env=environ, check=False
    )
    assert checked.returncode == 0, checked.stderr
    command = ["kamailio", "-f", str(config), "-DD", "-E", "-P", str(folder / "pid"), "-Y", str(folder)]
    return Child(command, folder / "kamailio.stderr"), port


def _told(address: str, port: int, uri: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind((address, 0))
        caller.settimeout(0.5)
        own = f"{address}:{caller.getsockname()[1]}"
        head = (
            f"OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK1\r\nMax-Forwards: 9\r\n"
            "From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: docs\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        caller.sendto(head.encode(), (address, port))
        try:
            answer = caller.recv(65536).decode()
        except TimeoutError:
            return None
    return next(line.partition(": ")[2] for line in answer.split("\r\n") if line.startswith("X-Moved"))


@pytest.mark.parametrize(
    ("mark", "target"),
    [
        ("kamailio-htable-route", KamailioHtable()),
        ("kamailio-dialplan-route", KamailioDialplan()),
        ("kamailio-alias_db-route", KamailioAliasDb()),
        ("asterisk-dialplan", AsteriskDialplan()),
    ],
)
def test_the_page_prints_the_lines_of_the_target(mark: str, target: LookedUp) -> None:
    """R41: the lookup of the page is the one that the target itself prints."""
    lines = target.lines()
    assert lines.call.partition("\n")[2] in re.sub(r"   # .*", "", part(mark))
    shown = part("kamailio-key-route") if mark.startswith("kamailio") else part(mark)
    assert lines.beside in shown


@pytest.mark.peer("kamailio")
@pytest.mark.parametrize("kind", ["kamailio-htable", "kamailio-dialplan", "kamailio-alias_db"])
def test_user_moves_by_the_page(kind: str, folder: Path) -> None:
    """The page's lines for a kind reroute a moved user, the first and the next one, and nobody else (R24)."""
    address = own_address()
    operator = _operator(folder, kind, "sip:alice@Example.net", "sip:bob@192.0.2.9:5070;transport=tcp")
    for block in blocks(PAGE):  # the one command the page has: what dialplan needs beside its table
        if block.language == "console" and kind == "kamailio-dialplan":
            for command in commands(block):
                subprocess.run(["bash", "-c", _placed(command.text, folder)], check=True)
    operator.try_run("apply")  # before Kamailio is there, as the page says
    server, port = _start(
        folder, address, _placed(part(kind), folder) + part("kamailio-key-route"), part(f"{kind}-route")
    )
    try:
        server.wait_until(lambda: _told(address, port, "sip:x@example.net") is not None, "Kamailio answers")
        assert _told(address, port, "sip:alice@EXAMPLE.net") == "sip:bob@192.0.2.9:5070;transport=tcp"
        assert _told(address, port, "sip:x@example.net") == "sip:x@example.net"
        (operator.folder / "more.csv").write_text("old_uri,new_uri,state\nsip:x@example.net,sip:y@192.0.2.9,approved\n")
        operator.run("import", "--approve", "--force", "--reason", "a test", "more.csv")
        [target] = operator.json("apply")["targets"]
        assert target["outcome"] == ("installed" if kind == "kamailio-alias_db" else "verified")
        assert _told(address, port, "sip:x@example.net") == "sip:y@192.0.2.9"
    finally:
        server.stop()


@pytest.mark.peer("kamailio")
def test_gateway_moves_by_the_page(folder: Path) -> None:
    """The page's lines for the dispatcher load, and Kamailio proves the moved gateway."""
    address = own_address()
    (folder / "etc/kamailio/dispatcher.list").write_text("1 sip:127.0.0.81:5060 8 10 duid=a # ours\n")
    operator = _operator(folder, "kamailio-dispatcher", "sip:x@127.0.0.80", "sip:x@127.0.0.90")
    operator.try_run("apply")
    server, port = _start(folder, address, _placed(part("kamailio-dispatcher"), folder), "")
    try:
        server.wait_until(lambda: _told(address, port, "sip:x@example.net") is not None, "Kamailio answers")
        (operator.folder / "more.csv").write_text(
            "old_uri,new_uri,kind,state\nsip:127.0.0.81:5060,sip:127.0.0.91:5070,gateway,approved\n"
        )
        operator.run("import", "--approve", "--force", "--reason", "a test", "more.csv")
        [target] = operator.json("apply")["targets"]
        assert target["outcome"] == "verified"
    finally:
        server.stop()


@pytest.mark.peer("asterisk")
def test_asterisk_by_the_page(start_asterisk: StartAsterisk, answering_side: Answer, tmp_path: Path) -> None:
    """The page's extensions.conf and pjsip.conf lines: a moved user is called at its new URI, a moved AOR is proven."""
    new = answering_side(RINGS_AND_ANSWERS)
    server = start_asterisk(Setup(part("asterisk-dialplan"), context="to-carrier", pjsip=part("asterisk-pjsip-aor")))
    own = server.config_file.parent
    (own / "redirectd").mkdir()
    (own / "pjsip_aors.conf").write_text(part("asterisk-pjsip-aor-base"))
    tables = target_table("asterisk-dialplan") + target_table("asterisk-pjsip-aor")
    tables = tables.replace("/etc/asterisk", str(own)).replace("ami://redirectd@127.0.0.1:5038", "asterisk -rx")
    tables = tables.replace('"asterisk -rx"', f'"asterisk -C {server.config_file} -rx"')
    operator = Operator(tmp_path)
    operator.configure("\n".join(line for line in tables.splitlines() if "password_file" not in line))
    moved = f"sip:+4930222@{new.address}:{new.port}"
    (tmp_path / "moves.csv").write_text(
        f"old_uri,new_uri,kind,state\nsip:4930111@192.0.2.1:5060,{moved},user,approved\n"
        "sip:192.0.2.1:5060,sip:127.0.0.92:5060,gateway,approved\n"
    )
    operator.run("import", "--approve", "--force", "--reason", "a test", "moves.csv")

    outcomes = [target["outcome"] for target in operator.json("apply")["targets"]]

    assert outcomes == ["verified", "verified"]
    assert place_call(own_address(), (server.address, server.port), "sip:4930111@x.test").status == 200
    assert new.invites() == [moved]
    assert "sip:127.0.0.92:5060" in server.rx("pjsip show aor carrier")
