"""Several servers read one table: each is reloaded and asked, and one that is away keeps nothing from the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from redirectd.apply.applier import Applier, ApplyRequest, Tools
from redirectd.apply.control import AnswerError
from redirectd.apply.files import Files
from redirectd.store.generations import GenerationOutcome, history
from tests.apply.apply_host import NODE, WIDE, ApplyHost, Server, expected, moves, outcomes, states

OLD, NEW, NEWER = moves(3), moves(5, "newer.test"), moves(6, "newest.test")
ONE, TWO = "unix:one", "unix:two"


class Nodes(ApplyHost):
    """One table, read by two servers."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, limits=WIDE)
        memory = home / "unix-two"
        memory.mkdir(exist_ok=True)
        self.servers[TWO] = Server(memory, self.paths)
        self.specs = [replace(self.specs[0], nodes=(ONE, TWO))]
        tools = Tools(self._open, self.clock, self.clock.monotonic, self.clock.sleep, Files())
        self.applier = Applier(self.database, NODE, self.specs, WIDE, home / "apply.lock", tools)

    def served(self) -> list[dict[str, str]]:
        """Give what each server has in service."""
        return [server.served("users") for server in self.servers.values()]

    def retry(self) -> dict[str, str]:
        """Do what the service does every 30 s, an hour later."""
        self.clock.now += timedelta(hours=1)
        return dict(self.applier.finish(ApplyRequest(actor="redirectd", cause="schedule")))


def test_each_node_is_reloaded_and_asked(tmp_path: Path) -> None:
    """Both servers hold what was written; one that says Ok and keeps its old table has the apply taken back on both."""
    host = Nodes(tmp_path)
    assert outcomes(host.apply(OLD)) == {"users": "verified"}
    assert host.served() == [expected(OLD)] * 2
    host.servers[TWO].deaf = True

    result = host.apply(NEW)

    assert outcomes(result) == {"users": "rolled-back"}
    assert "unix:two: " in str(result.error)
    assert "unix:one: " not in str(result.error)
    assert host.in_file() == expected(OLD)
    assert host.served() == [expected(OLD)] * 2


def test_a_node_that_is_away_is_caught_up_by_itself(tmp_path: Path) -> None:
    """It is "installed, not reloaded"; the others route and are not reloaded again, and it follows when it is back."""
    host = Nodes(tmp_path)
    host.apply(OLD)
    host.servers[TWO].down = True

    result = host.apply(NEW)

    assert (outcomes(result), result.waiting) == ({"users": "installed"}, ("users",))
    assert host.served() == [expected(NEW), expected(OLD)]
    [state] = states(host)
    assert state.nodes == (TWO,)
    reloads = host.server.reloads
    assert host.retry() != {}
    assert outcomes(host.apply(NEW)) == {"users": "installed"}
    host.servers[TWO].down = False
    assert host.retry() == {}
    assert host.served() == [expected(NEW)] * 2
    assert host.server.reloads == reloads
    with host.database.read() as connection:
        assert history(connection, NODE, 1)[0].outcome is GenerationOutcome.VERIFIED
    assert outcomes(host.apply(NEW)) == {"users": "unchanged"}


def test_what_others_have_proven_is_not_taken_back_by_one(tmp_path: Path) -> None:
    """A node that can't load the table when it is back waits on; a later apply that fails returns to the proven one."""
    host = Nodes(tmp_path)
    host.apply(OLD)
    host.servers[TWO].down = True
    host.apply(NEW)
    host.servers[TWO].down = False
    host.servers[TWO].faults = [AnswerError("two", 500, "no htable db connection")]
    assert "no htable db connection" in host.retry()["users"]
    assert host.in_file() == host.served()[0] == expected(NEW)
    host.servers[TWO].down = True
    host.server.deaf = True
    assert outcomes(host.apply(NEWER)) == {"users": "rolled-back"}
    assert host.in_file() == expected(NEW)
    host.servers[TWO].down = host.server.deaf = False
    assert host.retry() == {}
    assert host.served() == [expected(NEW)] * 2
    assert host.strays() == []


def test_a_node_that_lost_its_table_is_repaired_while_another_is_away(tmp_path: Path) -> None:
    """The next apply of an unchanged table asks each node that is there, and reloads the one that lost entries."""
    host = Nodes(tmp_path)
    host.apply(OLD)
    host.servers[TWO].down = True
    host.apply(NEW)
    host.server.forget("users")

    result = host.apply(NEW)

    assert (outcomes(result), list(result.lost)) == ({"users": "installed"}, ["users"])
    assert host.served()[0] == expected(NEW)
    host.servers[TWO].down = False
    assert host.retry() == {}
    assert host.served() == [expected(NEW)] * 2


def test_a_reload_that_says_it_failed_is_not_believed(tmp_path: Path) -> None:
    """What every question proves is in service, whatever the reload said."""
    host = Nodes(tmp_path)
    host.apply(OLD)
    server = host.servers[TWO]
    reload = server._reload

    def lies(table: str) -> object:
        reload(table)
        raise AnswerError("two", 500, "Reload Failed")

    server._reload = lies  # type: ignore[method-assign]

    assert outcomes(host.apply(NEW)) == {"users": "verified"}
    assert host.served() == [expected(NEW)] * 2
