"""Several Kamailios over one table, and reloads whose answer is not to be believed, on real servers."""

from __future__ import annotations

import pytest

from tests.peers.conftest import StartKamailio
from tests.peers.database_site import BOTH, Site, approve, create_table, entry, held, site
from tests.peers.lab.kamailio import Script
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
