"""The first apply on a server whose configuration is still the packaged one: nothing that it needs is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.conftest import StartKamailio
from tests.peers.lab.kamailio import Script
from tests.peers.lab.loopback import free_port
from tests.peers.lab.process import Child
from tests.peers.operator import DISPATCHER, Operator

pytestmark = pytest.mark.peer("kamailio")

STOCK = Path("/etc/kamailio/kamailio.cfg")

HTABLE = """
loadmodule "db_text.so"
loadmodule "htable.so"
modparam("db_text", "db_mode", 1)
modparam("htable", "db_url", "text://{folder}/dbtext")
modparam("htable", "htable", "redir=>size=10;dbtable=redirectd_htable;")
"""

USERS = """
[[target]]
name = "users"
kind = "kamailio-htable"
path = "{folder}/dbtext/redirectd_htable"
reload = "jsonrpc:unix:{folder}/rpc.sock"
"""


class _Stock:
    """Debian's kamailio.cfg with its RPC socket in a folder of the test's own."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self._config = folder / "kamailio.cfg"
        self._listen = f"udp:{address}:{free_port(address)}"
        self._child: Child | None = None
        (folder / "dbtext").mkdir()
        (folder / "dbtext" / "version").write_text(
            "table_name(string) table_version(int)\nredirectd_htable:2\n", encoding="ascii"
        )

    def start(self, more: str = "") -> None:
        """Start with the packaged file and `more` lines of the operator's."""
        self.stop()
        text = STOCK.read_text(encoding="utf-8")
        socket = f'modparam("jsonrpcs", "dgram_socket", "{self.folder}/rpc.sock")\n'
        fifo = f'modparam("jsonrpcs", "fifo_name", "{self.folder}/rpc.fifo")\n'
        mark = "# ----- jsonrpcs params -----\n"
        control = f'modparam("ctl", "binrpc", "unix:{self.folder}/ctl.sock")\n'
        assert mark in text
        self._config.write_text(text.replace(mark, mark + socket + fifo + control + more), encoding="utf-8")
        command = ["kamailio", "-f", str(self._config), "-DD", "-E", "-P", f"{self.folder}/pid", "-Y", str(self.folder)]
        self._child = Child([*command, "-l", self._listen, "-m", "64", "-M", "8"], self.folder / "kamailio.stderr")
        self._child.wait_until((self.folder / "rpc.sock").exists, "Kamailio's RPC socket")

    def stop(self) -> None:
        """Stop it."""
        if self._child:
            self._child.stop()
            (self.folder / "rpc.sock").unlink(missing_ok=True)
            self._child = None


@pytest.fixture
def stock(short_folder: Path, loopback_address: str) -> Iterator[_Stock]:
    """Give a Kamailio of Debian's own configuration, not started."""
    if not STOCK.exists():
        pytest.skip("no packaged kamailio.cfg on this machine")
    server = _Stock(short_folder, loopback_address)
    yield server
    server.stop()


def test_first_apply_before_htable_is_loaded(operator: Operator, stock: _Stock) -> None:
    """On the stock kamailio.cfg, jsonrpcs loaded and htable not yet, the empty table is installed and stays.

    With the module loaded as the tutorial says, Kamailio starts with that table, and the next apply proves it.
    """
    stock.start()
    operator.configure(USERS.format(folder=stock.folder))

    first = operator.json("apply", code=1)

    assert [target["outcome"] for target in first["targets"]] == ["installed"]
    assert (stock.folder / "dbtext" / "redirectd_htable").exists()
    stock.start(HTABLE.format(folder=stock.folder))
    operator.import_moves({"sip:a@old.test": "sip:a@new.test"})
    second = operator.json("apply")
    assert [target["outcome"] for target in second["targets"]] == ["verified"]


def test_bad_dispatcher_line_takes_no_table_away(operator: Operator, start_kamailio: StartKamailio) -> None:
    """A destination that Kamailio skips fails the first generation: htable and dispatcher list are there all the same.

    The htable is empty and valid, the list is the operator's own, and Kamailio starts with both.
    """
    server = start_kamailio(Script(), dispatcher="9 sip:127.0.0.99\n")
    server.htable_file.unlink()
    server.dispatcher_file.unlink()
    (server.folder / "base.list").write_text("1 sip:127.0.0.21\n1 sip:gateway.invalid\n", encoding="ascii")
    operator.configure(USERS.format(folder=server.folder), DISPATCHER.format(folder=server.folder))
    operator.import_moves({"sip:a@old.test": "sip:a@new.test"})

    result = operator.json("apply", code=4)

    assert [target["outcome"] for target in result["targets"]] == ["rolled-back", "rolled-back"]
    assert "gateway.invalid is missing" in result["error"]
    assert server.dispatcher_file.read_text().endswith("1 sip:127.0.0.21\n1 sip:gateway.invalid\n")
    assert "new.test" not in server.htable_file.read_text()
    server.restart()
    assert server.rpc("htable.stats")[0]["name"] == "redir"


def test_disabled_gateway_stays_disabled(operator: Operator, start_kamailio: StartKamailio) -> None:
    """`dispatcher.set_state dx` survives an apply: for a gateway that stays, and for one that moves."""
    base = "1 sip:127.0.0.21\n1 sip:127.0.0.22\n1 sip:127.0.0.23\n"
    server = start_kamailio(Script(), dispatcher=base)
    (server.folder / "base.list").write_text(base, encoding="ascii")
    operator.configure(DISPATCHER.format(folder=server.folder))
    operator.run("apply")
    for gateway in ("sip:127.0.0.21", "sip:127.0.0.22"):
        server.rpc("dispatcher.set_state", "dx", 1, gateway)
    operator.import_moves({"sip:127.0.0.22": "sip:127.0.0.32"}, kind="gateway")

    result = operator.json("apply")

    assert [target["outcome"] for target in result["targets"]] == ["verified"]
    shown = server.rpc("dispatcher.list")["RECORDS"][0]["SET"]["TARGETS"]
    assert {each["DEST"]["URI"]: each["DEST"]["FLAGS"] for each in shown} == {
        "sip:127.0.0.21": "DX",
        "sip:127.0.0.32": "DX",
        "sip:127.0.0.23": "AX",
    }


def test_destinations_added_at_run_time_stay(operator: Operator, start_kamailio: StartKamailio) -> None:
    """What `dispatcher.add` has brought is there after an apply, with priority, attrs and state; what moved is not."""
    base = "1 sip:127.0.0.21\n1 sip:127.0.0.22\n"
    server = start_kamailio(Script(), dispatcher=base)
    (server.folder / "base.list").write_text(base, encoding="ascii")
    operator.configure(DISPATCHER.format(folder=server.folder))
    operator.run("apply")
    server.add_destination(1, "sip:127.0.0.99", 0, 7, "weight=50")
    server.rpc("dispatcher.set_state", "dx", 1, "sip:127.0.0.99")
    operator.import_moves({"sip:127.0.0.22": "sip:127.0.0.32"}, kind="gateway")

    result = operator.json("apply")

    assert [target["outcome"] for target in result["targets"]] == ["verified"]
    shown = server.rpc("dispatcher.list")["RECORDS"][0]["SET"]["TARGETS"]
    found = {each["DEST"]["URI"]: (each["DEST"]["FLAGS"], each["DEST"]["PRIORITY"]) for each in shown}
    assert found == {"sip:127.0.0.21": ("AX", 0), "sip:127.0.0.32": ("AX", 0), "sip:127.0.0.99": ("DX", 7)}
    [added] = [each["DEST"] for each in shown if each["DEST"]["URI"] == "sip:127.0.0.99"]
    assert added["ATTRS"]["BODY"] == "weight=50"
    assert [target["outcome"] for target in operator.json("apply")["targets"]] == ["unchanged"]
