"""Reading beside grep, ripgrep and fail2ban-regex on the same file, and how much memory that takes."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench import logs
from tests.bench.bench import MB, Bench, Line, ingested, rate
from tests.bench.process import in_turn, run, typical

_FAILREGEX: dict[logs.Maker, str] = {
    logs.asterisk: r"SIP/2\.0 301 <F-ID>\S+</F-ID>",
    logs.kamailio: "REDIRECTD v=1 ev=301 .* src=udp/<HOST>/",
}
_AIMS = {"ingest, 183s counted": "1.0", "ingest, a record per 183": "0.25"}


def reading(bench: Bench) -> Iterator[Line]:
    """Ingest beside grep, ripgrep and fail2ban-regex."""
    for name, maker in logs.MAKERS.items():
        path = bench.log(name.partition(",")[0].lower(), maker, bench.size)
        size = path.stat().st_size
        needle = "SIP/2.0 301" if maker is logs.asterisk else "REDIRECTD v=1 ev=301"
        commands = {"grep -c": ["grep", "-c", needle, str(path)]}
        if shutil.which("rg"):
            commands["ripgrep -c"] = ["rg", "-c", "-F", needle, str(path)]
        commands |= {"ingest, 183s counted": bench.ingest(path), "ingest, a record per 183": bench.ingest(path, "each")}
        runs = dict(zip(commands, map(typical, in_turn(list(commands.values()), bench.times)), strict=True))
        grep = rate(size, runs["grep -c"].wall)
        for program, took in runs.items():
            whole = rate(size, took.wall)
            yield Line(
                f"{name}: {program}", f"{whole:.0f} MB/s", "grep -c", f"{whole / grep:.2f}", _AIMS.get(program, "")
            )
            if program in _AIMS:
                inner = rate(size, ingested(took)["seconds"])
                yield Line(
                    f"{name}: {program}, start-up left out", f"{inner:.0f} MB/s", "grep -c", f"{inner / grep:.2f}"
                )
        if shutil.which("fail2ban-regex"):
            ratio = rate(size, runs["ingest, 183s counted"].wall) / _fail2ban(bench, name, maker)
            yield Line(f"{name}: ingest, 183s counted", "", "fail2ban-regex", f"{ratio:.0f}", "30")


def _fail2ban(bench: Bench, name: str, maker: logs.Maker) -> float:
    """MB/s of fail2ban-regex, on a smaller log: it would take minutes."""
    small = bench.log(name.partition(",")[0].lower(), maker, max(1, bench.size // 50))
    took = run(["fail2ban-regex", str(small), _FAILREGEX[maker]])
    assert re.search(r"[1-9]\d* matched", took.out), "it has not read the log"
    return rate(small.stat().st_size, took.wall)


def jobs(bench: Bench) -> Iterator[Line]:
    """Two files by one process and by two; a machine with other work gives two processes more than it gives one."""
    first = bench.log("asterisk", logs.asterisk, bench.size / 4)
    second = bench.folder / "asterisk-copy.log"
    shutil.copyfile(first, second)
    alone, together = in_turn([[*bench.ingest(first), str(second), "--jobs", str(n)] for n in (1, 2)], bench.times)
    one, two = typical(alone), typical(together)
    size = 2 * first.stat().st_size
    yield Line(
        "two files, --jobs 2", f"{rate(size, two.wall):.0f} MB/s", "--jobs 1", f"{one.wall / two.wall:.2f}", "1.7"
    )
    inner = ingested(one)["seconds"] / max(ingested(two)["seconds"], 1e-3)
    yield Line("two files, --jobs 2, start-up left out", "", "--jobs 1", f"{inner:.2f}", "1.7")


def memory(bench: Bench) -> Iterator[Line]:
    """The greatest memory of an ingest, by the log's size."""
    sizes = (bench.size / 100, bench.size / 10, bench.size)
    peaks = [run(bench.ingest(bench.log("asterisk", logs.asterisk, size), "each")).peak for size in sizes]
    for size, peak in zip(sizes, peaks, strict=True):
        yield Line(f"memory of an ingest of {size:g} MB", f"{peak:.0f} MB", "", "", "96 MB")
    yield Line("growth of that memory", f"{peaks[-1] - peaks[0]:.1f} MB", "", "", "5 MB")


def compressed(bench: Bench) -> Iterator[Line]:
    """A gz log beside `zgrep`; the figures are of the bytes that come out of it."""
    path = bench.log("asterisk", logs.asterisk, bench.size / 10)
    packed = _gzip(path)
    ours, theirs = in_turn([bench.ingest(packed), ["zgrep", "-c", "SIP/2.0 301", str(packed)]], bench.times)
    inner = rate(path.stat().st_size, ingested(typical(ours))["seconds"])
    zgrep = rate(path.stat().st_size, typical(theirs).wall)
    yield Line("gz: ingest, 183s counted, start-up left out", f"{inner:.0f} MB/s", "zgrep -c", f"{inner / zgrep:.2f}")


def _gzip(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as out:
        shutil.copyfileobj(source, out, MB)
    return packed
