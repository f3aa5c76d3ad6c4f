"""Running a program and asking the operating system what it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

REDIRECTD = (sys.executable, "-c", "from redirectd.cli.main import main; main()")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took: seconds of the clock and of the processor, greatest memory in MB, what it printed."""

    wall: float
    cpu: float
    peak: float
    out: str


def run(command: Sequence[str], *, input_file: Path | None = None) -> Run:
    """Runs a command to its end. grep's exit code 1 is not looked at: nothing found is an answer, too."""
    with (input_file or Path(os.devnull)).open("rb") as stdin:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdout is not None
        out = child.stdout.read().decode(errors="replace")
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out)


def in_turn(commands: Sequence[Sequence[str]], times: int) -> list[list[Run]]:
    """Runs all commands once to warm up, then in turn, so that a drifting machine drifts for all."""
    for command in commands:
        run(command)
    runs: list[list[Run]] = [[] for _ in commands]
    for _ in range(times):
        for number, command in enumerate(commands):
            runs[number].append(run(command))
    return runs


def typical(runs: Sequence[Run]) -> Run:
    """The median of each figure."""
    return Run(
        median(one.wall for one in runs),
        median(one.cpu for one in runs),
        median(one.peak for one in runs),
        runs[-1].out,
    )
