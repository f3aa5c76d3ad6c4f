"""`redirectd check` tries the ways that the service will need, and leaves them as they were."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing

from tests.cli.conftest import Cli


def test_check_tells_a_port_that_another_program_has(cli: Cli) -> None:
    """HEP's port is free, or taken by another program, on UDP as on TCP: a fault with the address and the mend."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.1", 0))
            if kind is socket.SOCK_STREAM:
                other.listen()
            listen = f"127.0.0.1:{other.getsockname()[1]}"
            cli.configure(f'[[source]]\nname = "h"\nkind = "hep"\nlisten = "{listen}"\n')
            found = cli("check", "--json", code=1).json["findings"]
            [taken] = [one for one in found if one["where"] == "source h, listen"]
            assert listen in taken["why"]
            assert "in use" in taken["why"]
            assert taken["what_to_do"]
        found = cli("check", "--json").json["findings"]
        [free] = [one for one in found if one["where"] == "source h"]
        assert free["level"] == "ok"


def test_check_tells_an_address_of_another_host(cli: Cli) -> None:
    """An address that this host does not have is a fault before the service is started."""
    cli.configure('[[source]]\nname = "h"\nkind = "hep"\nlisten = "192.0.2.1:9060"\n')
    found = cli("check", "--json", code=1).json["findings"]
    assert any(one["where"] == "source h, listen" and one["level"] == "fault" for one in found)


def test_check_tells_who_holds_the_database(filled: Cli) -> None:
    """A write lock that is held for long is a warning that names the mend; without one nothing is said or written."""
    file = filled.folder / "redirectd.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        found = filled("check", "--json").json["findings"]
        [locked] = [one for one in found if "locked for writing" in one["why"]]
        assert locked["level"] == "warning"
        assert "fuser" in locked["what_to_do"]
        version = holder.execute("PRAGMA data_version").fetchone()
        holder.execute("ROLLBACK")
        found = filled("check", "--json").json["findings"]
        assert not [one for one in found if "locked" in one["why"]]
        assert holder.execute("PRAGMA data_version").fetchone() == version
