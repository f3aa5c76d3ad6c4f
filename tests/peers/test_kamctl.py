"""kamctl, as Debian has it, edits `dispatcher` while redirectd applies: nothing of either is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy.engine import make_url

from tests.peers.conftest import StartKamailio
from tests.peers.database_site import BOTH, Site, move_gateway, site, start_gateways, states_of
from tests.peers.operator import Operator

__all__ = ["site"]


class Kamctl:
    """kamctl with a configuration of its own, as the user that kamdbctl makes."""

    def __init__(self, site: Site, home: Path) -> None:
        if shutil.which("kamctl") is None:
            pytest.skip("no kamctl: it comes with Debian's kamailio")
        url = make_url(site.admin)
        values = {"DBENGINE": "MYSQL" if site.is_mysql else "PGSQL", "DBHOST": url.host, "DBPORT": url.port}
        values |= {"DBNAME": url.database, "DBRWUSER": "kamailio", "DBRWPW": "any"}
        (home / ".kamctlrc").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        site.run(f"GRANT ALL ON dispatcher TO {site.reader}")
        if not site.is_mysql:
            site.run("GRANT ALL ON dispatcher_id_seq TO kamailio")
        self._environment = os.environ | {"HOME": str(home)}

    def run(self, *words: str) -> None:
        """Run one command of it."""
        done = subprocess.run(
            ["kamctl", *words], capture_output=True, text=True, timeout=60, check=False, env=self._environment
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"


def _added(number: int) -> str:
    return f"sip:127.0.0.1:{6100 + number}"


def _edit(kamctl: Kamctl, failures: list[BaseException]) -> None:
    """Add eight gateways, change the priority of each second one and remove each third."""
    try:
        for number in range(8):
            kamctl.run("dispatcher", "add", "1", _added(number), "0", "1", "", "by hand")
            where = f"where destination = '{_added(number)}'"
            if number % 2:
                kamctl.run("db", "exec", f"update dispatcher set priority = 7 {where}")
            if number % 3 == 0:
                kamctl.run("db", "exec", f"delete from dispatcher {where}")
    except BaseException as error:  # noqa: BLE001 - the test fails with it
        failures.append(error)


@pytest.mark.parametrize("mode", ["view", "in-place"])
@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_kamctl_edits_meanwhile(
    site: Site, operator: Operator, start_kamailio: StartKamailio, tmp_path: Path, mode: str
) -> None:
    """Rows added, changed and removed during applies and rollbacks are all there, and so are the moves."""
    olds = [f"sip:127.0.0.1:{5900 + number}" for number in range(3)]
    news = [f"sip:127.0.0.1:{5950 + number}" for number in range(3)]
    proxy = start_gateways(site, operator, start_kamailio, *olds, mode=mode)
    kamctl, failures = Kamctl(site, tmp_path), list[BaseException]()
    person = Thread(target=_edit, args=(kamctl, failures))
    person.start()
    for old, new in zip(olds, news, strict=True):
        move_gateway(operator, old, new)
        operator.try_run("apply")
        operator.try_run("rollback")
        operator.try_run("apply", "--resume")
    person.join()
    assert failures == []
    kamctl.run("dispatcher", "rm", "1")

    [target] = operator.json("apply", "--resume")["targets"]

    assert (target["hand_edit"], target["error"]) == (None, None)
    mine = {_added(number): 7 if number % 2 else 1 for number in range(8) if number % 3}
    own = dict(site.run("SELECT destination, priority FROM dispatcher"))
    assert own == dict.fromkeys(olds[1:] if mode == "view" else news[1:], 0) | mine
    assert len(site.run("SELECT id FROM dispatcher")) == len(own)
    moved = dict(site.run("SELECT old, new FROM redirectd_gateway WHERE old <> '__gen__'"))
    assert {name.rpartition(" ")[2]: new for name, new in moved.items()} == dict(zip(olds[1:], news[1:], strict=True))
    assert states_of(proxy).keys() == {*news[1:], *mine}
