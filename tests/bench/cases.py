"""The measurements by name, each giving lines of the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

from redirectd.store import migrate
from redirectd.store.database import Database
from tests.bench.bench import UNBOUNDED, Bench, Line
from tests.bench.dialects import dialects
from tests.bench.following import following, soak
from tests.bench.hot_incoming import fill
from tests.bench.live_changes import installed, measure
from tests.bench.process import REDIRECTD, in_turn, run, typical
from tests.bench.reading import compressed, jobs, memory, reading
from tests.bench.tables import installed as kept
from tests.bench.worst import hostile, storing, worst
from tests.peers.lab.database import postgresql_installed


def planning(bench: Bench) -> Iterator[Line]:
    """Plans and files of ever more remaps."""
    for count in (bench.remaps // 100, bench.remaps // 10, bench.remaps):
        measured = json.loads(run([sys.executable, "-m", "tests.bench.planning", str(count)]).out)
        aims = {"table_s": "5 s", "htable_render_s": "10 s", "dialplan_render_s": "10 s", "peak_mb": "1,024 MB"}
        for name, figure in measured.items():
            if name != "remaps":
                unit = name.rpartition("_")[2].replace("mb", "MB")
                aim = aims.get(name, "") if count == 1_000_000 else ""
                yield Line(
                    f"{count:,} remaps: {name.rpartition('_')[0].replace('_', ', ')}", f"{figure:g} {unit}", aim=aim
                )


def hot_incoming(bench: Bench) -> Iterator[Line]:
    """Approved remaps beside pending ones that share their incoming URI (R5)."""
    count = bench.remaps // 10
    measured = json.loads(run([sys.executable, "-m", "tests.bench.hot_incoming", str(count)]).out)
    own, shared = measured["own_s"], measured["shared_s"]
    ratio = f"{shared / max(own, 1e-3):.1f} x the time"
    yield Line(
        f"{count:,} remaps of one incoming URI, read", f"{shared:g} s", f"of one each, {own:g} s", ratio, "2.0 x"
    )


def deciding(bench: Bench) -> Iterator[Line]:
    """Import and decisions of many, in rows a second of the processor."""
    count = max(2, bench.remaps // 10)
    measured = json.loads(run([sys.executable, "-m", "tests.bench.deciding", str(count)]).out)
    words = {"import_approve": "import --approve", "import": "import", "approve": "approve", "reject": "reject"}
    for name, what in words.items():
        rows = count // 2 if name in {"approve", "reject"} else count
        yield Line(f"{rows:,} rows: {what}", f"{rows / max(measured[f'{name}_s'], 1e-3):,.0f}/s", aim="5,000/s")


def listing(bench: Bench) -> Iterator[Line]:
    """What is asked of many remaps: a page, the status, all of them. One remap by its id is the start-up."""
    config, file = bench.folder / "listing.toml", bench.folder / "listing.db"
    config.write_text(f'[database]\nurl = "sqlite:///{file}"\n')
    database = Database(f"sqlite:///{file}")
    migrate.ensure(database)
    fill(database, bench.remaps, shared=False)
    database.close()
    command = [*REDIRECTD, "--config", str(config)]
    config.write_text(config.read_text() + '[policy]\ntrusted_peers = ["192.0.2.0/24"]\n')
    shown = (
        ["list", "1"],
        ["pending"],
        ["pending", "--flag", "none"],
        ["list", "--limit", "50"],
        ["status"],
        ["list", "--json"],
    )
    start, *runs = in_turn([[*command, *words] for words in shown], max(1, bench.times))
    for words, found in zip(shown[1:], runs, strict=True):
        measured = typical(found)
        name = f"{bench.remaps:,} remaps: {' '.join(words)}"
        if "--json" in words:
            yield Line(f"{name}, memory", f"{measured.peak:.0f} MB", aim="150 MB")
        else:
            yield Line(
                f"{name}, start-up left out", f"{max(0.0, measured.cpu - typical(start).cpu):.2f} s", aim="0.3 s"
            )


def one_approval(bench: Bench) -> Iterator[Line]:
    """One more approval among many approved remaps of a Kamailio and of an Asterisk, as files that no server reads."""
    count = max(2, bench.remaps // 10)
    config, file = bench.folder / "one.toml", bench.folder / "one.db"
    targets = "".join(
        f'[[target]]\nname = "{kind}"\nkind = "{kind}"\npath = "{bench.folder / kind}.one"\n{more}'
        for kind, more in (("kamailio-htable", ""), ("asterisk-astdb", 'width = "user"\n'))
    )
    config.write_text(f'[database]\nurl = "sqlite:///{file}"\n[limits]\nmax_changes = {count}\n{targets}')
    database = Database(f"sqlite:///{file}")
    migrate.ensure(database)
    fill(database, count, shared=False, all_approved=True)
    database.close()
    command = [*REDIRECTD, "--config", str(config)]
    run([*command, "apply", "--force"])
    start = run([*command, "list", "1"]).cpu
    steps = [["apply"], ["approve", "10", "--force", "--reason", "bench"], ["plan"], ["apply"], ["apply", "--verify"]]
    whole = run([*command, *steps.pop()]).cpu - start
    for name, words in zip(("apply, nothing to do", "approve", "plan", "apply of it"), steps, strict=True):
        took = max(0.0, run([*command, *words]).cpu - start)
        aim = "0.3 s" if words == ["apply"] and name != "apply of it" else "0.5 s"
        yield Line(
            f"one approval among {count:,}: {name}, start-up left out",
            f"{took:.2f} s",
            f"apply --verify, {whole:.2f} s",
            f"{took / max(whole, 1e-3):.2f}",
            aim,
        )


def live(bench: Bench) -> Iterator[Line]:
    """A few changes in large tables that are in service on a Kamailio and an Asterisk, beside loading all of it."""
    changes = max(1, bench.remaps // 1000)
    if not installed():
        yield Line("changes in a server", "neither Kamailio nor Asterisk is installed")
    for entries in (bench.remaps // 10, bench.remaps):
        for server, applies in measure(entries, changes).items():
            few, whole = applies["changes live"], applies.get("whole table")
            yield Line(
                f"{server}: {changes:,} changes in {entries:,} entries, live",
                f"{few['told_s']:.2f} s",
                f"the whole table, {whole['told_s']:.1f} s" if whole else "",
                f"{few['told_s'] / max(whole['told_s'], 1e-3):.3f}" if whole else "",
            )


def fleet(bench: Bench) -> Iterator[Line]:
    """Nodes that share a PostgreSQL 50 ms away: what they wait for, and how soon they hear of an approval."""
    if not postgresql_installed():
        yield Line("a fleet", "PostgreSQL is not installed")
        return
    nodes, seconds = (50, 60) if bench.remaps >= 1_000_000 else (2, 3)
    took = json.loads(run([sys.executable, "-m", "tests.bench.fleet", str(nodes), str(seconds)]).out)
    name = f"{nodes} nodes, PostgreSQL 50 ms away"
    yield Line(f"{name}: a 301 is in the database, median", f"{took['lag_median_s']:g} s", aim="2 s")
    yield Line(f"{name}: a position is stored, median", f"{took['position_median_s']:g} s")
    yield Line(f"{name}: the last node hears of an approval", f"{took['heard_most_s']:g} s", aim="5 s")
    yield Line(f"{name}: connections of a node", f"{took['connections_a_node']:g}", aim="2")
    yield Line(f"{name}: 301s lost or counted twice", f"{took['lost']}", aim="0")


def tables(bench: Bench) -> Iterator[Line]:
    """A table in a database: written as an apply does beside bare SQL, and loaded by a Kamailio beside db_text."""
    if not kept():
        yield Line("tables in a database", "neither MariaDB nor PostgreSQL is installed, or no Kamailio")
    for count in (bench.remaps // 1000, bench.remaps // 10, bench.remaps):
        found = json.loads(run([sys.executable, "-m", "tests.bench.tables", str(count)]).out)
        in_file = found.pop("db_text", {}).get("reload_s")
        for name, took in found.items():
            ratio = f"{took['write_s'] / max(took['bare_s'], 1e-3):.1f} x the time"
            what = f"{name}: {count:,} rows"
            yield Line(
                f"{what} written", f"{took['write_s']:.2f} s", f"bare SQL, {took['bare_s']:.2f} s", ratio, "3.0 x"
            )
            yield Line(f"{what}, one change", f"{took['change_s']:.2f} s")
            yield Line(f"{what}, compared by the database", f"{took['seen_s']:.2f} s", f"read, {took['read_s']:.2f} s")
            beside = "" if in_file is None else f"db_text, {in_file:.2f} s"
            yield Line(f"{what}, htable.reload", f"{took['reload_s']:.2f} s", beside)


def starting(bench: Bench) -> Iterator[Line]:
    """What a person waits for before a command does anything."""
    config = bench.folder / "redirectd.toml"
    database = bench.folder / "start.db"
    config.write_text(f'[database]\nurl = "sqlite:///{database}"\n{UNBOUNDED}')
    run([*REDIRECTD, "--config", str(config), "db", "upgrade"])
    pairs = (
        ("redirectd --help", [*REDIRECTD, "--help"], "import click", "2.0"),
        ("redirectd pending", [*REDIRECTD, "--config", str(config), "pending"], "import sqlalchemy.orm", "1.4"),
    )
    for name, command, statement, aim in pairs:
        ours, theirs = in_turn([command, [sys.executable, "-c", statement]], max(3, bench.times))
        ratio = typical(ours).cpu / typical(theirs).cpu
        yield Line(name, f"{typical(ours).wall:.2f} s", f"python -c '{statement}'", f"{ratio:.2f}", aim)


CASES: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "reading": reading,
    "jobs": jobs,
    "memory": memory,
    "dialects": dialects,
    "compressed": compressed,
    "worst": worst,
    "hostile": hostile,
    "storing": storing,
    "following": following,
    "soak": soak,
    "planning": planning,
    "hot incoming": hot_incoming,
    "deciding": deciding,
    "listing": listing,
    "one approval": one_approval,
    "live": live,
    "fleet": fleet,
    "tables": tables,
    "starting": starting,
}
