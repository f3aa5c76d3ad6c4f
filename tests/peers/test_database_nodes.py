"""Several Kamailios over one table, and reloads whose answer is not to be believed, on real servers."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from time import sleep

import pytest

from tests.peers.conftest import StartKamailio
from tests.peers.database_site import (
    BOTH,
    HTABLE,
    Site,
    approve,
    create_table,
    entry,
    held,
    move_gateway,
    site,
    start_gateways,
    start_htable,
    states_of,
)
from tests.peers.lab.kamailio import Kamailio, Script
from tests.peers.operator import Operator
from tests.service.meanwhile import apply_on_schedule, once_between_plan_and_write

__all__ = ["site"]

NODES = """
[[target]]
name = "users"
kind = "kamailio-htable"
database = "{url}"
nodes = ["jsonrpc:unix:{one}", "{two}"]
timeout = "4s"
"""


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_two_kamailios_over_one_table(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """Each is reloaded and asked; one that is away is named, does not keep the move from the other, and catches up."""
    url = site.url_of("rd_writer")
    operator.configure(NODES.format(url=url, one="/nowhere", two="jsonrpc:unix:/nowhere/else"))
    create_table(operator, site)
    one, two = (start_kamailio(Script(), modules=site.modules) for _ in range(2))
    operator.configure(NODES.format(url=url, one=one.rpc_socket, two=two.rpc_url.replace("http", "jsonrpc:http", 1)))
    approve(operator, "alice")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"
    assert held(one) == held(two) == dict([entry("alice")])
    two.stop()
    approve(operator, "bob")

    [target] = operator.json("apply", code=1)["targets"]

    assert target["outcome"] == "installed"
    assert two.rpc_url in target["error"]
    assert str(one.rpc_socket) not in target["error"]
    assert held(one) == site.rows() == dict(map(entry, ("alice", "bob")))
    assert two.rpc_url in operator.try_run("status").stdout
    two.start()
    [target] = operator.json("apply")["targets"]
    assert target["error"] is None
    assert held(two) == site.rows()
    # Announced at another Kamailio alone, a table is not in force here: each is asked.
    two.rpc("htable.delete", "redir", entry("bob")[0])
    [target] = operator.json("apply", "--verify")["targets"]
    assert target["outcome"] == "verified"
    assert held(two) == site.rows()


SHARING = """
node = "{node}"

[database]
url = "{store}"

[policy]
allowed_target_networks = ["127.0.0.0/8"]

[daemon]
socket = "status.sock"

[[target]]
name = "users"
kind = "kamailio-htable"
database = "{table}"
reload = "jsonrpc:unix:{socket}"
"""


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_who_finds_the_rows_there_has_its_own_kamailio_read_them(
    site: Site, operator: Operator, start_kamailio: StartKamailio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two redirectds share a table: one writes it while the other plans, and both Kamailios have the move at once."""
    table = site.url_of("rd_writer")
    operator.configure(HTABLE.format(url=table, socket="/nowhere"))
    create_table(operator, site)
    proxies = [start_kamailio(Script(), modules=site.modules) for _ in range(2)]
    nodes = [Operator(tmp_path / name) for name in ("one", "two")]
    for node, proxy in zip(nodes, proxies, strict=True):
        node.folder.mkdir()
        text = SHARING.format(node=node.folder.name, store=site.admin, table=table, socket=proxy.rpc_socket)
        (node.folder / "redirectd.toml").write_text(text)
    one, two = (node.folder / "redirectd.toml" for node in nodes)
    nodes[0].run("db", "upgrade")
    for user in ("alice", "bob"):  # the first generation, and one behind it
        approve(nodes[0], user)
        once_between_plan_and_write(monkeypatch, lambda: apply_on_schedule(two))
        apply_on_schedule(one)
        assert [held(proxy) for proxy in proxies] == [site.rows()] * 2
    assert site.rows() == dict(map(entry, ("alice", "bob")))
    assert [node.json("plan")["targets"][0]["changed"] for node in nodes] == [False, False]


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_reload_failed_with_nearly_everything_changed(
    site: Site, operator: Operator, start_kamailio: StartKamailio
) -> None:
    """`500 - Reload Failed` for one row of the operator's: the list says what is in force, and no state is lost."""
    old, other, new = "sip:127.0.0.1:5991", "sip:127.0.0.1:5992", "sip:127.0.0.1:5993"
    proxy = start_gateways(site, operator, start_kamailio, old, other)
    site.run("INSERT INTO dispatcher (setid, destination) VALUES (1, 'sip:gone.invalid')")
    proxy.rpc("dispatcher.set_state", "dx", 1, other)
    move_gateway(operator, old, new)

    [target] = operator.json("apply")["targets"]

    assert (target["outcome"], target["error"]) == ("verified", None)
    assert states_of(proxy) == {new: "AX", other: "DX"}
    assert "500" in str(_refusal(proxy, "dispatcher.reload"))
    assert "sip:gone.invalid" in "".join(operator.json("plan")["targets"][0]["notices"])
    # Kept from the table it changes nothing, says the same, and is taken back.
    site.run(f"REVOKE SELECT ON redirectd_dispatcher FROM {site.reader}")
    proxy.rpc("dispatcher.set_state", "dx", 1, other)
    move_gateway(operator, other, "sip:127.0.0.1:5994")
    [target] = operator.json("apply", code=4)["targets"]
    assert (target["outcome"], "Reload Failed" in target["error"]) == ("rolled-back", True)
    assert states_of(proxy) == {new: "AX", other: "DX"}
    assert site.run("SELECT new FROM redirectd_gateway WHERE old <> '__gen__'") == [(new,)]


def _refusal(proxy: Kamailio, method: str) -> Exception | None:
    try:
        proxy.rpc(method)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what Kamailio said
        return error
    return None


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_ok_from_a_copy_that_is_behind(
    request: pytest.FixtureRequest, site: Site, operator: Operator, start_kamailio: StartKamailio
) -> None:
    """Kamailio reads a replica: a reload says Ok and has the old rows, or none. A late copy is waited for, once."""
    replica = Site(request.getfixturevalue("mariadb_server" if site.is_mysql else "postgresql_server").new_database())
    operator.configure(HTABLE.format(url=replica.url_of("rd_writer"), socket="/nowhere"))
    create_table(operator, replica)
    proxy = start_htable(operator, site, lambda script, **options: start_kamailio(script, modules=replica.modules))
    approve(operator, "alice")

    [target] = operator.json("apply", code=4)["targets"]

    assert target["outcome"] == "rolled-back"
    assert held(proxy) == site.rows() == {}

    def copy() -> None:
        while entry("alice")[0] not in (found := dict(site.run("SELECT key_name, key_value FROM redirectd_htable"))):
            sleep(0.1)
        sleep(2.5)
        inserts = [
            f"INSERT INTO redirectd_htable (key_name, key_value) VALUES ('{k}', '{v}')" for k, v in found.items()
        ]
        replica.run("DELETE FROM redirectd_htable", *inserts)

    copier = Thread(target=copy)
    copier.start()
    [target] = operator.json("apply")["targets"]
    copier.join()
    assert target["outcome"] == "verified"
    assert held(proxy) == site.rows() == dict([entry("alice")])
