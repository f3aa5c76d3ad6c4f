"""Targets kept in a database: a real Kamailio over MariaDB and PostgreSQL, called through, asked and disturbed."""

from __future__ import annotations

import pytest

from redirectd.targets.kamailio_alias_db import KamailioAliasSql
from tests.peers.conftest import Answer, StartKamailio
from tests.peers.database_site import (
    BOTH,
    GATEWAYS,
    Site,
    approve,
    create_table,
    entry,
    held,
    make_kamdb,
    site,
    start_htable,
)
from tests.peers.lab.kamailio import LOOK_UP_USER, Script, to_dispatcher_set
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, moved_to, place_call
from tests.peers.operator import Operator

__all__ = ["site"]


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_moved_user_is_rerouted_from_a_database(
    site: Site,
    operator: Operator,
    start_kamailio: StartKamailio,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """From the 301 in the log to the next call at the new address; a restart of Kamailio and a revoke hold, too."""
    new = answering_side(RINGS_AND_ANSWERS)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    operator.configure()
    script = to_dispatcher_set(1, extra=operator.record_snippet(), before_relay=LOOK_UP_USER)
    gateways = f"1 sip:{old.address}:{old.port}\n"
    proxy = start_htable(operator, site, start_kamailio, script=script, dispatcher=gateways)
    call = (loopback_address, (proxy.address, proxy.port))
    assert place_call(*call, "sip:c03@lab.test").status == 301
    operator.run("ingest", proxy.tells())
    [remap] = operator.pending()
    operator.run("approve", str(remap["id"]), "--reason", "seen")

    [target] = operator.json("apply")["targets"]

    assert target["outcome"] == "verified"
    assert place_call(*call, "sip:c03@LAB.test").status == 200
    assert place_call(*call, "sip:other@lab.test").status == 301
    assert new.invites() == [f"sip:new03@{new.address}:{new.port}"]
    proxy.restart()
    assert place_call(*call, "sip:c03@lab.test").status == 200
    operator.run("revoke", str(remap["id"]), "--reason", "moved back")
    assert "none be left" in operator.try_run("apply").stderr  # an empty result over a table with entries
    operator.run("apply", "--force")
    assert place_call(*call, "sip:c03@lab.test").status == 301
    assert site.rows() == {}


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_the_least_rights_are_enough_and_checked(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """`check` has nothing against what `db-target create` made, and names each right and column that is missing."""
    proxy = start_htable(operator, site, start_kamailio)
    approve(operator, "alice")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert operator.faults("users") == ""
    user = "rd_writer@'%'" if site.is_mysql else "rd_writer"
    site.run(f"REVOKE DELETE ON redirectd_htable FROM {user}")
    assert "can't delete its rows" in operator.faults("users")
    site.run("ALTER TABLE redirectd_htable DROP COLUMN expires")
    assert "it has no column expires" in operator.faults("users")
    assert held(proxy) == dict([entry("alice")])


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_rows_of_a_person_are_shown_and_kept(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """A row added, one changed and one removed by hand: plan shows them, and without --force nothing is written."""
    proxy = start_htable(operator, site, start_kamailio)
    approve(operator, "alice", "bob", "carol")
    operator.run("apply")
    site.run(
        "INSERT INTO redirectd_htable (key_name, key_value) VALUES ('vip@x', 'sip:vip@y')",
        "UPDATE redirectd_htable SET key_value = 'sip:mine@y' WHERE key_name = 'sip:bob@old.test:;'",
        "DELETE FROM redirectd_htable WHERE key_name = 'sip:carol@old.test:;'",
    )
    approve(operator, "dave")
    there = site.rows()

    plan = operator.json("plan")
    refusal = operator.try_run("apply")

    [target] = plan["targets"]
    assert "-0:vip@x:0:0:sip\\:vip@y:0" in target["diff"]
    assert "-0:sip\\:bob@old.test\\:;:0:0:sip\\:mine@y:0" in target["diff"]
    assert (refusal.returncode, "changed by hand" in refusal.stderr) == (3, True)
    assert site.rows() == there
    assert operator.json("apply", "--force")["targets"][0]["outcome"] == "verified"
    assert site.rows() == held(proxy) == dict(map(entry, ("alice", "bob", "carol", "dave")))


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_changes_go_live_and_roll_back(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """With `live` a change needs no reload; a rollback brings rows and server to the generation before."""
    proxy = start_htable(operator, site, start_kamailio, "live = 5\n")
    approve(operator, "alice", "bob", "carol", "dave")
    operator.run("apply")
    reloads = proxy.log_file.read_text().count("htable_db_load_table")
    approve(operator, "erin")

    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert site.rows() == held(proxy) == dict(map(entry, ("alice", "bob", "carol", "dave", "erin")))
    generations = operator.json("history")["generations"]
    operator.run("rollback", str(generations[-1]["number"]))
    assert site.rows() == held(proxy) == dict(map(entry, ("alice", "bob", "carol", "dave")))
    assert reloads == proxy.log_file.read_text().count("htable_db_load_table")


ALIASES = """
[[target]]
name = "aliases"
kind = "kamailio-alias_db"
width = "user@host"
database = "{url}"
"""


def alias_modules(site: Site) -> str:
    """What an operator sets for alias_db over this database."""
    database, place = site.modules.replace('"htable"', '"alias_db"').splitlines()
    return f'{database}\nloadmodule "alias_db.so"\n{place}\nmodparam("alias_db", "use_domain", 1)\n'


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_an_alias_is_in_force_with_the_commit(
    site: Site,
    operator: Operator,
    start_kamailio: StartKamailio,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """alias_db over redirectd's own table: the next call is moved, one to the user in another case is not."""
    new = answering_side(RINGS_AND_ANSWERS)
    operator.configure(ALIASES.format(url=site.url_of("rd_writer")))
    create_table(operator, site, "aliases")
    script = Script(
        before_relay=KamailioAliasSql().lines().call + 'if ($rd == "old.test") { sl_send_reply("404", "No"); exit; }\n'
    )
    proxy = start_kamailio(script, modules=alias_modules(site))
    call = (loopback_address, (proxy.address, proxy.port))
    assert place_call(*call, "sip:Alice@old.test").status == 404
    operator.import_moves({"sip:Alice@old.test": f"sip:new@{new.address}:{new.port}"})

    assert operator.json("apply")["targets"][0]["outcome"] == "installed"

    assert place_call(*call, "sip:Alice@old.test").status == 200
    assert place_call(*call, "sip:alice@old.test").status == 404
    assert new.invites() == [f"sip:new@{new.address}:{new.port}"]
    assert operator.json("apply")["targets"][0]["outcome"] == "unchanged"


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_moved_gateway_is_joined_with_the_operators_rows(
    site: Site,
    operator: Operator,
    start_kamailio: StartKamailio,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """Calls go to the new gateway; the operator's rows stay as they are, and what he adds and changes comes through."""
    old, new, added = (answering_side(RINGS_AND_ANSWERS) for _ in range(3))
    make_kamdb(site)
    site.run(f"INSERT INTO dispatcher (setid, destination, attrs) VALUES (1, 'sip:{old.address}:{old.port}', 'duid=a')")
    own = site.run("SELECT * FROM dispatcher")
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer"), socket="/nowhere"))
    create_table(operator, site, "gateways")
    modules = site.modules.replace('"htable"', '"dispatcher"')
    modules += (
        'modparam("dispatcher", "table_name", "redirectd_dispatcher")\nmodparam("dispatcher", "reload_delta", 0)\n'
    )
    proxy = start_kamailio(to_dispatcher_set(1), modules=modules)
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer"), socket=proxy.rpc_socket))
    call = (loopback_address, (proxy.address, proxy.port), "sip:x@lab.test")
    assert place_call(*call).status == 200
    moves = {f"sip:{old.address}:{old.port}": f"sip:{new.address}:{new.port}"}
    operator.import_moves(moves, "--force", "--reason", "a test", kind="gateway")

    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert place_call(*call).status == 200
    assert (len(old.invites()), len(new.invites())) == (1, 1)
    assert site.run("SELECT * FROM dispatcher") == own
    # What kamctl does: a row more, and another priority.
    site.run(
        f"INSERT INTO dispatcher (setid, destination, priority) VALUES (1, 'sip:{added.address}:{added.port}', 9)",
        "UPDATE dispatcher SET priority = 3 WHERE attrs = 'duid=a'",
    )
    [target] = operator.json("apply")["targets"]
    assert (target["outcome"], target["error"]) == ("verified", None)
    assert place_call(*call).status == 200
    assert len(added.invites()) == 1
    [remap] = operator.json("list")["remaps"]
    operator.run("revoke", str(remap["id"]))
    assert operator.json("apply", "--force")["targets"][0]["outcome"] == "verified"
    shown_now = {row[1]: row[2] for row in site.run("SELECT id, destination, priority FROM redirectd_dispatcher")}
    assert shown_now == {f"sip:{old.address}:{old.port}": 3, f"sip:{added.address}:{added.port}": 9}
    assert site.run("SELECT old FROM redirectd_gateway") == [("__gen__",)]
    operator.run("rollback", str(operator.json("history")["generations"][-1]["number"]))
    shown = [row[0] for row in site.run("SELECT destination FROM redirectd_dispatcher ORDER BY id")]
    assert shown == [f"sip:{new.address}:{new.port}", f"sip:{added.address}:{added.port}"]
    # A move that a person wrote beside redirectd's own is not overwritten.
    site.run("INSERT INTO redirectd_gateway (old, new) VALUES ('sip:a', 'sip:b')")
    refusal = operator.try_run("apply", "--resume")
    assert (refusal.returncode, "changed by hand" in refusal.stderr) == (3, True)
