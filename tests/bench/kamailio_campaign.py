"""The apply campaign on a real Kamailio: kill apply processes with SIGKILL, and ask the server what it routes by.

    python -m tests.bench.kamailio_campaign [--trials 100] [--seed 1]

Every trial has one or two applies killed, at one of their steps or at any moment, on one host that keeps its state
from trial to trial. Every tenth trial Kamailio itself is stopped too and started anew with the files as they are.

A violation is: a file in place that is not a whole table that was applied; a Kamailio that routes by anything else, or
that does not start with the file; after the next undisturbed apply, a file or a Kamailio without exactly what is
approved, or something left beside the file. The last line gives trials, kills and violations.
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
from datetime import UTC, datetime
from pathlib import Path

from redirectd.apply.applier import Applier, ApplyRequest, Tools
from redirectd.apply.control import Channel, open_channel
from redirectd.apply.files import Files
from redirectd.errors import RedirectdError
from redirectd.plan.target_spec import TargetSpec
from redirectd.store.database import Database
from redirectd.store.schema import metadata
from redirectd.targets.kamailio_htable import KamailioHtable
from tests.apply.apply_host import WIDE, expected, moves, table
from tests.apply.kill import Steps, stepped_database, stepped_files
from tests.peers.lab.kamailio import Kamailio, Script
from tests.peers.lab.loopback import own_address
from tests.peers.lab.process import LabError

TABLES = (moves(12), moves(20, "new.test"), moves(16, "newer.test"))
KEYS = sorted({key for each in TABLES for key in expected(each)})
_STEPS = 45  # about what an apply has


class Campaign:
    """One host with a Kamailio; counts trials, kills and violations."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.trials = self.kills = self.restarts = 0
        self.violations: list[str] = []
        self._random = random.Random(seed)
        self._folder = folder
        self._kamailio = Kamailio(folder, own_address(), Script())
        self._kamailio.start()
        database = Database(self._url)
        metadata.create_all(database.engine)
        database.close()
        self._last = TABLES[0]
        self._apply(self._last)

    def trial(self) -> None:
        """Disturb one or two applies, look, let one through, look again."""
        self.trials += 1
        for _ in range(self._random.randint(1, 2)):
            wanted = self._random.choice([each for each in TABLES if each is not self._last])
            if self._random.random() < 0.7:
                self._kill_at_step(wanted, self._random.randint(1, _STEPS))
            else:
                self._kill_soon(wanted, self._random.random() * 0.2)
        self._look("after the kill", *map(expected, TABLES))
        if self.trials % 10 == 0:
            self._restart()
        wanted = self._random.choice(TABLES)
        try:
            self._apply(wanted)
            self._last = wanted
        except RedirectdError as error:
            self._violation(f"the next apply ended with: {error}")
        self._look("after the next apply", expected(wanted))
        self._look_beside()

    def stop(self) -> None:
        """Stop Kamailio."""
        self._kamailio.stop()

    @property
    def _url(self) -> str:
        return f"sqlite:///{self._folder}/redirectd.db"

    def _apply(self, wanted: Mapping[str, str], steps: Steps | None = None) -> None:
        """Apply as `redirectd apply` does; with `steps`, announcing each."""

        def open_announced(spec: str, *, timeout: float) -> Channel:
            if steps is not None:
                steps.at("channel")
            return open_channel(spec, timeout=timeout)

        database = (stepped_database(steps) if steps else Database)(self._url)
        files = stepped_files(steps) if steps else Files()
        tools = Tools(open_announced, lambda: datetime.now(UTC), time.monotonic, time.sleep, files)
        control = f"jsonrpc:unix:{self._kamailio.rpc_socket}"
        spec = TargetSpec("users", str(self._kamailio.htable_file), KamailioHtable(table="redir"), control=control)
        applier = Applier(database, "here", [spec], WIDE, self._folder / "lock", tools)
        # The laboratory's own empty table is the first thing that is written over.
        result = applier.apply(lambda: table(wanted), ApplyRequest(actor="campaign", force=True))
        database.close()
        if result.error is not None:
            raise result.error

    def _kill_at_step(self, wanted: Mapping[str, str], step: int) -> None:
        child = os.fork()
        if child == 0:
            steps = Steps(step, lambda _: os.kill(os.getpid(), signal.SIGKILL))
            self._in_child(wanted, steps)
        _, status = os.waitpid(child, 0)
        self.kills += os.WIFSIGNALED(status)

    def _kill_soon(self, wanted: Mapping[str, str], seconds: float) -> None:
        child = os.fork()
        if child == 0:
            self._in_child(wanted, None)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # a child that ended is not reaped yet, so the number is still its own
        _, status = os.waitpid(child, 0)
        self.kills += os.WIFSIGNALED(status)

    def _in_child(self, wanted: Mapping[str, str], steps: Steps | None) -> None:
        try:
            self._apply(wanted, steps)
        except RedirectdError as error:
            sys.stderr.write(f"a disturbed apply ended with: {error}\n")
        finally:
            os._exit(0)

    def _restart(self) -> None:
        """Stop Kamailio and start it with the file as it is: a bad table would keep it from starting."""
        self.restarts += 1
        try:
            self._kamailio.restart()
        except LabError as error:
            self._violation(f"Kamailio does not start with the file in place: {error}")
            raise
        self._look("after Kamailio's restart", *map(expected, TABLES))

    def _look(self, when: str, *allowed: Mapping[str, str]) -> None:
        try:
            found = dict(KamailioHtable(table="redir").parse(self._kamailio.htable_file.read_bytes()))
        except (OSError, ValueError) as error:
            self._violation(f"{when}: the file is not a whole table: {error}")
        else:
            if found not in allowed:
                self._violation(f"{when}: the file is whole but not what was to be in place")
        if self._served() not in allowed:
            self._violation(f"{when}: Kamailio routes by something else")

    def _served(self) -> dict[str, str]:
        served = {}
        for key in KEYS:
            try:
                served[key] = self._kamailio.rpc("htable.get", "redir", key)["item"]["value"]
            except LabError:
                continue
        return served

    def _look_beside(self) -> None:
        for path in self._kamailio.htable_file.parent.iterdir():
            if "redirectd-" in path.name:
                self._violation(f"left beside the file: {path.name}")

    def _violation(self, what: str) -> None:
        self.violations.append(f"trial {self.trials}: {what}")


def main() -> int:
    """Run by the command line; 1 where there were violations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rdcamp-") as folder:
        campaign = Campaign(Path(folder), options.seed)
        try:
            for _ in range(options.trials):
                campaign.trial()
        finally:
            campaign.stop()
    for violation in campaign.violations:
        sys.stdout.write(f"violation: {violation}\n")
    sys.stdout.write(
        f"apply campaign on Kamailio: {campaign.trials} trials, {campaign.kills} kills, {campaign.restarts} restarts, "
        f"{len(campaign.violations)} violations\n"
    )
    return bool(campaign.violations)


if __name__ == "__main__":
    sys.exit(main())
