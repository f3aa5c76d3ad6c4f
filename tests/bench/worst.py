"""The worst that a log can be: each kind at one size and at twice that, since what doubles is linear."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from tests.bench import logs
from tests.bench.bench import Bench, Line, ingested, rate
from tests.bench.hostile_logs import ANY, Cost, costs
from tests.bench.process import run
from tests.dialects.logfiles import LOGS

_KINDS: dict[str, logs.Maker] = {
    "nothing but 301s": logs.only_moves,
    "301s without their requests": logs.unpaired,
    "a storm of one loop": logs.storm,
    "one line that never ends": logs.one_line,
    "text made to send a scanner back": logs.hostile,
    "answers far into their lines": logs.far_into_lines,
}


def worst(bench: Bench) -> Iterator[Line]:
    """Reading and storing, the start of the program left out."""
    for name, maker in _KINDS.items():
        # A line of 100 MB is what the issue of a broken writer looks like; the others are dense enough when small.
        size = max(1, bench.size // (10 if maker is logs.one_line else 50))
        once, twice = (
            min(
                ingested(run(bench.ingest(bench.log(maker.__name__, maker, each))))["seconds"]
                for _ in range(bench.times)
            )
            for each in (size / 2, size)
        )
        figure = f"{rate(size * (1 << 20), twice):.1f} MB/s"
        yield Line(f"{name}, {size} MB", figure, "half of it", f"{twice / max(once, 1e-3):.1f} x the time", "about 2")


def storing(bench: Bench) -> Iterator[Line]:
    """Nothing but 301s into SQLite, beside the same rows by bare executemany, in as many transactions."""
    path = bench.log("only_moves", logs.only_moves, max(1, bench.size // 50))
    found = json.loads(run([sys.executable, "-m", "tests.bench.storing", str(path), str(bench.times)]).out)
    sightings = found["sightings"]
    figure = f"{sightings / found['store_s']:.0f}/s"
    ratio = f"{found['bare_s'] / found['store_s']:.2f}"
    yield Line(f"{sightings} sightings into SQLite, {found['rows']} rows", figure, "bare executemany", ratio, "0.5")


def hostile(bench: Bench) -> Iterator[Line]:
    """Texts made against each mechanism, in a log of each dialect: the slowest by dialect, and by kind of text."""
    names = (*LOGS, ANY)[: bench.size]
    every = [(name, *found) for name in names for found in costs(name, bench.size << 11)]
    for name in names:
        _, kind, whole, half = min((one for one in every if one[0] == name), key=lambda one: one[2].rate)
        yield _cost(f"hostile, {name}, the slowest: {kind}", whole, half)
    for kind in dict.fromkeys(one[1] for one in every):
        name, _, whole, half = min((one for one in every if one[1] == kind), key=lambda one: one[2].rate)
        yield _cost(f"hostile, {kind}, the slowest: {name}", whole, half)


def _cost(what: str, whole: Cost, half: Cost) -> Line:
    figure = f"{whole.rate:.1f} MB/s, longest step {whole.longest * 1000:.0f} ms"
    return Line(
        what, figure, "half of it", f"{whole.seconds / max(half.seconds, 1e-6):.1f} x the time", "5 MB/s, 50 ms"
    )
