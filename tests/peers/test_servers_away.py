"""A server that is away when its file is installed: shown by status, tried again by the service, never forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from redirectd.service.from_config import Site
from redirectd.service.schedule import JobSpec
from redirectd.store.database import Database
from redirectd.store.target_states import put_target_states, target_states
from tests.peers.conftest import StartKamailio
from tests.peers.lab.kamailio import Kamailio, Script
from tests.peers.operator import Operator

pytestmark = pytest.mark.peer("kamailio")

CONFIGURATION = """
[schedule]
apply = ""

[[target]]
name = "users"
kind = "kamailio-htable"
path = "{path}"
reload = "binrpc:unix:{socket}"
timeout = "2s"
"""


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An operator with an empty folder, whose node is `here`."""
    return Operator(tmp_path)


def _approve(operator: Operator, *users: str) -> None:
    operator.import_moves({f"sip:{user}@old.test": f"sip:{user}@new.test" for user in users})


def _wait_is_over(operator: Operator) -> None:
    """Let the time of the next try come at once."""
    database = Database(f"sqlite:///{operator.folder}/redirectd.db")
    with database.begin() as connection:
        [node] = {one["node"] for one in operator.json("status")["waiting"]}
        states = target_states(connection, node).values()
        put_target_states(connection, node, [replace(state, next_try=datetime.now(UTC)) for state in states])
    database.close()


def _retry(operator: Operator) -> Site:
    """The service's job, as its schedule runs it; apply itself is left to people here."""
    site = Site.load(operator.folder / "redirectd.toml")
    jobs: dict[str, JobSpec] = {job.name: job for job in site.jobs(list)}
    assert "apply" not in jobs
    jobs["retry"].run()
    return site


def _value(proxy: Kamailio, user: str) -> Any:
    return proxy.rpc("htable.get", "redir", f"sip:{user}@old.test:;")["item"]["value"]


def test_a_server_that_was_down_gets_its_proof_from_the_service(
    operator: Operator, start_kamailio: StartKamailio
) -> None:
    """Down: exit code 1, in status with its error and next try; up again: the service finishes it without an apply."""
    proxy = start_kamailio(Script())
    operator.configure(CONFIGURATION.format(path=proxy.htable_file, socket=proxy.ctl_socket))
    _approve(operator, "alice")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"
    assert operator.json("status")["waiting"] == []
    proxy.stop()
    _approve(operator, "bob")

    assert operator.json("apply", code=1)["targets"][0]["outcome"] == "installed"

    [waiting] = operator.json("status")["waiting"]
    assert (waiting["target"], waiting["phase"], waiting["attempts"]) == ("users", "reload", 1)
    assert "cannot be reached" in waiting["error"]
    assert waiting["next_try"] > waiting["last_try"]
    assert "installed, not reloaded: users" in operator.run("status")
    _wait_is_over(operator)
    _retry(operator).close()
    assert operator.json("status")["waiting"][0]["attempts"] == 2
    proxy.start()
    _retry(operator).close()
    assert operator.json("status")["waiting"] != []  # not due
    _wait_is_over(operator)
    _retry(operator).close()
    assert operator.json("status")["waiting"] == []
    assert (_value(proxy, "alice"), _value(proxy, "bob")) == ("sip:alice@new.test", "sip:bob@new.test")
    assert operator.json("history")["generations"][0]["outcome"] == "verified"
