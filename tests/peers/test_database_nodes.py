"""Several Kamailios over one table, and reloads whose answer is not to be believed, on real servers."""

from __future__ import annotations

from threading import Thread
from time import sleep
from typing import Any

import pytest

from tests.peers.conftest import StartKamailio
from tests.peers.database_site import (
    BOTH,
    GATEWAYS,
    HTABLE,
    Site,
    approve,
    create_table,
    entry,
    held,
    make_kamdb,
    site,
    start_htable,
)
from tests.peers.lab.kamailio import Kamailio, Script, to_dispatcher_set
from tests.peers.operator import Operator

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
    # Told at another Kamailio alone, a table is not in force here: each is asked.
    two.rpc("htable.delete", "redir", entry("bob")[0])
    [target] = operator.json("apply", "--verify")["targets"]
    assert target["outcome"] == "verified"
    assert held(two) == site.rows()


def _gateways(site: Site, operator: Operator, start_kamailio: StartKamailio, *destinations: str) -> Kamailio:
    """A Kamailio that reads the view over the operator's rows, all in set 1, and the target for it."""
    make_kamdb(site)
    rows = ", ".join(f"(1, '{destination}')" for destination in destinations)
    site.run(f"INSERT INTO dispatcher (setid, destination) VALUES {rows}")
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer"), socket="/nowhere"))
    create_table(operator, site, "gateways")
    modules = site.modules.replace('"htable"', '"dispatcher"')
    modules += 'modparam("dispatcher", "table_name", "redirectd_dispatcher")\n'
    modules += 'modparam("dispatcher", "reload_delta", 0)\n'
    proxy = start_kamailio(to_dispatcher_set(1), modules=modules)
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer"), socket=proxy.rpc_socket))
    return proxy


def _move(operator: Operator, old: str, new: str) -> None:
    file = operator.folder / "moves.csv"
    file.write_text(f"old_uri,new_uri,kind,state\n{old},{new},gateway,approved\n")
    operator.run("import", "--approve", "--force", "--reason", "a test", str(file))


def _states(proxy: Kamailio) -> dict[str, str]:
    """Destinations and FLAGS of set 1."""
    listed: Any = proxy.rpc("dispatcher.list")["RECORDS"][0]["SET"]["TARGETS"]
    return {each["DEST"]["URI"]: each["DEST"]["FLAGS"] for each in listed}


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_reload_failed_with_nearly_everything_changed(
    site: Site, operator: Operator, start_kamailio: StartKamailio
) -> None:
    """`500 - Reload Failed` for one row of the operator's: the list says what is in force, and no state is lost."""
    old, other, new = "sip:127.0.0.1:5991", "sip:127.0.0.1:5992", "sip:127.0.0.1:5993"
    proxy = _gateways(site, operator, start_kamailio, old, other)
    site.run("INSERT INTO dispatcher (setid, destination) VALUES (1, 'sip:gone.invalid')")
    proxy.rpc("dispatcher.set_state", "dx", 1, other)
    _move(operator, old, new)

    [target] = operator.json("apply")["targets"]

    assert (target["outcome"], target["error"]) == ("verified", None)
    assert _states(proxy) == {new: "AX", other: "DX"}
    assert "500" in str(_refusal(proxy, "dispatcher.reload"))
    assert "sip:gone.invalid" in "".join(operator.json("plan")["targets"][0]["notices"])
    # Kept from the table it changes nothing, says the same, and is taken back.
    reader = "kamailio@'%'" if site.is_mysql else "kamailio"
    site.run(f"REVOKE SELECT ON redirectd_dispatcher FROM {reader}")
    proxy.rpc("dispatcher.set_state", "dx", 1, other)
    _move(operator, other, "sip:127.0.0.1:5994")
    [target] = operator.json("apply", code=4)["targets"]
    assert (target["outcome"], "Reload Failed" in target["error"]) == ("rolled-back", True)
    assert _states(proxy) == {new: "AX", other: "DX"}
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
