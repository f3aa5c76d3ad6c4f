"""Databases with a table that Asterisk reads through unixODBC, for tests of the targets kept in one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from sqlalchemy.engine import make_url

from redirectd.targets.asterisk_odbc import AsteriskOdbc
from tests.peers.database_site import Site, create_table
from tests.peers.lab.asterisk import Asterisk, Setup
from tests.peers.lab.database import DatabaseServer
from tests.peers.operator import Operator

BOTH = [
    pytest.param("mariadb", marks=pytest.mark.peer("asterisk", "odbc", "mariadb")),
    pytest.param("postgresql", marks=pytest.mark.peer("asterisk", "odbc", "postgresql")),
]
LOOK_UP_ODBC = f"\n{AsteriskOdbc().lines().beside}"
USERS = """
[[target]]
name = "users"
kind = "asterisk-odbc"
width = "user"
database = "{url}"
"""
MODULES = "preload => res_odbc_transaction.so\npreload => res_odbc.so\nload => func_odbc.so\n"


@dataclass
class OdbcSite(Site):
    """The same for Asterisk; `server` is what holds the database."""

    server: DatabaseServer = field(kw_only=True)

    @property
    def at(self) -> str:
        """What MariaDB has behind a user's name."""
        return "@'%'" if self.is_mysql else ""

    @property
    def target(self) -> str:
        """The target without a way to Asterisk."""
        return USERS.format(url=self.url_of("rd_writer"))

    def asked_by(self, server: Asterisk, way: str = "asterisk -rx") -> str:
        """The target of this Asterisk."""
        return self.target + server.control(way)

    def files(self, statement: str = AsteriskOdbc().statement()) -> dict[str, str]:
        """What an operator has pasted."""
        url = make_url(self.admin)
        driver, host = ("MariaDB Unicode", "SERVER") if self.is_mysql else ("PostgreSQL Unicode", "Servername")
        timeouts = "CONN_TIMEOUT=2\nREAD_TIMEOUT=2\nWRITE_TIMEOUT=2\n" if self.is_mysql else ""
        place = f"{host}={url.host}\nPort={url.port}\nDatabase={url.database}\n"
        return {
            "odbc.ini": f"[redirectd]\nDriver={driver}\n{place}{timeouts}",
            "res_odbc.conf": "[redirectd]\nenabled => yes\ndsn => redirectd\nusername => asterisk\npassword => any\n"
            "pre-connect => yes\nmax_connections => 5\n",
            "func_odbc.conf": f"[REDIRECTD]\ndsn=redirectd\nreadsql={statement}\n",
        }

    def setup(self, extensions: str, context: str = "from-caller") -> Setup:
        """An Asterisk whose lookup asks the table."""
        return Setup(extensions, context=context, modules=MODULES, files=self.files())

    def held(self) -> dict[str, str]:
        """Name and new URI of each row but the sentinel's."""
        found = self.run("SELECT dialled, new_uri FROM redirectd_map WHERE dialled_hash <> '__gen__'")
        assert len(dict(found)) == len(found)
        return dict(found)


@pytest.fixture
def site(request: pytest.FixtureRequest, operator: Operator) -> OdbcSite:
    """A database with the table that `db-target create` makes, on the server that the test names."""
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    made = OdbcSite(server.new_database(), server=server)
    made.make_users("asterisk")
    operator.configure(made.target)
    create_table(operator, made)
    return made
