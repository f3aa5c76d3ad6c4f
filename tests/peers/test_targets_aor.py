"""asterisk-pjsip-aor over MariaDB and PostgreSQL: gateways moved in the rows that a real Asterisk reads by realtime."""

from __future__ import annotations

import pytest

from tests.peers.conftest import Answer, StartAsterisk
from tests.peers.database_site import create_table, move_gateway
from tests.peers.lab.asterisk import Setup
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, place_call
from tests.peers.odbc_site import BOTH, OdbcSite, site
from tests.peers.operator import Operator

__all__ = ["site"]

GATEWAYS = """
[[target]]
name = "gateways"
kind = "asterisk-pjsip-aor"
width = "gateway"
database = "{url}"
"""
# Asterisk's own schema, what of it matters here.
PS_AORS = (
    "CREATE TABLE ps_aors (id VARCHAR(40) NOT NULL, contact VARCHAR(255), max_contacts INTEGER, "
    "qualify_frequency INTEGER, UNIQUE (id))"
)
REALTIME = (
    "preload => res_odbc_transaction.so\npreload => res_odbc.so\npreload => res_config_odbc.so\n"
    "preload => res_sorcery_realtime.so\npreload => res_sorcery_memory_cache.so\n"
)
CACHE = "aor/cache=memory_cache,maximum_objects=100,expire_on_reload=no,object_lifetime_maximum=3600\n"
CARRIER = "[carrier]\ntype=endpoint\ncontext=nowhere\ndisallow=all\nallow=ulaw\naors=carrier\n"
DIAL_CARRIER = "[from-caller]\nexten => _X.,1,Dial(PJSIP/${EXTEN}@carrier,10)\n same => n,Hangup()\n"


def _aors(site: OdbcSite, operator: Operator, cache: str, carrier: str) -> Setup:
    """An Asterisk with realtime AORs, the table of which `db-target create` has given redirectd its rights on."""
    site.run(PS_AORS, f"INSERT INTO ps_aors (id, contact, max_contacts) VALUES ('carrier', '{carrier}', 1)")
    site.run("INSERT INTO ps_aors (id, contact) VALUES ('phone', NULL), ('other', 'sip:192.0.2.8:5060')")
    site.run(f"GRANT SELECT ON ps_aors TO asterisk{site.at}")
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer")))
    create_table(operator, site, "gateways")
    files = site.files() | {
        "sorcery.conf": f"[res_pjsip]\n{cache}aor=realtime,ps_aors\n",
        "extconfig.conf": "[settings]\nps_aors => odbc,redirectd,ps_aors\n",
    }
    return Setup(DIAL_CARRIER, pjsip=CARRIER, modules=REALTIME, files=files)


@pytest.mark.parametrize("cache", ["", CACHE], ids=["no cache", "cache"])
@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_moved_gateway_in_the_operators_aors(
    site: OdbcSite,
    cache: str,
    operator: Operator,
    start_asterisk: StartAsterisk,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """Calls go to the new gateway at once, cache or not; but for that contact the operator's rows are as they were."""
    old, new = answering_side(RINGS_AND_ANSWERS), answering_side(RINGS_AND_ANSWERS)
    was, moved = f"sip:{old.address}:{old.port}", f"sip:{new.address}:{new.port}^3Btransport=udp"
    server = start_asterisk(_aors(site, operator, cache, was))
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer")) + server.control())
    call = (loopback_address, (server.address, server.port), f"sip:100@{server.address}")
    assert place_call(*call).status == 200
    assert len(old.invites()) == 1
    move_gateway(operator, was, moved.replace("^3B", ";"))

    result = operator.json("apply")["targets"][0]

    assert (result["outcome"], result["error"]) == ("verified", None)
    assert site.run("SELECT id, contact, max_contacts FROM ps_aors ORDER BY id") == [
        ("carrier", moved, 1),
        ("other", "sip:192.0.2.8:5060", None),
        ("phone", None, None),
    ]
    assert place_call(*call).status == 200
    assert (len(old.invites()), len(new.invites())) == (1, 1)
    # The operator's own rows come through: what is his is no change by hand.
    site.run("UPDATE ps_aors SET contact = 'sip:192.0.2.9:5060' WHERE id = 'other'")
    site.run("INSERT INTO ps_aors (id, contact) VALUES ('added', 'sip:192.0.2.10:5060')")
    assert operator.json("apply")["targets"][0]["outcome"] in ("unchanged", "verified")
    # A moved contact that a person has changed is his, and shown, until --force.
    site.run("UPDATE ps_aors SET contact = 'sip:192.0.2.55:5060' WHERE id = 'carrier'")
    refusal = operator.try_run("apply")
    assert (refusal.returncode, "changed by hand" in refusal.stderr) == (3, True)
    assert "192.0.2.55" in operator.json("plan")["targets"][0]["diff"]
    site.run(f"UPDATE ps_aors SET contact = '{moved}' WHERE id = 'carrier'")
    [remap] = operator.json("list")["remaps"]
    operator.run("revoke", str(remap["id"]), "--reason", "moved back")
    assert operator.json("apply", "--force")["targets"][0]["outcome"] == "verified"
    assert place_call(*call).status == 200
    assert (len(old.invites()), len(new.invites())) == (2, 1)
    assert site.run("SELECT contact FROM ps_aors ORDER BY id") == [
        ("sip:192.0.2.10:5060",), (was,), ("sip:192.0.2.9:5060",), (None,),
    ]  # fmt: skip
    operator.run("rollback", str(operator.json("history")["generations"][-1]["number"]))
    assert place_call(*call).status == 200
    assert (len(old.invites()), len(new.invites())) == (2, 2)


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_aors_that_asterisk_does_not_read_are_put_back(
    site: OdbcSite, operator: Operator, start_asterisk: StartAsterisk
) -> None:
    """Asterisk has its AOR from a file: the proof fails, and the contact of before is back; `check` names rights."""
    setup = _aors(site, operator, "", "sip:192.0.2.1:5060")
    files = {**setup.files, "sorcery.conf": "", "extconfig.conf": ""}
    aor = f"{CARRIER}[carrier]\ntype=aor\ncontact=sip:192.0.2.1:5060\n"
    server = start_asterisk(Setup(DIAL_CARRIER, pjsip=aor, modules=REALTIME, files=files))
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer")) + server.control())
    move_gateway(operator, "sip:192.0.2.1:5060", "sip:192.0.2.2:5060")

    refusal = operator.try_run("apply")

    assert (refusal.returncode, "does not take its AORs from ps_aors" in refusal.stderr) == (4, True)
    assert site.run("SELECT contact FROM ps_aors WHERE id = 'carrier'") == [("sip:192.0.2.1:5060",)]
    assert site.run("SELECT aor FROM redirectd_aor WHERE aor <> '__gen__'") == []
    site.run(f"REVOKE UPDATE (contact) ON ps_aors FROM rd_writer{site.at}")
    found = operator.json("check", code=1)["findings"]
    assert any("can't change contacts of ps_aors" in one["why"] for one in found)
