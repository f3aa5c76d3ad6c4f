"""A small host for apply's tests: real files, a real database, and a server that reads its files when told to.

The server keeps what it serves in a file of its own, so that it outlives a killed apply as a real one does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redirectd.apply.applier import Applier, ApplyRequest, Tools
from redirectd.apply.control import AnswerError, RetryLater
from redirectd.apply.files import Files
from redirectd.errors import PeerError
from redirectd.plan.effective_table import effective
from redirectd.plan.limits import Limits
from redirectd.plan.route import Approved, EffectiveTable
from redirectd.plan.target import Command, Reply, Target
from redirectd.plan.target_spec import TargetSpec
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.store.database import Database
from redirectd.store.schema import metadata
from redirectd.targets.kamailio_htable import KamailioHtable

NODE = "here"


def sip(text: str) -> SipUri:
    """Read a SIP URI."""
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


def approved(moves: Mapping[str, str]) -> list[Approved]:
    """Number approved user remaps from 1."""
    return [Approved(number, "user", sip(old), sip(new)) for number, (old, new) in enumerate(moves.items(), 1)]


def moves(count: int, to: str = "new.test") -> dict[str, str]:
    """Give `count` moves to one host."""
    return {f"sip:u{number}@old.test": f"sip:u{number}@{to}" for number in range(count)}


class Clock:
    """A clock that moves only by sleeping."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Server:
    """Kamailio's htable as jsonrpcs shows it: it serves what it read last, answers `htable.get` and `htable.stats`.

    As db_text does, it reads a file again only if its mtime, in whole seconds, is later than the one it knows.
    """

    home: Path
    files: Mapping[str, Path]
    reloads: int = 0
    faults: list[Exception] = field(default_factory=list)
    deaf: bool = False
    down: bool = False
    skips: str = ""  # rows with this in them are left out without a word
    chokes: str = ""  # a file with this in it is refused
    dbmode: int = 0
    hook: Callable[[str], None] = lambda _: None

    @property
    def _memory(self) -> Path:
        return self.home / "served.json"

    def _remembered(self) -> dict[str, Any]:
        return json.loads(self._memory.read_text()) if self._memory.exists() else {}

    def served(self, table: str) -> dict[str, str]:
        """Give what is in service, the sentinel left out."""
        rows = dict(self._remembered().get(table, {"rows": {}})["rows"])
        rows.pop("__gen__", None)
        return rows

    def forget(self, table: str, key: str | None = None) -> None:
        """Lose a table, or have one key of it give something else."""
        memory = self._remembered()
        if key is None:
            memory[table]["rows"] = {}
        else:
            memory[table]["rows"][key] = "sip:wrong@wrong.test"
        self._memory.write_text(json.dumps(memory))

    def ask(self, command: Command) -> Reply:
        """Answer, as a server does whose client may be gone by then."""
        self.hook(f"ask {command.name}")
        reply = self._answer(command)
        self.hook(f"answered {command.name}")
        return reply

    def _answer(self, command: Command) -> Reply:
        if self.down:
            raise PeerError("server", "cannot be reached (Connection refused)", "start it")
        if command.name == "htable.reload":
            return self._reload(str(command.args[0]))
        if command.name == "htable.listTables":
            return [{"name": name, "dbmode": self.dbmode} for name in self.files]
        if command.name == "htable.stats":
            return [{"name": name, "all": len(kept["rows"])} for name, kept in self._remembered().items()]
        assert command.name == "htable.get"
        table, key = map(str, command.args)
        rows = self._remembered().get(table, {"rows": {}})["rows"]
        if key not in rows:
            raise AnswerError("server", 500, f"Key name doesn't exist in htable {table}.")
        return {"item": {"name": key, "value": rows[key]}}

    def _reload(self, table: str) -> Reply:
        self.reloads += 1
        if self.faults:
            raise self.faults.pop(0)
        path = self.files[table]
        if self.deaf:
            return "Ok. Reload successful"
        try:
            mtime = int(path.stat().st_mtime)
        except FileNotFoundError:
            raise AnswerError("server", 500, "no such table") from None
        memory = self._remembered()
        if table in memory and mtime <= memory[table]["mtime"]:
            return "Ok. Reload successful"
        rows = {}
        if self.chokes and self.chokes in path.read_text():
            raise AnswerError("server", 500, "Reload failed")
        for line in path.read_bytes().decode().splitlines()[1:]:
            if self.skips and self.skips in line:
                continue
            fields = line.replace("\\:", "\0").split(":")
            rows[fields[1].replace("\0", ":")] = fields[4].replace("\0", ":")
        memory[table] = {"mtime": mtime, "rows": rows}
        scratch = self._memory.with_suffix(".new")
        scratch.write_text(json.dumps(memory))
        scratch.replace(self._memory)
        return "Ok. Reload successful"

    def describe(self) -> str:
        return "stand-in"

    def probe(self) -> str:
        if self.down:
            raise PeerError("server", "cannot be reached (Connection refused)", "start it")
        return "stand-in"

    def close(self) -> None:
        """Nothing is open."""


WIDE = Limits(max_change_percent=1000, max_changes=100_000, first_creates=100_000)
"""Limits that only an empty result is over, so that nothing but a false hand edit needs --force."""

RELOADING = RetryLater("server", 500, "Ongoing reload")


class ApplyHost:
    """Files, servers by control, database and applier in one folder; build it again to be a new process."""

    def __init__(
        self,
        home: Path,
        layout: Mapping[str, str] | None = None,
        *,
        files: Files | None = None,
        database: type[Database] = Database,
        hook: Callable[[str], None] = lambda _: None,
        limits: Limits | None = None,
        server: str | None = None,
    ) -> None:
        """`layout` is control by target name; control "none" is a target without server; `server` joins all."""
        self.home = home
        self.clock = Clock()
        layout = layout or {"users": "unix:one"}
        self.etc = home / "etc"
        self.etc.mkdir(exist_ok=True)
        self.paths = {name: self.etc / f"{name}.table" for name in layout}
        self.servers: dict[str, Server] = {}
        for control in dict.fromkeys(layout.values()):
            memory = home / control.replace(":", "-")
            memory.mkdir(exist_ok=True)
            self.servers[control] = Server(memory, self.paths, hook=hook)
        self.database = database(f"sqlite:///{home}/redirectd.db")
        if not (home / "redirectd.db").exists():
            metadata.create_all(self.database.engine)
        self.specs = [
            TargetSpec(name, str(self.paths[name]), self._target(name), control=control, server=server)
            for name, control in layout.items()
        ]
        tools = Tools(self._open, self.clock, self.clock.monotonic, self.clock.sleep, files or Files())
        self.applier = Applier(self.database, NODE, self.specs, limits or Limits(), home / "apply.lock", tools)

    def _target(self, name: str) -> Target:
        return KamailioHtable(table=name)

    def _open(self, spec: str, *, timeout: float) -> Server:
        assert timeout > 0
        return self.servers[spec]

    @property
    def server(self) -> Server:
        """The only or first server."""
        return next(iter(self.servers.values()))

    def apply(self, wanted: Mapping[str, str], **request: Any) -> Any:
        """Apply what is approved."""
        return self.applier.apply(lambda: effective(approved(wanted)), ApplyRequest(**({"actor": "tester"} | request)))

    def in_file(self, name: str = "users") -> dict[str, str]:
        """Give what a target's file says."""
        return dict(KamailioHtable(table=name).parse(self.paths[name].read_bytes()))

    def strays(self) -> list[str]:
        """Give what stands beside the targets' files."""
        return sorted({path.name for path in self.etc.iterdir()} - {path.name for path in self.paths.values()})


def table(wanted: Mapping[str, str]) -> EffectiveTable:
    """Give the effective table of moves."""
    return effective(approved(wanted))


def expected(wanted: Mapping[str, str]) -> dict[str, str]:
    """Give the entries that a table of moves means to the htable: route key to new URI."""
    return {f"{old}:;": new for old, new in wanted.items()}


def outcomes(result: Any) -> dict[str, str]:
    """Give the outcomes by target."""
    return {name: each.outcome for name, each in result.outcomes.items()}


def states(host: ApplyHost) -> Iterable[Any]:
    """Give the recorded states."""
    from redirectd.store.target_states import target_states

    with host.database.read() as connection:
        return target_states(connection, NODE).values()
