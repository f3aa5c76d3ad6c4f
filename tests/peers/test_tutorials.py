"""The tutorials, command by command as their pages have them, on Debian's own configuration: to the rerouted call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.docs.page import Block
from tests.peers.conftest import Answer
from tests.peers.lab.loopback import free_port, own_address
from tests.peers.lab.process import wait_until
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, AnsweringSide, moved_to, place_call
from tests.peers.own_host import OwnHost, can_have_own_host, own_host, to_do
from tests.peers.stock import ASTERISK_FOLDER, KAMAILIO_CFG, PHONES, paste, pristine

pytestmark = pytest.mark.skipif(not can_have_own_host(), reason="only root with mount namespaces can have such a host")


def _follow(
    host: OwnHost, page: str, deeds: Mapping[str, Callable[[], object]], codes: Mapping[str, list[int]]
) -> None:
    """Does what a page says, up to its section 4; `deeds` are a person's after a command, `codes` other exit codes."""
    for item in to_do(page, "4. Read, decide, apply"):
        if isinstance(item, Block):
            host.path(item.mark[1]).write_text(item.text)
            continue
        if "pip install" in item.text:
            continue  # redirectd is there: the tests' own
        expected = codes.get(item.text, [])
        host.run(item.text, code=expected.pop(0) if expected else 0)
        deeds.get(item.text, lambda: None)()


def _paste(host: OwnHost, server: str) -> None:
    """What a person does with the snippet that was printed."""
    found = json.loads(host.run(f"redirectd snippet {server} --json"))
    assert (found["wrong"], found["unknown"]) == ([], [])
    paste([part | {"file": str(host.path(part["file"]))} for part in found["parts"]])


@pytest.mark.peer("kamailio")
def test_the_tutorial_for_kamailio(short_folder: Path, answering_side: Answer, loopback_address: str) -> None:
    """From Debian's kamailio.cfg to the call that goes to the new place, by the commands of the page alone."""
    pristine("kamailio", KAMAILIO_CFG)
    new = answering_side(RINGS_AND_ANSWERS)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    address = own_address()
    port = free_port(address)

    def call() -> int:
        return place_call(loopback_address, (address, port), f"sip:+49301112223@{address}:{port}").status

    with own_host(short_folder) as host:
        # What the operator has set before, as the comments in Debian's file say: calls go to a gateway.
        own = f'#!define WITH_PSTN\nlisten=udp:{address}:{port}\nalias="{loopback_address}"\n'
        host.path("/etc/kamailio/kamailio-local.cfg").write_text(own)
        cfg = host.path("/etc/kamailio/kamailio.cfg")
        text = cfg.read_text().replace('pstn.gw_ip = ""', f'pstn.gw_ip = "{old.address}"')
        cfg.write_text(text.replace('pstn.gw_port = ""', f'pstn.gw_port = "{old.port}"'))

        def first_call() -> None:
            assert call() == 301
            log = host.path("/var/log/kamailio.log")
            wait_until(lambda: b"REDIRECTD v=2 ev=301" in log.read_bytes(), "the record of the 301")

        deeds = {"redirectd snippet kamailio": lambda: _paste(host, "kamailio"), "redirectd check": first_call}
        _follow(host, "tutorial-kamailio.md", deeds, {"redirectd apply": [1]})
        [target] = json.loads(host.run("redirectd plan --json"))["targets"]
        assert (target["unchanged"], target["changed"]) == (1, False)
        assert call() == 200
    assert len(old.invites()) == 1
    assert new.invites() == [f"sip:new03@{new.address}:{new.port}"]


DIALPLAN = """
[from-phones]
exten => alice,1,NoOp()
 same => n,Dial(PJSIP/${EXTEN}@carrier,10)
 same => n,Hangup()
"""


@pytest.mark.peer("asterisk")
def test_the_tutorial_for_asterisk(short_folder: Path, loopback_address: str) -> None:
    """From Debian's files and an operator's trunk to the call that goes to the new place, by the page's commands."""
    _asterisk(short_folder, loopback_address, "tutorial-asterisk.md", lambda _: None)


@pytest.mark.peer("asterisk", "odbc", "mariadb")
def test_the_tutorial_for_asterisk_with_a_database(short_folder: Path, loopback_address: str) -> None:
    """The same with Debian's MariaDB, whose table Asterisk asks for each call."""

    def start_mariadb(host: OwnHost) -> None:
        host.run("rm -rf /var/lib/mysql/* && mariadb-install-db --user=mysql >/dev/null")
        host.run("install -d -o mysql -g mysql /run/mysqld")
        options = "--user=mysql --bind-address=127.0.0.1 --innodb-use-native-aio=0 --innodb-flush-method=fsync"
        host.run(f"mariadbd {options} </dev/null >/var/log/mariadb.out 2>&1 &")
        wait_until(host.path("/run/mysqld/mysqld.sock").exists, "MariaDB opens its socket", seconds=60)

    _asterisk(short_folder, loopback_address, "tutorial-asterisk-odbc.md", start_mariadb)


def _asterisk(short_folder: Path, loopback_address: str, page: str, before: Callable[[OwnHost], None]) -> None:
    pristine("asterisk-config", ASTERISK_FOLDER / "pjsip.conf")
    address = own_address()
    port = free_port(address)

    def call() -> int:
        return place_call(loopback_address, (address, port), f"sip:alice@{address}:{port}").status

    new = AnsweringSide("127.0.30.2", lambda _: RINGS_AND_ANSWERS, 5060)
    old = AnsweringSide("127.0.31.1", lambda _: moved_to("<sip:newuser@127.0.30.2:5060>"), 6003)
    with new, old, own_host(short_folder) as host:
        for name, text in (
            ("pjsip.conf", PHONES.format(address=address, port=port, gateway="127.0.31.1:6003")),
            ("extensions.conf", DIALPLAN),
        ):
            file = host.path(f"/etc/asterisk/{name}")
            file.write_text(file.read_text() + text)
        before(host)
        host.run("install -d -o asterisk -g asterisk /run/asterisk /var/log/asterisk /var/log/asterisk/cdr-csv")
        host.run("asterisk -U asterisk -G asterisk </dev/null >/dev/null 2>&1")
        wait_until(host.path("/run/asterisk/asterisk.ctl").exists, "Asterisk opens its control socket")
        host.run("asterisk -rx 'core waitfullybooted'")

        def first_call() -> None:
            assert call() == 200  # Asterisk follows a 301 for this one call
            log = host.path("/var/log/asterisk/full")
            wait_until(lambda: b"301 Moved Permanently" in log.read_bytes(), "the 301 in the log")

        deeds = {"redirectd snippet asterisk": lambda: _paste(host, "asterisk"), "redirectd check": first_call}
        _follow(host, page, deeds, {})
        asked = len(old.invites())
        assert call() == 200
        assert len(old.invites()) == asked == 1
        # What Asterisk sends within a call, for its media, goes to the Contact, which has no user.
        assert new.invites().count("sip:newuser@127.0.30.2:5060") == 2
