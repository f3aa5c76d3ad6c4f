"""The operator's parts of docs/howto-asterisk-trunks.md on a real Asterisk: who is called, the answering side says."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest

from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from tests.docs.page import ROOT, blocks
from tests.peers.conftest import Answer, StartAsterisk
from tests.peers.lab.asterisk import Asterisk, Setup
from tests.peers.lab.loopback import own_address
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, AnsweringSide, place_call
from tests.peers.operator import Operator

pytestmark = pytest.mark.peer("asterisk")

PAGE = ROOT / "docs" / "howto-asterisk-trunks.md"
LOOKUP = AsteriskDialplan().lines().beside


def part(name: str) -> str:
    """The block of the page with this name."""
    [text] = [block.text for block in blocks(PAGE) if block.mark == ("operator", name)]
    return text


class Host:
    """An Asterisk with the page's parts, a trunk to `old`, and one approved move from there to `new`."""

    def __init__(self, start: StartAsterisk, answer: Answer, folder: Path) -> None:
        self._start = start
        self.old, self.other, self.new = (answer(RINGS_AND_ANSWERS) for _ in range(3))
        self.operator = Operator(folder)
        self.server: Asterisk | None = None

    def run(
        self, extensions: str, *, modules: Sequence[str] = (), files: dict[str, str] | None = None, pjsip: str = ""
    ) -> None:
        """Start Asterisk with these parts beside the lookup, and put the move into its routing."""
        trunk = f"[trunk](+)\naors = trunk\n[trunk]\ntype = aor\ncontact = sip:{self.old.address}:{self.old.port}\n"
        server = self._start(Setup(f"{extensions}\n{LOOKUP}", context="outside", pjsip=trunk + pjsip), start=False)
        folder = server.config_file.parent
        with (folder / "modules.conf").open("a") as sink:
            sink.writelines(f"load = {module}\n" for module in modules)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        server.start()
        self.server = server

    def apply(self, *tables: str) -> None:
        """Approve the move of 4930111 at `old` to 4930222 at `new`, and apply."""
        assert self.server is not None
        table = (
            f'[[target]]\nname = "trunk"\nkind = "asterisk-dialplan"\nwidth = "user"\npath = "'
            f'{self.server.dialplan_file}"\nhosts = ["{self.old.address}:{self.old.port}"]\n'
            f"{self.server.control()}"
        )
        self.operator.configure(*(tables or (table,)))
        old = f"sip:4930111@{self.old.address}:{self.old.port}"
        self.operator.import_moves({old: self.moved}, "--force", "--reason", "a test")
        assert {target["outcome"] for target in self.operator.json("apply")["targets"]} == {"verified"}

    @property
    def moved(self) -> str:
        """Where 4930111 moved to."""
        return f"sip:4930222@{self.new.address}:{self.new.port}"

    def calls(self, dialled: str) -> AnsweringSide:
        """Dial, and give the side that was called; no other is."""
        assert self.server is not None
        sides = (self.old, self.other, self.new)
        before = [len(side.invites()) for side in sides]
        status = place_call(own_address(), (self.server.address, self.server.port), f"sip:{dialled}@x.test").status
        assert status == 200
        [called] = [side for side, count in zip(sides, before, strict=True) if len(side.invites()) > count]
        return called


@pytest.fixture
def host(start_asterisk: StartAsterisk, answering_side: Answer, tmp_path: Path) -> Host:
    """A host that is not started yet."""
    return Host(start_asterisk, answering_side, tmp_path)


def _looks_up(host: Host, prefix: str = "") -> None:
    """The moved number is called at its new place, as its whole new URI, any other one over the trunk."""
    assert host.calls(f"{prefix}4930111") is host.new
    assert host.new.invites() == [host.moved]
    assert host.calls(f"{prefix}4930112") is host.old
    assert host.old.invites()[-1].startswith("sip:4930112@")


def test_a_cut_prefix_by_the_page(host: Host) -> None:
    """R41: the number is looked up as it is sent; with the 9 before it, it is another one."""
    host.run(part("trunk-prefix"))
    host.apply()
    _looks_up(host, "9")
    assert host.calls("994930111") is host.old


def test_several_trunks_by_the_page(host: Host) -> None:
    """A move at the first trunk says nothing of the second, which is asked when the first is gone."""
    lookups = "\n".join(AsteriskDialplan(prefix=name).lines().beside for name in ("first", "second"))
    includes = "#tryinclude extensions_first.conf\n#tryinclude extensions_second.conf\n"
    second = "[trunk2]\ntype = endpoint\ncontext = nowhere\ndisallow = all\nallow = ulaw\naors = trunk2\n"
    second += f"[trunk2]\ntype = aor\ncontact = sip:{host.other.address}:{host.other.port}\n"
    host.run(f"{includes}{part('trunk-several')}\n{lookups}", pjsip=second)
    assert host.server is not None
    [tables] = [b.text for b in blocks(PAGE) if b.language == "toml"]
    tables = tables.replace("/etc/asterisk/redirectd", str(host.server.config_file.parent))
    tables = tables.replace("asterisk -rx", f"asterisk -C {host.server.config_file} -rx")
    tables = tables.replace("192.0.2.1:5060", f"{host.old.address}:{host.old.port}")
    host.apply(tables.replace("192.0.2.2:5060", f"{host.other.address}:{host.other.port}"))
    _looks_up(host)


def test_tenants_by_the_page(host: Host) -> None:
    """Tenants share what the trunk's number moved to."""
    host.run(
        part("trunk-tenants")
        .replace("[outside]", "[outside]\ninclude => tenant-a\n[shared]")
        .replace("include => outside", "include => shared")
    )
    host.apply()
    _looks_up(host)


def test_ael_by_the_page(host: Host) -> None:
    """AEL asks the lookup of extensions.conf."""
    files = {"extensions.ael": part("trunk-ael")}
    host.run("", modules=["res_ael_share.so", "pbx_ael.so"], files=files)
    host.apply()
    _looks_up(host)


def test_lua_by_the_page(host: Host) -> None:
    """Lua dials a Local channel, whose context asks."""
    files = {"extensions.lua": part("trunk-lua")}
    host.run(part("trunk-lua-context"), modules=["pbx_lua.so"], files=files)
    host.apply()
    _looks_up(host)


def test_realtime_by_the_page(host: Host, short_folder: Path) -> None:
    """Rows of realtime extensions ask the lookup of extensions.conf."""
    database = short_folder / "extensions.sqlite3"
    rows = list(csv.DictReader(StringIO(part("trunk-realtime"))))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE extensions (context, exten, priority INTEGER, app, appdata)")
        connection.executemany("INSERT INTO extensions VALUES (:context, :exten, :priority, :app, :appdata)", rows)
    files = {
        "res_config_sqlite3.conf": f"[asterisk]\ndbfile => {database}\n",
        "extconfig.conf": "[settings]\nextensions => sqlite3,asterisk,extensions\n",
    }
    modules = ["res_config_sqlite3.so", "pbx_realtime.so"]
    host.run(part("trunk-realtime-context"), modules=modules, files=files)
    host.apply()
    _looks_up(host)


def test_a_wizards_trunk_by_the_page(host: Host) -> None:
    """A moved user is dialled over an endpoint that pjsip_wizard.conf made."""
    wizard = part("trunk-wizard").replace("192.0.2.2:5060", f"{host.old.address}:{host.old.port}")
    outside = part("trunk-prefix").replace("PJSIP/trunk/", "PJSIP/trunk2/").replace("@trunk,", "@trunk2,")
    host.run(outside, modules=["res_pjsip_config_wizard.so"], files={"pjsip_wizard.conf": wizard})
    host.apply()
    _looks_up(host, "9")
