"""The apply campaign: kill real apply processes with SIGKILL, at each step and at any moment, and look what is left.

    python -m tests.bench.apply_campaign [--seconds 60] [--seed 1] [--folder DIR]

Every trial starts from a host with generation 1 in service. First every step of an apply is taken in turn, for an
apply that succeeds and for one that must put everything back; then, until the time is up, one to three kills
at random steps or moments, with servers that are down or silently keep old data, and sometimes two applies at once.

A violation is: a file in place that is not a whole old or new one; after the next undisturbed apply, a file or
server without what is approved, a target still pending, or something left beside the files.
The last line gives trials, kills and violations.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from redirectd.errors import RedirectdError, VerifyError
from tests.apply.apply_host import WIDE, ApplyHost, expected, moves
from tests.apply.kill import at_rest, copy_of, killed_at, whole

LAYOUT = {"users": "unix:one", "others": "unix:two", "more": "unix:two"}
OLD, NEW, NEWER = moves(30), moves(40, "new.test"), moves(35, "newer.test")


class Campaign:
    """Counts trials, kills and violations."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.trials = self.kills = 0
        self.violations: list[str] = []
        self._random = random.Random(seed)
        self._base = folder / "base"
        self._base.mkdir()
        host = ApplyHost(self._base, LAYOUT, limits=WIDE)
        host.apply(OLD)
        host.database.close()

    def enumerated(self, end: float) -> None:
        """Kill at step 1, 2, 3... until an apply comes through, or the time is up."""
        for deaf in (False, True):
            step = 0
            while time.monotonic() < end:
                step += 1
                home = copy_of(self._base, "trial")
                if not killed_at(step, home, LAYOUT, NEW, deaf=deaf):
                    break
                self.kills += 1
                self._look(home, f"step {step}, deaf={deaf}", NEW)

    def at_random(self) -> None:
        """Do one trial of one to three disturbed applies."""
        home = copy_of(self._base, "trial")
        told = []
        for _ in range(self._random.randint(1, 3)):
            wanted = self._random.choice([OLD, NEW, NEWER])
            deaf = self._random.random() < 0.3
            way = self._random.choice(["step", "moment", "pair"])
            told.append(f"{way} deaf={deaf} {len(wanted)}")
            if way == "step":
                self.kills += killed_at(self._random.randint(1, 120), home, LAYOUT, wanted, deaf=deaf)
            elif way == "moment":
                self._killed_soon([self._started(home, wanted, deaf)])
            else:
                self._killed_soon([self._started(home, wanted, deaf), self._started(home, NEW, deaf=False)])
        self._look(home, ", ".join(told), self._random.choice([OLD, NEW, NEWER]))

    def _look(self, home: Path, what: str, wanted: Mapping[str, str]) -> None:
        self.trials += 1
        host = ApplyHost(home, LAYOUT, limits=WIDE)
        faults = whole(host, *map(expected, (OLD, NEW, NEWER)))
        result = host.apply(wanted)
        if isinstance(result.error, VerifyError):
            # What waited was disproved and put back; from there an apply goes through.
            faults += whole(host, *map(expected, (OLD, NEW, NEWER)))
            result = host.apply(wanted)
        if result.error is not None:
            faults.append(f"the next apply ended with: {result.error}")
        faults += at_rest(host, expected(wanted))
        host.database.close()
        self.violations += [f"{what}: {fault}" for fault in faults]

    def _started(self, home: Path, wanted: Mapping[str, str], deaf: bool) -> int:
        child = os.fork()
        if child == 0:
            try:
                host = ApplyHost(home, LAYOUT, limits=WIDE)
                server = host.servers["unix:two"]
                server.deaf = deaf
                server.down = not deaf and os.getpid() % 3 == 0
                host.apply(wanted)
            except RedirectdError:
                pass
            finally:
                os._exit(0)
        return child

    def _killed_soon(self, children: list[int]) -> None:
        time.sleep(self._random.random() * 0.15)
        for child in children:
            os.kill(child, signal.SIGKILL)  # a child that ended is not reaped yet, so the number is still its own
        for child in children:
            _, status = os.waitpid(child, 0)
            self.kills += os.WIFSIGNALED(status)


def run(folder: Path, seconds: float, seed: int) -> Campaign:
    """Run a campaign for at most about `seconds`."""
    campaign = Campaign(folder, seed)
    start = time.monotonic()
    campaign.enumerated(start + seconds * 2 / 3)
    while time.monotonic() < start + seconds:
        campaign.at_random()
    return campaign


def main() -> int:
    """Run by the command line; 1 where there were violations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        campaign = run(Path(folder), options.seconds, options.seed)
    for violation in campaign.violations:
        sys.stdout.write(f"violation: {violation}\n")
    sys.stdout.write(
        f"apply campaign: {campaign.trials} trials, {campaign.kills} kills, {len(campaign.violations)} violations\n"
    )
    return bool(campaign.violations)


if __name__ == "__main__":
    sys.exit(main())
