"""Databases with Kamailio's tables, and the users that an administrator made, for tests of targets kept in one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.engine import make_url

from tests.peers.conftest import StartKamailio
from tests.peers.lab.kamailio import Kamailio, Script, to_dispatcher_set
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
    def reader(self) -> str:
        """The user kamailio, as a GRANT has it."""
        return "kamailio@'%'" if self.is_mysql else "kamailio"

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

    def make_users(self, reader: str) -> None:
        """Make the user that redirectd is, and that of its server."""
        for user in ("rd_writer", reader):
            if self.is_mysql:
                self.run(f"CREATE OR REPLACE USER {user}@'%' IDENTIFIED BY '{'any' if user == reader else ''}'")
            elif not self.run(f"SELECT 1 FROM pg_roles WHERE rolname = '{user}'"):
                self.run(f"CREATE ROLE {user} LOGIN PASSWORD 'any'")

    def rows(self, table: str = "redirectd_htable") -> dict[str, str]:
        """Key and value of each row but the sentinel's."""
        found = self.run(f"SELECT key_name, key_value FROM {table} WHERE key_name <> '__gen__'")
        assert len(dict(found)) == len(found)
        return dict(found)


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    """An empty database on the server that the test names by indirect parameter."""
    made = Site(request.getfixturevalue(f"{request.param}_url"))
    made.make_users("kamailio")
    return made


def create_table(operator: Operator, site: Site, name: str = "users") -> None:
    """Has `db-target create` make a target's table, as the administrator."""
    operator.run("db-target", "create", name, "--admin", site.admin, "--from", "%")


def approve(operator: Operator, *users: str, to: str = "new.test") -> None:
    """Approves the move of users of old.test to another host."""
    operator.import_moves({f"sip:{user}@old.test": f"sip:{user}@{to}" for user in users})


def held(proxy: Kamailio) -> dict[str, str]:
    """What Kamailio's htable holds, without the sentinel."""
    slots = proxy.rpc("htable.dump", "redir")
    found = {item["name"]: item["value"] for slot in slots for item in slot["slot"]}
    found.pop("__gen__", None)
    return found


def entry(user: str, to: str = "new.test") -> tuple[str, str]:
    """Key and value of such a move."""
    return f"sip:{user}@old.test:;", f"sip:{user}@{to}"


def start_htable(operator: Operator, site: Site, start_kamailio: StartKamailio, *more: str, **options: Any) -> Kamailio:
    """A Kamailio that reads the table which `db-target create` made, and the target for it."""
    operator.configure(HTABLE.format(url=site.url_of("rd_writer"), socket="/nowhere"))
    create_table(operator, site)
    proxy = start_kamailio(options.pop("script", Script()), modules=site.modules, **options)
    operator.configure(HTABLE.format(url=site.url_of("rd_writer"), socket=proxy.rpc_socket), *more)
    return proxy


GATEWAYS = """
[[target]]
name = "gateways"
kind = "kamailio-dispatcher"
database = "{url}"
reload = "jsonrpc:unix:{socket}"
"""


def make_kamdb(site: Site) -> None:
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


def start_gateways(
    site: Site, operator: Operator, start_kamailio: StartKamailio, *destinations: str, mode: str = "view"
) -> Kamailio:
    """A Kamailio that reads the operator's rows, all in set 1, or the view over them, and the target for it."""
    target = f'{GATEWAYS}mode = "{mode}"\n'
    make_kamdb(site)
    rows = ", ".join(f"(1, '{destination}')" for destination in destinations)
    site.run(f"INSERT INTO dispatcher (setid, destination) VALUES {rows}")
    operator.configure(target.format(url=site.url_of("rd_writer"), socket="/nowhere"))
    create_table(operator, site, "gateways")
    modules = site.modules.replace('"htable"', '"dispatcher"')
    if mode == "view":
        modules += 'modparam("dispatcher", "table_name", "redirectd_dispatcher")\n'
    else:
        site.run(*(f"GRANT SELECT ON {name} TO {site.reader}" for name in ("dispatcher", "version")))
    modules += 'modparam("dispatcher", "reload_delta", 0)\n'
    proxy = start_kamailio(to_dispatcher_set(1), modules=modules)
    operator.configure(target.format(url=site.url_of("rd_writer"), socket=proxy.rpc_socket))
    return proxy


def move_gateway(operator: Operator, old: str, new: str) -> None:
    """Approves the move of a gateway."""
    operator.import_moves({old: new}, "--force", "--reason", "a test", kind="gateway")


def states_of(proxy: Kamailio) -> dict[str, str]:
    """Destinations and FLAGS of set 1."""
    listed: Any = proxy.rpc("dispatcher.list")["RECORDS"][0]["SET"]["TARGETS"]
    return {each["DEST"]["URI"]: each["DEST"]["FLAGS"] for each in listed}
