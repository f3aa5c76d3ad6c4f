"""Two nodes that share a PostgreSQL: what is decided on one reaches the routing of both, whatever their schedules."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from redirectd.config.load import load
from redirectd.errors import InstallError, RefusedError
from redirectd.review import decide
from redirectd.review.decision import Decision
from redirectd.store.database import Database
from tests.apply.table_hosts import make_table, query
from tests.service.meanwhile import apply_on_schedule, once_between_plan_and_write
from tests.service.service import Service, until

pytestmark = pytest.mark.peer("postgresql")

CONFIG = """
node = "{node}"
[database]
url = "{url}"
[daemon]
socket = "status.sock"
[schedule]
apply = "0 0 29 2 *"
{schedule}
[limits]
max_change_percent = 100
[policy]
trusted_peers = ["127.0.0.0/8"]
allowed_target_networks = ["127.0.0.0/8"]
[[target]]
name = "moved"
kind = "kamailio-htable"
path = "moved.txt"
reload = "none"
"""


def node(folder: Path, name: str, url: str, schedule: str = "") -> Service:
    """A node with a target of its own and a schedule that comes once in four years."""
    (folder / name).mkdir()
    (folder / name / "redirectd.toml").write_text(CONFIG.format(node=name, url=url, schedule=schedule))
    return Service(folder / name)


def redirectd(service: Service, *words: str) -> dict[str, Any]:
    """A command on a node, and what it answers as JSON."""
    command = [sys.executable, "-m", "redirectd", "--config", str(service.config), *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def learn(service: Service, log: Path) -> list[dict[str, Any]]:
    """Makes the tables and reads a log; gives the remaps that nothing holds."""
    redirectd(service, "db", "upgrade")
    redirectd(service, "ingest", str(log))
    pending = redirectd(service, "pending")["remaps"]
    return [one for one in pending if set(one["flags"]) <= {"unkeyed"} and one["kind"] == "user"]


def listening(document: dict[str, Any]) -> bool:
    return bool(document["daemon"]["listening"])


def generations(service: Service) -> dict[str, int | None]:
    """What `status` on a node knows of all nodes."""
    return {one["node"]: one["generation"] for one in redirectd(service, "status")["nodes"]}


def test_r35_one_decision_reaches_every_node(tmp_path: Path, postgresql_url: str, corpus: Path) -> None:
    """R35: approved on one node, it is in both nodes' files; revoked on the other, in neither; status tells of both."""
    one, two = (node(tmp_path, name, postgresql_url) for name in ("one", "two"))
    remap, kept = learn(one, corpus / "kamailio/snippet-all-cases.log")[:2]  # one stays: a table is never emptied
    files = [service.folder / "moved.txt" for service in (one, two)]
    user = remap["old_uri"].partition(":")[2].partition("@")[0]
    with one, two:
        for service in (one, two):
            service.until_status(listening, "it listens")
        redirectd(one, "approve", str(remap["id"]), str(kept["id"]), "--reason", "test")
        until(lambda: all(file.exists() and user in file.read_text() for file in files), "both have it")
        first = until(lambda: _whole(generations(two)), "both generations are told")
        redirectd(two, "revoke", str(remap["id"]))
        until(lambda: not any(user in file.read_text() for file in files), "neither has it")
        later = until(lambda: _newer(generations(one), first), "both next generations are told")
        assert set(later) == {"one", "two"}
        assert [service.stop() for service in (one, two)] == [0, 0]


COUNT_WRITES = """
CREATE TABLE written (key_name VARCHAR(512));
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql
  AS 'BEGIN INSERT INTO written VALUES (NEW.key_name); RETURN NEW; END';
CREATE TRIGGER note AFTER INSERT ON redirectd_htable FOR EACH ROW EXECUTE FUNCTION note()
"""


def sharing_nodes(tmp_path: Path, url: str) -> tuple[Service, Service]:
    """Two nodes whose target is one table of the database."""
    nodes = node(tmp_path, "one", url), node(tmp_path, "two", url)
    for service in nodes:
        service.config.write_text(service.config.read_text().replace('path = "moved.txt"', f'database = "{url}"'))
    make_table(url)
    query(url, *COUNT_WRITES.strip().split(";\n"))
    return nodes


def test_two_services_write_one_table_once(tmp_path: Path, postgresql_url: str, corpus: Path) -> None:
    """Both services apply a decision to the table that they share: each row is written once, and both are through."""
    one, two = sharing_nodes(tmp_path, postgresql_url)
    remaps = learn(one, corpus / "kamailio/snippet-all-cases.log")[:2]
    with one, two:
        for service in (one, two):
            service.until_status(listening, "it listens")
        redirectd(one, "approve", *(str(remap["id"]) for remap in remaps), "--reason", "test")
        known = "SELECT node FROM target_state"
        until(lambda: len(query(postgresql_url, known)) == 2, "both have applied")
        assert [service.stop() for service in (one, two)] == [0, 0]
    held = query(postgresql_url, "SELECT key_name FROM redirectd_htable ORDER BY key_name")
    assert len(held) == len(remaps) + 1  # the row that names the content
    assert query(postgresql_url, "SELECT key_name FROM written ORDER BY key_name") == held
    plans = [redirectd(service, "plan")["targets"][0] for service in (one, two)]
    assert [(plan["changed"], plan["hand_edit"]) for plan in plans] == [(False, None)] * 2


def test_rows_that_another_node_wrote_meanwhile_are_enough(
    tmp_path: Path, postgresql_url: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the other node writes the shared table after it was read, a second plan finds the rows there at once."""
    one, two = sharing_nodes(tmp_path, postgresql_url)
    with one.config.open("a") as config:
        config.write('[[target]]\nname = "more"\nkind = "kamailio-htable"\npath = "more.txt"\nreload = "none"\n')
    remaps = learn(one, corpus / "kamailio/snippet-all-cases.log")[:2]
    redirectd(one, "approve", *(str(remap["id"]) for remap in remaps), "--reason", "test")
    once_between_plan_and_write(monkeypatch, lambda: apply_on_schedule(two.config))
    with capture_logs() as logged:
        apply_on_schedule(one.config)
    assert [record["targets"] for record in logged if record["event"] == "applied"] == [
        {"moved": "installed"},  # of the other node
        {"more": "installed"},
    ]
    assert len(query(postgresql_url, "SELECT key_name FROM written")) == len(remaps) + 1
    assert query(postgresql_url, "SELECT node FROM target_state WHERE target = 'moved' ORDER BY node") == [
        ("one",),
        ("two",),
    ]


def test_what_failed_beside_such_rows_is_what_the_job_ends_with(
    tmp_path: Path, postgresql_url: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a target fails in the first plan and a table was overtaken, the failure is said, and the table is done."""
    one, two = sharing_nodes(tmp_path, postgresql_url)
    with one.config.open("a") as config:
        config.write('[[target]]\nname = "lost"\nkind = "kamailio-htable"\npath = "no/such/folder"\nreload = "none"\n')
    [first, *_] = learn(one, corpus / "kamailio/snippet-all-cases.log")
    redirectd(one, "approve", str(first["id"]), "--reason", "test")
    once_between_plan_and_write(monkeypatch, lambda: apply_on_schedule(two.config))
    with pytest.raises(InstallError, match="no/such"):
        apply_on_schedule(one.config)
    assert query(postgresql_url, "SELECT node FROM target_state ORDER BY node") == [("one",), ("two",)]


def test_row_that_a_person_wrote_meanwhile_is_a_hand_edit(
    tmp_path: Path, postgresql_url: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a person writes into the table after it was read, the second plan refuses, and the person's row stays."""
    one, _ = sharing_nodes(tmp_path, postgresql_url)
    first, second = learn(one, corpus / "kamailio/snippet-all-cases.log")[:2]
    redirectd(one, "approve", str(first["id"]), "--reason", "test")
    apply_on_schedule(one.config)
    redirectd(one, "approve", str(second["id"]), "--reason", "test")
    by_hand = "INSERT INTO redirectd_htable (key_name, key_type, value_type, key_value) VALUES ('mine', 0, 0, 'x')"
    once_between_plan_and_write(monkeypatch, lambda: query(postgresql_url, by_hand))
    with pytest.raises(RefusedError, match="changed"):
        apply_on_schedule(one.config)
    assert ("mine",) in query(postgresql_url, "SELECT key_name FROM redirectd_htable")


def _whole(found: dict[str, int | None]) -> dict[str, int | None]:
    return found if len(found) == 2 and all(found.values()) else {}


def _newer(found: dict[str, int | None], before: dict[str, int | None]) -> dict[str, int | None]:
    return found if all((found[name] or 0) > (before[name] or 0) for name in before) else {}


def test_what_was_decided_while_a_node_was_deaf_is_applied(tmp_path: Path, postgresql_url: str, corpus: Path) -> None:
    """The lost connection is told and made again, and with it comes what was missed."""
    one = node(tmp_path, "one", postgresql_url)
    remap = learn(one, corpus / "kamailio/snippet-all-cases.log")[0]
    database = Database(postgresql_url)
    with one:
        one.until_status(listening, "it listens")
        with database.begin() as kept:
            kept.execute(text("SELECT 1"))
        with closed_to_new_connections(postgresql_url):
            with database.begin() as kept:
                kept.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
            until(lambda: one.records("not_listening"), "it is told")
            with database.begin() as kept:
                decide.approve(
                    kept,
                    remap["id"],
                    Decision(actor="eva", at=datetime.now(UTC), reason="test"),
                    load(one.config).rules(),
                )
        until((one.folder / "moved.txt").exists, "it is applied")
        one.until_status(listening, "it listens again")
        assert len(one.records("not_listening")) == 1
        one.stop()
    database.close()


@contextmanager
def closed_to_new_connections(url: str) -> Iterator[None]:
    """The database keeps the connections it has and takes no others."""
    where = make_url(url)
    engine = create_engine(where.set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        for allowed in (False, True):
            with engine.connect() as connection:
                connection.execute(text(f"ALTER DATABASE {where.database} ALLOW_CONNECTIONS {allowed}"))
            if not allowed:
                yield
    finally:
        engine.dispose()


def test_listening_can_be_switched_off(tmp_path: Path, postgresql_url: str) -> None:
    """With on_approval = false, or an empty apply, a node keeps to its schedule; a reload changes it."""
    one = node(tmp_path, "one", postgresql_url, "on_approval = false")
    redirectd(one, "db", "upgrade")
    with one:
        quiet = one.until_status(lambda document: document["database"]["ok"], "it runs")
        assert quiet["daemon"]["listening"] is None
        one.config.write_text(one.config.read_text().replace("on_approval = false", ""))
        one.signal(signal.SIGHUP)
        one.until_status(listening, "it listens")
        one.config.write_text(one.config.read_text().replace("0 0 29 2 *", ""))
        one.signal(signal.SIGHUP)
        one.until_status(lambda document: document["daemon"]["listening"] is None, "it no longer listens")
        one.stop()
