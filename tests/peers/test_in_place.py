"""Moved gateways in the operator's own rows: one column, compared and set, and his again as soon as he changes it."""

from __future__ import annotations

import pytest

from tests.peers.conftest import Answer, StartKamailio
from tests.peers.database_site import BOTH, Site, move_gateway, site, start_gateways, states_of
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, place_call
from tests.peers.operator import Operator

__all__ = ["site"]


def _rows(site: Site) -> list[tuple[object, ...]]:
    return site.run("SELECT destination, priority, description FROM dispatcher ORDER BY id")


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_moved_gateway_in_the_operators_row(
    site: Site,
    operator: Operator,
    start_kamailio: StartKamailio,
    answering_side: Answer,
    loopback_address: str,
) -> None:
    """Calls go to the new gateway, his later edits stay, a revoke brings the old text back, and states are kept."""
    old, new = answering_side(RINGS_AND_ANSWERS), answering_side(RINGS_AND_ANSWERS)
    first, moved = f"sip:{old.address}:{old.port}", f"sip:{new.address}:{new.port}"
    other = "sip:127.0.0.1:5992"
    proxy = start_gateways(site, operator, start_kamailio, first, other, mode="in-place")
    proxy.rpc("dispatcher.set_state", "dx", 1, other)
    call = (loopback_address, (proxy.address, proxy.port), "sip:x@lab.test")
    assert place_call(*call).status == 200
    move_gateway(operator, first, moved)

    [target] = operator.json("apply")["targets"]

    assert (target["outcome"], target["error"]) == ("verified", None)
    assert place_call(*call).status == 200
    assert (len(old.invites()), len(new.invites())) == (1, 1)
    assert states_of(proxy) == {moved: "AX", other: "DX"}
    site.run(f"UPDATE dispatcher SET priority = 3, description = 'mine' WHERE destination = '{moved}'")
    assert operator.json("apply")["targets"][0]["outcome"] == "unchanged"
    [remap] = operator.json("list")["remaps"]
    operator.run("revoke", str(remap["id"]))
    assert operator.json("apply", "--force")["targets"][0]["outcome"] == "verified"
    assert _rows(site) == [(first, 3, "mine"), (other, 0, "")]
    assert states_of(proxy) == {first: "AX", other: "DX"}
    operator.run("rollback")
    assert _rows(site) == [(moved, 3, "mine"), (other, 0, "")]


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_row_that_its_operator_changed_is_his(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """A moved row that he points elsewhere is neither written nor put back."""
    old, new, own = "sip:127.0.0.1:5991", "sip:127.0.0.1:5993", "sip:127.0.0.1:5999"
    proxy = start_gateways(site, operator, start_kamailio, old, "sip:127.0.0.1:5992", mode="in-place")
    move_gateway(operator, old, new)
    operator.run("apply")
    site.run(f"UPDATE dispatcher SET destination = '{own}' WHERE destination = '{new}'")

    [target] = operator.json("apply", "--force")["targets"]

    assert (target["hand_edit"], target["error"]) == (None, None)
    assert _rows(site)[0][0] == own
    assert site.run("SELECT old FROM redirectd_gateway WHERE old LIKE '1 %'") == []
    operator.try_run("rollback")
    assert _rows(site)[0][0] == own
    assert own in states_of(proxy)


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_the_one_right_is_checked(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """`db-target` gives the right to write one column; without it `check` says so and an apply changes nothing."""
    old = "sip:127.0.0.1:5991"
    start_gateways(site, operator, start_kamailio, old, mode="in-place")
    user = "rd_writer@'%'" if site.is_mysql else "rd_writer"
    printed = operator.run("db-target", "sql", "gateways", "--from", "%")
    assert "GRANT SELECT, UPDATE (destination) ON dispatcher" in printed
    assert "VIEW" not in printed
    site.run(f"REVOKE UPDATE (destination) ON dispatcher FROM {user}")
    assert "redirectd can't write the destinations of dispatcher" in operator.try_run("check").stdout
    move_gateway(operator, old, "sip:127.0.0.1:5993")
    [target] = operator.json("apply", code=1)["targets"]
    assert target["outcome"] in {"refused", "rolled-back"}
    assert [row[0] for row in _rows(site)] == [old]
    assert site.run("SELECT old FROM redirectd_gateway WHERE old <> '__gen__'") == []


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_a_row_put_back_by_hand_moves_again(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """A moved row to which its operator gave the old text again is written anew, also to another place by then."""
    old, new, newer = "sip:127.0.0.1:5991", "sip:127.0.0.1:5993", "sip:127.0.0.1:5994"
    proxy = start_gateways(site, operator, start_kamailio, old, "sip:127.0.0.1:5992", mode="in-place")
    move_gateway(operator, old, new)
    operator.run("apply")
    put_back = f"UPDATE dispatcher SET destination = '{old}' WHERE destination = '{{}}'"
    site.run(put_back.format(new))
    [target] = operator.json("apply", "--force")["targets"]
    assert (target["outcome"], target["error"], target["hand_edit"]) == ("verified", None, None)
    assert _rows(site)[0][0] == new

    site.run(put_back.format(new))
    [remap] = operator.json("list")["remaps"]
    operator.run("revoke", str(remap["id"]))
    [target] = operator.json("apply", "--force")["targets"]
    assert (target["outcome"], target["error"]) == ("verified", None)
    assert site.run("SELECT old FROM redirectd_gateway WHERE old <> '__gen__'") == []

    move_gateway(operator, old, newer)
    [target] = operator.json("apply", "--force")["targets"]
    assert (target["outcome"], target["error"]) == ("verified", None)
    assert _rows(site)[0][0] == newer
    assert newer in states_of(proxy)
