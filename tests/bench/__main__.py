"""Speed and memory, side by side with other programs: `python -m tests.bench [--size MB] [--only CASE] [--write]`.

Makes its own data from a seed, runs peers where they are installed (grep, ripgrep, fail2ban-regex), and prints one
table. `--write` puts it into docs/performance.md. It asserts nothing: figures belong to the machine they were taken on.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.bench.bench import Bench, Line
from tests.bench.cases import CASES

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints, and writes where it is asked to."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="redirectd-bench-") as folder:
        bench = Bench(Path(folder), options.size, options.times, options.remaps)
        lines = []
        for name in options.only or CASES:
            for line in CASES[name](bench):
                lines.append(line)
                sys.stdout.write(_row(line))
                sys.stdout.flush()
    if options.write:
        text = DOCUMENT.read_text()
        before, _, rest = text.partition(BEGIN)
        DOCUMENT.write_text(before + BEGIN + _document(lines, options) + END + rest.partition(END)[2])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MB of the large logs")
    parser.add_argument("--times", type=int, default=3, help="runs of each program; the median counts")
    parser.add_argument("--remaps", type=int, default=1_000_000, help="remaps of the largest plan")
    parser.add_argument("--only", action="append", choices=sorted(CASES), help="only this case; can be repeated")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md's table")
    return parser.parse_args(arguments)


def _document(lines: Iterable[Line], options: argparse.Namespace) -> str:
    head = "| what | figure | beside | ratio | aim |\n| --- | --- | --- | --- | --- |\n"
    return f"{_machine()}; large logs of {options.size} MB, the median of {options.times} runs.\n\n{head}" + "".join(
        map(_row, lines)
    )


def _row(line: Line) -> str:
    return f"| {line.what} | {line.figure} | {line.beside} | {line.ratio} | {line.aim} |\n"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{os.cpu_count()} processors ({platform.machine()}), {memory:.0f} GB, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
