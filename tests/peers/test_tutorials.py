"""The tutorials, command by command as their pages have them, on Debian's own configuration: to the rerouted call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.host import first_missing
from tests.docs.page import Block
from tests.peers.lab.loopback import free_port, own_address
from tests.peers.lab.process import wait_until
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, AnsweringSide, moved_to, place_call
from tests.peers.own_host import OwnHost, can_have_own_host, own_host, to_do
from tests.peers.stock import ASTERISK_FOLDER, KAMAILIO_CFG, PHONES, paste, pristine

pytestmark = [
    pytest.mark.skipif(not can_have_own_host(), reason="only root with mount namespaces can have such a host"),
    pytest.mark.xdist_group("tutorials"),  # the pages name their gateways' addresses and ports
]


def _follow(
    host: OwnHost,
    page: str,
    deeds: Mapping[str, Callable[[], object]],
    codes: Mapping[str, list[int]],
    last_section: str = "4. Read, decide, apply",
    *,
    first_section: str = "",
    compare: bool = False,
) -> None:
    """Does what a page says, from a section to another, and with `compare` sees that it prints what is shown.

    `deeds` are a person's after a command, `codes` other exit codes.
    """
    for item in to_do(page, last_section, first_section):
        if isinstance(item, Block):
            file = host.path(item.mark[1])
            file.write_text((file.read_text() if item.mark[0] == "append" else "") + item.text)
            continue
        if "pip install" in item.text:
            continue  # redirectd is there: the tests' own
        expected = codes.get(item.text, [])
        printed = host.run(item.text, code=expected.pop(0) if expected else 0)
        assert not compare or first_missing(item.shown, printed) is None, f"{item.text}\n{printed}"
        deeds.get(item.text, lambda: None)()


def _paste(host: OwnHost, server: str) -> None:
    """What a person does with the snippet that was printed."""
    found = json.loads(host.run(f"redirectd snippet {server} --json"))
    assert (found["wrong"], found["unknown"]) == ([], [])
    paste([part | {"file": str(host.path(part["file"]))} for part in found["parts"]])


@dataclass
class _Moved:
    """A Kamailio of Debian's, whose gateway answers 301, and whoever calls through it."""

    host: OwnHost
    caller: str
    place: tuple[str, int]
    old: AnsweringSide
    new: AnsweringSide

    def call(self) -> int:
        """Call the number that has moved, and give how that ended."""
        address, port = self.place
        return place_call(self.caller, self.place, f"sip:+49301112223@{address}:{port}").status

    def first_call(self) -> None:
        """Call it, and wait for the record in the log."""
        assert self.call() == 301
        log = self.host.path("/var/log/kamailio.log")
        wait_until(lambda: b"REDIRECTD v=2 ev=301" in log.read_bytes(), "the record of the 301")

    @property
    def deeds(self) -> Mapping[str, Callable[[], object]]:
        """What a person does besides the commands of a page."""
        return {
            "redirectd snippet kamailio": lambda: _paste(self.host, "kamailio"),
            "redirectd check": lambda: None if self.old.invites() else self.first_call(),
        }


@contextmanager
def _debian_kamailio(folder: Path, caller: str) -> Iterator[_Moved]:
    """A host whose operator has set, as the comments in Debian's file say, that calls go to a gateway."""
    pristine("kamailio", KAMAILIO_CFG)
    address = own_address()
    port = free_port(address)
    new = AnsweringSide("127.0.30.2", lambda _: RINGS_AND_ANSWERS, 5060)
    old = AnsweringSide("127.0.31.1", lambda _: moved_to("<sip:new03@127.0.30.2:5060>"), 6003)
    with new, old, own_host(folder) as host:
        own = f'#!define WITH_PSTN\nlisten=udp:{address}:{port}\nalias="{caller}"\n'
        host.path("/etc/kamailio/kamailio-local.cfg").write_text(own)
        cfg = host.path("/etc/kamailio/kamailio.cfg")
        text = cfg.read_text().replace('pstn.gw_ip = ""', 'pstn.gw_ip = "127.0.31.1"')
        cfg.write_text(text.replace('pstn.gw_port = ""', 'pstn.gw_port = "6003"'))
        yield _Moved(host, caller, (address, port), old, new)


@pytest.mark.peer("kamailio")
def test_the_tutorial_for_kamailio(short_folder: Path, loopback_address: str) -> None:
    """From Debian's kamailio.cfg to the call that goes to the new place, by the commands of the page alone."""
    with _debian_kamailio(short_folder, loopback_address) as site:
        _follow(site.host, "tutorial-kamailio.md", site.deeds, {"redirectd apply": [1]})
        [target] = json.loads(site.host.run("redirectd plan --json"))["targets"]
        assert (target["unchanged"], target["changed"]) == (1, False)
        assert site.call() == 200
        assert (len(site.old.invites()), site.new.invites()) == (1, ["sip:new03@127.0.30.2:5060"])


@pytest.mark.peer("kamailio", "mariadb")
def test_an_installation_moves_from_files_to_tables_and_back(short_folder: Path, loopback_address: str) -> None:
    """By the commands of its page, after the tutorial: each call goes to the new place, and none to the old one."""
    with _debian_kamailio(short_folder, loopback_address) as site:
        _follow(site.host, "tutorial-kamailio.md", site.deeds, {"redirectd apply": [1]})
        _start_mariadb(site.host)
        rows = "mariadb kamailio -e 'SELECT key_value FROM redirectd_htable'"
        page = "howto-files-to-tables.md"
        _follow(site.host, page, site.deeds, {}, "3. Have Kamailio read it", compare=True)
        assert "sip:new03@127.0.30.2:5060" in site.host.run(rows)
        assert site.call() == 200
        _follow(site.host, page, site.deeds, {}, "4. Back to files", compare=True, first_section="4. Back to files")
        assert site.call() == 200
        assert (len(site.old.invites()), len(site.new.invites())) == (1, 2)


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
    _asterisk(short_folder, loopback_address, "tutorial-asterisk-odbc.md", _start_mariadb)


def _start_mariadb(host: OwnHost) -> None:
    host.run("rm -rf /var/lib/mysql/* && mariadb-install-db --user=mysql >/dev/null")
    host.run("install -d -o mysql -g mysql /run/mysqld")
    options = "--user=mysql --bind-address=127.0.0.1 --innodb-use-native-aio=0 --innodb-flush-method=fsync"
    host.run(f"mariadbd {options} </dev/null >/var/log/mariadb.out 2>&1 &")
    wait_until(host.path("/run/mysqld/mysqld.sock").exists, "MariaDB opens its socket", seconds=60)


@pytest.mark.peer("kamailio", "mariadb")
def test_the_tutorial_for_kamailio_with_a_database(short_folder: Path, loopback_address: str) -> None:
    """From Debian's kamailio.cfg, MariaDB and kamctl to the moved call and the moved gateway, as the page shows it."""
    with _debian_kamailio(short_folder, loopback_address) as site:
        _start_mariadb(site.host)
        last = "5. Gateways, with kamctl as ever"
        _follow(site.host, "tutorial-kamailio-mariadb.md", site.deeds, {}, last, compare=True)
        assert site.call() == 200
        assert (len(site.old.invites()), site.new.invites()) == (1, ["sip:new03@127.0.30.2:5060"])


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
