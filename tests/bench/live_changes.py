"""A few changes in a large table that is in service, on a real Kamailio and a real Asterisk.

    python -m tests.bench.live_changes ENTRIES CHANGES [kamailio|asterisk]

Applies a table of ENTRIES to an empty server, then changes CHANGES of them: in the htable first by a reload, then live,
in AstDB live, since it knows no other way. A db_text table of a million entries takes Kamailio more than ten minutes
to load, so of more than MOST_LOADED the htable is filled beforehand, as by another's hand. Prints JSON: for each apply
the seconds of the clock that the server was kept at it (`told`: reload or puts, without the proof) and those that the
processor was at it in the server and here. What is approved is at hand; reading it from a database is the case
`planning`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from redirectd.apply.applier import Applier, ApplyRequest, Tools
from redirectd.apply.control import Channel, open_channel
from redirectd.apply.files import Files
from redirectd.plan.effective_table import effective
from redirectd.plan.route import EffectiveTable
from redirectd.plan.target import Command, Reply, Target
from redirectd.plan.target_spec import TargetSpec
from redirectd.store.database import Database
from redirectd.store.schema import metadata
from redirectd.targets.asterisk_astdb import AsteriskAstdb
from redirectd.targets.kamailio_htable import SENTINEL, KamailioHtable
from tests.apply.apply_host import WIDE, sip
from tests.bench.planning import approved
from tests.peers.lab import asterisk, kamailio
from tests.peers.lab.loopback import own_address

SECONDS = 600.0
"""How long a server may take to load a whole table."""

MOST_LOADED = 200_000
"""Entries that Kamailio is made to load from the file."""

_ROWS = 'modparam("db_text", "max_result_rows", 10000000)'
"""Without it Kamailio refuses tables of 100,000 rows and more."""

_TELLING = {"htable.reload", "htable.sets", "htable.delete", "DBPut", "DBDel"}


@dataclass(slots=True)
class Timed:
    """A channel that keeps count of the seconds and commands that bring entries to the server."""

    channel: Channel
    totals: dict[str, float] = field(default_factory=lambda: {"told": 0.0, "commands": 0})

    def ask(self, command: Command) -> Reply:
        """Ask on."""
        began = time.perf_counter()
        reply = self.channel.ask(command)
        if command.name in _TELLING:
            self._count(1, began)
        return reply

    def act(self, commands: Sequence[Command]) -> Sequence[object]:
        """Do them, where the channel can."""
        if not commands:
            return ()
        began = time.perf_counter()
        replies: Sequence[object] = self.channel.act(commands)  # type: ignore[attr-defined] # see `pipelines`
        self._count(len(commands), began)
        return replies

    def pipelines(self, command: Command) -> bool:
        """Whether the channel can."""
        ask = getattr(self.channel, "pipelines", None)
        return ask is not None and bool(ask(command))

    def _count(self, commands: int, began: float) -> None:
        self.totals["told"] += time.perf_counter() - began
        self.totals["commands"] += commands

    def describe(self) -> str:
        """The channel's own name."""
        return self.channel.describe()

    def probe(self) -> str:
        """The channel's own probe."""
        return self.channel.probe()

    def close(self) -> None:
        """Close it."""
        self.channel.close()


class Host:
    """One server's folder, and an applier that keeps its time."""

    def __init__(self, folder: Path, path: Path, control: str, group: int, password: str | None = None) -> None:
        self._folder = folder
        self._path = path
        self._control = control
        self._group = group
        self._password = password
        self._totals: dict[str, float] = {}
        self._database = Database(f"sqlite:///{folder}/redirectd.db")
        metadata.create_all(self._database.engine)

    def fill(self, target: KamailioHtable, table: EffectiveTable) -> None:
        """Put a whole table into file and server, and let it be known as what is in service."""
        rendered = target.render(table.routes, None)
        self._path.write_bytes(rendered.content)
        channel = open_channel(self._control, timeout=SECONDS)
        for name, value in {**rendered.entries, SENTINEL: rendered.token}.items():
            channel.ask(Command("htable.sets", ("redir", name, value)))
        channel.close()
        self.apply(target, table, "unchanged")

    def apply(self, target: Target, table: EffectiveTable, outcome: str = "verified") -> dict[str, float]:
        """Apply, and give what it took."""
        self._totals = {"told": 0.0, "commands": 0}
        tools = Tools(self._open, lambda: datetime.now(UTC), time.monotonic, time.sleep, Files())
        spec = TargetSpec("users", str(self._path), target, control=self._control, timeout=SECONDS)
        applier = Applier(self._database, "here", [spec], WIDE, self._folder / "lock", tools)
        own, theirs = time.process_time(), _processor(self._group)
        result = applier.apply(lambda: table, ApplyRequest(actor="bench", force=True))
        if result.error is not None:
            raise result.error
        assert result.outcomes["users"].outcome == outcome
        return {
            "told_s": round(self._totals["told"], 3),
            "commands": self._totals["commands"],
            "server_cpu_s": round(_processor(self._group) - theirs, 2),
            "own_cpu_s": round(time.process_time() - own, 2),
        }

    def _open(self, spec: str, *, timeout: float) -> Channel:
        return Timed(open_channel(spec, timeout=timeout, password=self._password), self._totals)


def _processor(group: int) -> float:
    """The seconds of the processor that a process group has taken up to now."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def tables(entries: int, changes: int) -> list[EffectiveTable]:
    """A table of `entries`, and two more in which about `changes` have another target."""
    every = max(1, entries // changes)
    found = [effective(list(approved(entries)))]
    for name in ("one", "two"):
        moved = [
            each
            if each.id % every != 5 % every
            else type(each)(each.id, each.kind, each.old, sip(f"sip:{name}@n.test"))
            for each in approved(entries)
        ]
        found.append(effective(moved))
    return found


def on_kamailio(folder: Path, entries: int, changes: int) -> dict[str, dict[str, float]]:
    """The whole table by a reload, some changes by a reload, some changes live."""
    megabytes = str(128 + entries // 250)  # a reload needs the old table, the new one, and db_text's own copy at once
    memory = ("-m", megabytes, "-M", megabytes)
    server = kamailio.Kamailio(folder, own_address(), kamailio.Script(), modules=_ROWS, memory=memory)
    server.config_file.write_text(server.config_file.read_text().replace("redir=>size=10;", "redir=>size=16;"))
    server.start()
    try:
        group = int((folder / "pid").read_text())
        host = Host(folder, server.htable_file, f"jsonrpc:unix:{server.rpc_socket}", os.getpgid(group))
        whole, once, again = tables(entries, changes)
        live = KamailioHtable(table="redir", live=10_000)
        if entries > MOST_LOADED:
            host.fill(live, whole)
            return {"changes live": host.apply(live, once)}
        return {
            "whole table": host.apply(KamailioHtable(table="redir"), whole),
            "changes by reload": host.apply(KamailioHtable(table="redir"), once),
            "changes live": host.apply(live, again),
        }
    finally:
        server.stop()


def on_asterisk(folder: Path, entries: int, changes: int) -> dict[str, dict[str, float]]:
    """The whole table put into AstDB, then some changes."""
    server = asterisk.Asterisk(folder, own_address(), asterisk.Setup(asterisk.dial_plan(("127.0.0.1", 5060))))
    server.start()
    try:
        control = f"ami://{asterisk.AMI_USER}@{server.address}:{server.ami_port}"
        group = os.getpgid(int((folder / "asterisk.pid").read_text()))
        host = Host(folder, folder / "astdb.txt", control, group, asterisk.AMI_SECRET)
        whole, once, _ = tables(entries, changes)
        return {"whole table": host.apply(AsteriskAstdb(), whole), "changes live": host.apply(AsteriskAstdb(), once)}
    finally:
        server.stop()


SERVERS = {
    "kamailio": (kamailio.installed, on_kamailio),
    "asterisk": (asterisk.installed, on_asterisk),
}


def installed(only: Sequence[str] = ()) -> list[str]:
    """Which of the servers there are, or which of `only`."""
    return [name for name, (is_installed, _) in SERVERS.items() if is_installed() and (not only or name in only)]


def measure(entries: int, changes: int, only: Sequence[str] = ()) -> dict[str, dict[str, dict[str, float]]]:
    """What each installed server, or those of `only`, takes."""
    found = {}
    for name in installed(only):
        with tempfile.TemporaryDirectory(prefix="live-") as folder:  # short: unix sockets have their names in it
            found[name] = SERVERS[name][1](Path(folder), entries, changes)
    return found


def main() -> None:
    """By the command line."""
    entries, changes = (int(text) for text in sys.argv[1:3])
    sys.stdout.write(json.dumps(measure(entries, changes, sys.argv[3:])) + "\n")


if __name__ == "__main__":
    main()
