"""`make field`: asks each target's server about 2,000 random URIs, and writes what came of it (R41)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.peers.asked_around import TARGETS, Tally, tally

RESULT = Path(__file__).with_name("RESULT")
PAIRS = 2000
SETS = 4


def main() -> int:
    """Write RESULT; the exit code is 1 where a server and `lookup` disagree."""
    lines = [
        f"{PAIRS:,} random Request-URIs a target, around {PAIRS // 3} random remaps in {SETS} sets, on real servers"
    ]
    failed = False
    for kind in TARGETS:
        total = Tally()
        for seed in range(SETS):
            with tempfile.TemporaryDirectory(prefix="rdf-") as folder:
                found = tally(kind, Path(folder), seed, PAIRS // SETS)
            total.pairs, total.moved = total.pairs + found.pairs, total.moved + found.moved
            total.misses += found.misses
            total.differences += found.differences
        lines += ["", f"{kind}: {total.pairs:,} asked, {total.moved:,} moved, {len(total.differences)} differences"]
        lines += [f"  known misses, {count}: {miss}" for miss, count in sorted(total.misses.items())]
        lines += [f"  DIFFERS {difference}" for difference in total.differences]
        failed = failed or bool(total.differences)
    RESULT.write_text("\n".join(lines) + "\n")
    sys.stdout.write(RESULT.read_text())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
