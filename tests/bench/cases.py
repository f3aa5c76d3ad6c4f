"""The measurements, each giving lines of the table: what, how much, beside what, the ratio, and the aim."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import logs
from tests.bench.live_changes import measure
from tests.bench.process import REDIRECTD, Run, in_turn, run, typical

MB = 1 << 20
_FAILREGEX = r"SIP/2\.0 301 .*<HOST>|REDIRECTD v=1 ev=301 .* src=udp/<HOST>/"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    what: str
    figure: str
    beside: str = ""
    ratio: str = ""
    aim: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the data goes, the size of the large log in MB, how often each program runs, the largest plan."""

    folder: Path
    size: int
    times: int
    remaps: int

    def log(self, name: str, maker: logs.Maker, size: float) -> Path:
        """A log of `size` MB, made once."""
        path = self.folder / f"{name}-{size:g}.log"
        return path if path.exists() else logs.write(path, int(size * MB), maker)

    def ingest(self, path: Path, mode: str = "count") -> list[str]:
        """The command that reads `path` into an empty database."""
        config = self.folder / "redirectd.toml"
        database = self.folder / "redirectd.db"
        config.write_text(f'[database]\nurl = "sqlite:///{database}"\n')
        fresh = f"import glob, os; [os.remove(one) for one in glob.glob({str(database) + '*'!r})]; {REDIRECTD[2]}"
        arguments = ["--config", str(config), "ingest", str(path), "--json", "--session-progress", mode]
        return [REDIRECTD[0], REDIRECTD[1], fresh, *arguments]


def reading(bench: Bench) -> Iterator[Line]:
    """Ingest beside grep, ripgrep and fail2ban-regex on the same file."""
    for name, maker in logs.MAKERS.items():
        path = bench.log(name.partition(",")[0].lower(), maker, bench.size)
        needle = "SIP/2.0 301" if maker is logs.asterisk else "REDIRECTD v=1 ev=301"
        commands = {"grep -c": ["grep", "-c", needle, str(path)]}
        if shutil.which("rg"):
            commands["ripgrep -c"] = ["rg", "-c", "-F", needle, str(path)]
        commands["ingest, 183s counted"] = bench.ingest(path)
        commands["ingest, a record per 183"] = bench.ingest(path, "each")
        runs = dict(zip(commands, map(typical, in_turn(list(commands.values()), bench.times)), strict=True))
        grep = _rate(path, runs["grep -c"].wall)
        for program, took in runs.items():
            rate = _rate(path, took.wall)
            aim = {"ingest, 183s counted": "1.0", "ingest, a record per 183": "0.25"}.get(program, "")
            yield Line(f"{name}: {program}", f"{rate:.0f} MB/s", "grep -c", f"{rate / grep:.2f}", aim)
            if program.startswith("ingest"):
                inner = _rate(path, _told(took)["seconds"])
                yield Line(
                    f"{name}: {program}, start-up left out", f"{inner:.0f} MB/s", "grep -c", f"{inner / grep:.2f}"
                )
        if shutil.which("fail2ban-regex"):
            small = bench.log(name.partition(",")[0].lower(), maker, max(1, bench.size // 50))
            peer = _rate(small, run(["fail2ban-regex", str(small), _FAILREGEX]).wall)
            ratio = _rate(path, runs["ingest, 183s counted"].wall) / peer
            yield Line(f"{name}: ingest, 183s counted", "", "fail2ban-regex", f"{ratio:.0f}", "30")


def memory(bench: Bench) -> Iterator[Line]:
    """The greatest memory of an ingest, by the log's size."""
    sizes = (bench.size / 100, bench.size / 10, bench.size)
    peaks = [run(bench.ingest(bench.log("asterisk", logs.asterisk, size))).peak for size in sizes]
    for size, peak in zip(sizes, peaks, strict=True):
        yield Line(f"memory of an ingest of {size:g} MB", f"{peak:.0f} MB", "", "", "96 MB")
    yield Line("growth of that memory", f"{peaks[-1] - peaks[0]:.1f} MB", "", "", "5 MB")


def worst(bench: Bench) -> Iterator[Line]:
    """Logs of the worst kind, at one size and at twice that: what doubles is linear."""
    kinds: dict[str, logs.Maker] = {
        "nothing but 301s": logs.only_moves,
        "301s without their requests": logs.unpaired,
        "a storm of one loop": logs.storm,
        "one line that never ends": logs.one_line,
        "text made to send a scanner back": logs.hostile,
    }
    size = max(1, bench.size // 50)
    for name, maker in kinds.items():
        once, twice = (run(bench.ingest(bench.log(maker.__name__, maker, each))) for each in (size, 2 * size))
        told = _told(twice)
        rate = 2 * size / told["seconds"] if told["seconds"] else 0
        doubled = told["seconds"] / max(_told(once)["seconds"], 1e-3)
        yield Line(f"{name}, {2 * size} MB", f"{rate:.0f} MB/s", f"{size} MB", f"{doubled:.1f} x the time", "about 2")
        if maker is logs.only_moves and told["sightings"]:
            yield _storing(bench, int(told["sightings"]), told["seconds"])


def _storing(bench: Bench, sightings: int, seconds: float) -> Line:
    bare = bench.folder / "bare.db"
    bare.unlink(missing_ok=True)
    took = float(run([sys.executable, "-m", "tests.bench.bare_inserts", str(sightings), str(bare)]).out)
    rate = sightings / seconds
    return Line("301s into SQLite", f"{rate:.0f}/s", "bare executemany", f"{rate * took / sightings:.2f}", "0.5")


def planning(bench: Bench) -> Iterator[Line]:
    """Plans and files of ever more remaps."""
    for count in (bench.remaps // 100, bench.remaps // 10, bench.remaps):
        told = json.loads(run([sys.executable, "-m", "tests.bench.planning", str(count)]).out)
        aims = {"table_s": "5 s", "htable_render_s": "10 s", "dialplan_render_s": "10 s", "peak_mb": "1,024 MB"}
        for name, figure in told.items():
            if name != "remaps":
                unit = name.rpartition("_")[2].replace("mb", "MB")
                aim = aims.get(name, "") if count == 1_000_000 else ""
                yield Line(
                    f"{count:,} remaps: {name.rpartition('_')[0].replace('_', ', ')}", f"{figure:g} {unit}", aim=aim
                )


def live(bench: Bench) -> Iterator[Line]:
    """A hundredth of a table changed on a Kamailio and an Asterisk that are in service, beside loading all of it."""
    entries = bench.remaps // 10
    found = measure(entries, entries // 100)
    if not found:
        yield Line("changes in a server", "neither Kamailio nor Asterisk is installed")
    for server, applies in found.items():
        whole, changes = applies["whole table"], applies["changes live"]
        yield Line(
            f"{server}: {entries // 100:,} changes in {entries:,} entries, live",
            f"{changes['told_s']:.2f} s",
            f"the whole table, {whole['told_s']:.1f} s",
            f"{changes['told_s'] / max(whole['told_s'], 1e-3):.3f}",
        )


def starting(bench: Bench) -> Iterator[Line]:
    """What a person waits for before a command does anything."""
    config = bench.folder / "redirectd.toml"
    database = bench.folder / "start.db"
    config.write_text(f'[database]\nurl = "sqlite:///{database}"\n')
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
    "memory": memory,
    "worst": worst,
    "planning": planning,
    "live": live,
    "starting": starting,
}


def _rate(path: Path, seconds: float) -> float:
    return path.stat().st_size / 1e6 / max(seconds, 1e-3)


def _told(took: Run) -> dict[str, float]:
    told: dict[str, float] = json.loads(took.out)
    return told
