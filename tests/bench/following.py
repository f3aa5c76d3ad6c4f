"""Following a live log: how soon a sighting is in the database, and what waiting for one costs."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from threading import Thread

from tests.bench import logs
from tests.bench.bench import Bench, Line
from tests.service.service import Service

LINES_A_SECOND = 10_000
MOVES_A_SECOND = 10
SOAKED = 1_000
_TICK, _LOOK = 0.01, 0.002
_NOISE = b"Nov 22 16:26:03 sip1 kamailio[2712]: INFO: <script>: route[1] M=INVITE src=192.0.2.1:5060\n"


def following(bench: Bench) -> Iterator[Line]:
    """The running service: idle first, then with a busy log."""
    seconds = min(10, bench.size)
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        Path(folder, "full.log").touch()
        with Service(Path(folder)) as service:
            service.until_notified("READY")
            time.sleep(min(2, seconds))  # what a start leaves to be done
            idle = _share(service.process.pid, seconds)
            waits = _waits(service, seconds)
            service.stop()
    yield Line("following, nothing to do: processor", f"{100 * idle:.2f} %", aim="0.2 %")
    what = f"following {LINES_A_SECOND:,} lines/s: a 301 is in the database"
    yield Line(f"{what}, median of {len(waits)}", f"{1000 * median(waits):.0f} ms", aim="100 ms")
    yield Line(f"{what}, 99th of 100", f"{1000 * quantiles(waits, n=100)[98]:.0f} ms", aim="500 ms")


def soak(bench: Bench) -> Iterator[Line]:
    """The memory of the running service, with a 301 a second: ten minutes where the large log is 1 GB."""
    seconds = min(600.0, bench.size * 0.6)
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        Path(folder, "full.log").touch()
        with Service(Path(folder)) as service:
            service.until_notified("READY")
            writer = Thread(target=_write_slowly, args=(service.log, seconds))
            writer.start()
            time.sleep(seconds / 6)
            early = _memory(service.process.pid)
            writer.join()
            late = _memory(service.process.pid)
            service.stop()
    yield Line(
        f"{seconds:.0f} s of {SOAKED:,} lines/s: memory",
        f"{late:.0f} MB",
        f"after a sixth of it, {early:.0f} MB",
        f"{late / early:.2f}",
        "1.05",
    )


def _memory(pid: int) -> float:
    """MB that a process holds now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _write_slowly(log: Path, seconds: float) -> None:
    """`SOAKED` lines a second, ten times a second, and a 301 each second."""
    began = time.monotonic()
    with log.open("ab", buffering=0) as out:
        for tenth in range(int(seconds * 10)):
            time.sleep(max(0.0, began + tenth / 10 - time.monotonic()))
            out.write(_NOISE * (SOAKED // 10))
            if tenth % 10 == 0:
                out.write(logs.record(tenth))


def _share(pid: int, seconds: float) -> float:
    """The part of one processor that a process uses."""
    before = _used(pid)
    time.sleep(seconds)
    return (_used(pid) - before) / seconds


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _waits(service: Service, seconds: float) -> list[float]:
    """Seconds from the write of each 301 to the moment when another program finds it in the database."""
    written: list[float] = []
    writer = Thread(target=_write, args=(service.log, int(seconds * MOVES_A_SECOND), written))
    writer.start()
    waits: list[float] = []
    database = sqlite3.connect(f"file:{service.folder / 'redirectd.db'}?mode=ro", uri=True)
    until = time.monotonic() + 2 * seconds + 30
    while len(waits) < seconds * MOVES_A_SECOND and time.monotonic() < until:
        (stored,) = database.execute("SELECT count(*) FROM event").fetchone()
        now = time.monotonic()
        waits += [now - at for at in written[len(waits) : stored]]
        time.sleep(_LOOK)
    writer.join()
    database.close()
    return waits


def _write(log: Path, moves: int, written: list[float]) -> None:
    """Writes at an even pace, and notes when each 301 was written."""
    ticks = round(1 / (_TICK * MOVES_A_SECOND))
    noise = _NOISE * round(LINES_A_SECOND * _TICK)
    began = time.monotonic()
    with log.open("ab", buffering=0) as out:
        for tick in range(moves * ticks):
            time.sleep(max(0.0, began + tick * _TICK - time.monotonic()))
            out.write(noise)
            if tick % ticks == ticks - 1:
                written.append(time.monotonic())
                out.write(logs.record(tick))
