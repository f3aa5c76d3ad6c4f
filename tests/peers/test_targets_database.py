"""Targets kept in a database: a real Kamailio over MariaDB and PostgreSQL, called through, asked and disturbed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.engine import make_url

from redirectd.targets.kamailio_alias_db import KamailioAliasSql
from tests.peers.conftest import Answer, StartKamailio
from tests.peers.lab.kamailio import LOOK_UP_USER, Kamailio, Script, to_dispatcher_set
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, moved_to, place_call
from tests.peers.operator import Operator

BOTH = [
    pytest.param("mariadb", marks=pytest.mark.peer("kamailio", "mariadb")),
    pytest.param("postgresql", marks=pytest.mark.peer("kamailio", "postgresql")),
]

HTABLE = """
[[target]]
name = "users"
kind = "kamailio-htable"
database = "{url}"
reload = "jsonrpc:unix:{socket}"
"""


@dataclass
class Site:
    """A database with the users that an administrator made: redirectd, which writes, and kamailio, which reads."""

    admin: str

    @property
    def is_mysql(self) -> bool:
        """Whether it is MariaDB."""
        return self.admin.startswith("mysql")

    def url_of(self, user: str) -> str:
        """The URL as a user of it."""
        return make_url(self.admin).set(username=user).render_as_string(hide_password=False)

    @property
    def modules(self) -> str:
        """What makes the laboratory's Kamailio read htables from here, over the template's own."""
        url = make_url(self.admin)
        module, scheme = ("db_mysql", "mysql") if self.is_mysql else ("db_postgres", "postgres")
        place = f"{scheme}://kamailio:any@{url.host}:{url.port}/{url.database}"
        return f'loadmodule "{module}.so"\nmodparam("htable", "db_url", "{place}")\n'

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the administrator; the rows of the last."""
        engine: Engine = create_engine(self.admin, poolclass=NullPool)
        with closing(engine.connect()) as connection:
            for statement in statements:
                result = connection.execute(text(statement.replace(":", "\\:")))
                rows = [tuple(row) for row in result] if result.returns_rows else []
            connection.commit()
        return rows

    def rows(self, table: str = "redirectd_htable") -> dict[str, str]:
        """Key and value of each row but the sentinel's."""
        found = self.run(f"SELECT key_name, key_value FROM {table} WHERE key_name <> '__gen__'")
        assert len(dict(found)) == len(found)
        return dict(found)


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    """An empty database on the server that the test names by indirect parameter."""
    made = Site(request.getfixturevalue(f"{request.param}_url"))
    for user in ("rd_writer", "kamailio"):
        if made.is_mysql:
            made.run(f"CREATE OR REPLACE USER {user}@'%' IDENTIFIED BY '{'any' if user == 'kamailio' else ''}'")
        elif not made.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{user}'"):
            made.run(f"CREATE ROLE {user} LOGIN PASSWORD 'any'")
    return made


def _create(operator: Operator, site: Site, name: str = "users") -> None:
    operator.run("db-target", "create", name, "--admin", site.admin, "--from", "%")


def _approve(operator: Operator, *users: str, to: str = "new.test") -> None:
    rows = [f"sip:{user}@old.test,sip:{user}@{to},approved" for user in users]
    file = operator.folder / "moves.csv"
    file.write_text("\n".join(["old_uri,new_uri,state", *rows, ""]))
    operator.run("import", "--approve", str(file))


def _htable(operator: Operator, site: Site, start_kamailio: StartKamailio, *more: str, **options: Any) -> Kamailio:
    """A Kamailio that reads the table which `db-target create` made, and the target for it."""
    operator.configure(HTABLE.format(url=site.url_of("rd_writer"), socket="/nowhere"))
    _create(operator, site)
    proxy = start_kamailio(options.pop("script", Script()), modules=site.modules, **options)
    operator.configure(HTABLE.format(url=site.url_of("rd_writer"), socket=proxy.rpc_socket), *more)
    return proxy


def _held(proxy: Kamailio) -> dict[str, str]:
    """What Kamailio's htable holds, without the sentinel."""
    slots = proxy.rpc("htable.dump", "redir")
    found = {item["name"]: item["value"] for slot in slots for item in slot["slot"]}
    found.pop("__gen__", None)
    return found


def _entry(user: str, to: str = "new.test") -> tuple[str, str]:
    return f"sip:{user}@old.test:;", f"sip:{user}@{to}"


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
    proxy = _htable(operator, site, start_kamailio, script=script, dispatcher=gateways)
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
    proxy = _htable(operator, site, start_kamailio)
    _approve(operator, "alice")
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    def faults() -> str:
        found = operator.json("check", code=operator.try_run("check").returncode)["findings"]
        about = [one for one in found if "users" in one["where"] and "reach" not in one["where"]]  # new.test: no DNS
        return "\n".join(f"{one['where']}: {one['why']}" for one in about if one["level"] != "ok")

    assert faults() == "", faults()
    user = "rd_writer@'%'" if site.is_mysql else "rd_writer"
    site.run(f"REVOKE DELETE ON redirectd_htable FROM {user}")
    assert "can't delete its rows" in faults()
    site.run("ALTER TABLE redirectd_htable DROP COLUMN expires")
    assert "it has no column expires" in faults()
    assert _held(proxy) == dict([_entry("alice")])


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_rows_of_a_person_are_shown_and_kept(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """A row added, one changed and one removed by hand: plan shows them, and without --force nothing is written."""
    proxy = _htable(operator, site, start_kamailio)
    _approve(operator, "alice", "bob", "carol")
    operator.run("apply")
    site.run(
        "INSERT INTO redirectd_htable (key_name, key_value) VALUES ('vip@x', 'sip:vip@y')",
        "UPDATE redirectd_htable SET key_value = 'sip:mine@y' WHERE key_name = 'sip:bob@old.test:;'",
        "DELETE FROM redirectd_htable WHERE key_name = 'sip:carol@old.test:;'",
    )
    _approve(operator, "dave")
    there = site.rows()

    plan = operator.json("plan")
    refusal = operator.try_run("apply")

    [target] = plan["targets"]
    assert "-0:vip@x:0:0:sip\\:vip@y:0" in target["diff"]
    assert "-0:sip\\:bob@old.test\\:;:0:0:sip\\:mine@y:0" in target["diff"]
    assert (refusal.returncode, "changed by hand" in refusal.stderr) == (3, True)
    assert site.rows() == there
    assert operator.json("apply", "--force")["targets"][0]["outcome"] == "verified"
    assert site.rows() == _held(proxy) == dict(map(_entry, ("alice", "bob", "carol", "dave")))


@pytest.mark.parametrize("site", BOTH, indirect=True)
def test_changes_go_live_and_roll_back(site: Site, operator: Operator, start_kamailio: StartKamailio) -> None:
    """With `live` a change needs no reload; a rollback brings rows and server to the generation before."""
    proxy = _htable(operator, site, start_kamailio, "live = 5\n")
    _approve(operator, "alice", "bob", "carol", "dave")
    operator.run("apply")
    reloads = proxy.log_file.read_text().count("htable_db_load_table")
    _approve(operator, "erin")

    assert operator.json("apply")["targets"][0]["outcome"] == "verified"

    assert site.rows() == _held(proxy) == dict(map(_entry, ("alice", "bob", "carol", "dave", "erin")))
    generations = operator.json("history")["generations"]
    operator.run("rollback", str(generations[-1]["number"]))
    assert site.rows() == _held(proxy) == dict(map(_entry, ("alice", "bob", "carol", "dave")))
    assert reloads == proxy.log_file.read_text().count("htable_db_load_table")


ALIASES = """
[[target]]
name = "aliases"
kind = "kamailio-alias_db"
width = "user@host"
database = "{url}"
"""


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
    _create(operator, site, "aliases")
    alias_db = site.modules.replace('"htable"', '"alias_db"').splitlines()
    modules = f'{alias_db[0]}\nloadmodule "alias_db.so"\n{alias_db[1]}\nmodparam("alias_db", "use_domain", 1)\n'
    script = Script(
        before_relay=KamailioAliasSql().lines().call + 'if ($rd == "old.test") { sl_send_reply("404", "No"); exit; }\n'
    )
    proxy = start_kamailio(script, modules=modules)
    call = (loopback_address, (proxy.address, proxy.port))
    assert place_call(*call, "sip:Alice@old.test").status == 404
    file = operator.folder / "moves.csv"
    file.write_text(f"old_uri,new_uri,state\nsip:Alice@old.test,sip:new@{new.address}:{new.port},approved\n")
    operator.run("import", "--approve", str(file))

    assert operator.json("apply")["targets"][0]["outcome"] == "installed"

    assert place_call(*call, "sip:Alice@old.test").status == 200
    assert place_call(*call, "sip:alice@old.test").status == 404
    assert new.invites() == [f"sip:new@{new.address}:{new.port}"]
    assert operator.json("apply")["targets"][0]["outcome"] == "unchanged"


GATEWAYS = """
[[target]]
name = "gateways"
kind = "kamailio-dispatcher"
database = "{url}"
reload = "jsonrpc:unix:{socket}"
"""


def _kamdb(site: Site) -> None:
    """The tables that kamdbctl 5.6 makes for the dispatcher."""
    number = "INT UNSIGNED AUTO_INCREMENT PRIMARY KEY" if site.is_mysql else "SERIAL PRIMARY KEY"
    site.run(
        "CREATE TABLE version (table_name VARCHAR(32) NOT NULL, table_version INT NOT NULL DEFAULT 0)",
        "INSERT INTO version VALUES ('dispatcher', 4)",
        f"CREATE TABLE dispatcher (id {number}, setid INT DEFAULT 0 NOT NULL, "
        "destination VARCHAR(192) DEFAULT '' NOT NULL, "
        "flags INT DEFAULT 0 NOT NULL, priority INT DEFAULT 0 NOT NULL, attrs VARCHAR(128) DEFAULT '' NOT NULL, "
        "description VARCHAR(64) DEFAULT '' NOT NULL)",
    )


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
    _kamdb(site)
    site.run(f"INSERT INTO dispatcher (setid, destination, attrs) VALUES (1, 'sip:{old.address}:{old.port}', 'duid=a')")
    own = site.run("SELECT * FROM dispatcher")
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer"), socket="/nowhere"))
    operator.run("db-target", "create", "gateways", "--admin", site.admin, "--from", "%")
    modules = site.modules.replace('"htable"', '"dispatcher"')
    modules += (
        'modparam("dispatcher", "table_name", "redirectd_dispatcher")\nmodparam("dispatcher", "reload_delta", 0)\n'
    )
    proxy = start_kamailio(to_dispatcher_set(1), modules=modules)
    operator.configure(GATEWAYS.format(url=site.url_of("rd_writer"), socket=proxy.rpc_socket))
    call = (loopback_address, (proxy.address, proxy.port), "sip:x@lab.test")
    assert place_call(*call).status == 200
    file = operator.folder / "moves.csv"
    moved = f"sip:{old.address}:{old.port},sip:{new.address}:{new.port},gateway,approved"
    file.write_text(f"old_uri,new_uri,kind,state\n{moved}\n")
    operator.run("import", "--approve", "--force", "--reason", "a test", str(file))

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
    held = {row[1]: row[2] for row in site.run("SELECT id, destination, priority FROM redirectd_dispatcher")}
    assert held == {f"sip:{old.address}:{old.port}": 3, f"sip:{added.address}:{added.port}": 9}
    assert site.run("SELECT old FROM redirectd_gateway") == [("__gen__",)]
    operator.run("rollback", str(operator.json("history")["generations"][-1]["number"]))
    shown = [row[0] for row in site.run("SELECT destination FROM redirectd_dispatcher ORDER BY id")]
    assert shown == [f"sip:{new.address}:{new.port}", f"sip:{added.address}:{added.port}"]
    # A move that a person wrote beside redirectd's own is not overwritten.
    site.run("INSERT INTO redirectd_gateway (old, new) VALUES ('sip:a', 'sip:b')")
    refusal = operator.try_run("apply", "--resume")
    assert (refusal.returncode, "changed by hand" in refusal.stderr) == (3, True)
