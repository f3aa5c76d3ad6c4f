"""What an operator is told whose Kamailio does, or does not, route by the file that was installed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.peers.conftest import Answer, StartKamailio, StartKeyed
from tests.peers.lab.kamailio import LOOK_UP_USER, to_dispatcher_set
from tests.peers.lab.sip_peers import EARLY_MEDIA_AND_ANSWERS, RINGS_AND_ANSWERS, moved_to, place_call
from tests.peers.operator import Operator

pytestmark = pytest.mark.peer("kamailio")

TARGET = """
[[target]]
name = "users"
kind = "kamailio-htable"
path = "{path}"
table = "{table}"
reload = "jsonrpc:unix:{socket}"
"""


def _serving(operator: Operator) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = operator.json("check")["findings"]
    return [one for one in findings if one["where"] == "target users, in service"]


@pytest.mark.parametrize("looks_up", [False, True])
def test_what_a_remap_does_in_the_field(
    looks_up: bool, operator: Operator, start_keyed: StartKeyed, answering_side: Answer, loopback_address: str
) -> None:
    """Without the lookup a verified remap is told to be gone past, with why; with it, what it saves a caller."""
    answers = list(RINGS_AND_ANSWERS)
    new = answering_side(answers)
    old = answering_side(moved_to(f"<sip:new03@{new.address}:{new.port}>"))
    proxy, source = start_keyed(old, before_relay=LOOK_UP_USER if looks_up else "")
    operator.configure(source, TARGET.format(path=proxy.htable_file, table="redir", socket=proxy.rpc_socket))

    def call() -> int:
        return place_call(loopback_address, (proxy.address, proxy.port), "sip:c03@lab.test").status

    assert [call(), call()] == [301, 301]
    operator.run("ingest", proxy.tells(2))
    [remap] = operator.pending()
    operator.run("approve", str(remap["id"]), "--reason", "seen")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert [call(), call()] == ([200, 200] if looks_up else [301, 301])
    operator.run("ingest", proxy.tells(2 if looks_up else 4))
    if looks_up:  # R45: no entry of the log is newer than the installation
        assert "installed, and no traffic read from a log since: 1" in operator.run("status")
        answers[:] = EARLY_MEDIA_AND_ANSWERS
        assert call() == 200
        operator.run("ingest", proxy.tells(2))

    status, told = operator.json("status"), operator.run("status")
    if looks_up:
        assert (status["ineffective"]["remaps"], status["saved"]["remaps"]) == (0, 1)
        assert status["saved"]["calls_a_day"] > 0
        assert 0 <= status["saved"]["milliseconds_a_call"] < 10_000  # from the request's time in the record
        assert "in service and working: 1, saving" in told
        assert "redirected calls a day before, none after" in operator.run("show", str(remap["id"]))
    else:
        assert status["ineffective"] == {"remaps": 1, "calls": 2, "worst": [remap["id"]]}
        assert status["saved"]["remaps"] == 0
        assert "the lookup is missing from the server's own configuration" in told.replace("\n", " ")
        [flagged] = operator.json("list")["remaps"]
        assert "ineffective" in flagged["flags"]


def test_check_tells_a_file_that_the_server_does_not_load(
    operator: Operator, start_kamailio: StartKamailio, tmp_path: Path
) -> None:
    """A file that no htable of Kamailio is loaded from, and one whose rows it does not have, are told; ours is not."""
    proxy = start_kamailio(to_dispatcher_set(1))
    operator.configure(TARGET.format(path=proxy.htable_file, table="redir", socket=proxy.rpc_socket))
    assert _serving(operator) == []  # nothing in it yet
    operator.import_moves({"sip:alice@old.test": "sip:alice@new.test"})
    operator.run("apply")
    [finding] = _serving(operator)
    assert finding["level"] == "ok"

    proxy.rpc("htable.delete", "redir", "sip:alice@old.test:;")
    [finding] = _serving(operator)
    assert finding["level"] == "warning"
    assert "holds 1 entries instead of 2" in finding["why"]

    elsewhere = Path(shutil.copy(proxy.htable_file, tmp_path / "nobody_loads_this"))
    operator.configure(TARGET.format(path=elsewhere, table="moved", socket=proxy.rpc_socket))
    [finding] = _serving(operator)
    assert finding["level"] == "warning"
    assert "No such htable" in finding["why"]
    assert "configuration loads this file" in finding["what_to_do"]
