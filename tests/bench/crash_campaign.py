"""The crash campaign: kill the service with SIGKILL at random moments, and look whether each 301 was counted once.

    python -m tests.bench.crash_campaign [--kills 300] [--seconds 480] [--seed 1] [--folder DIR]
        [--postgresql | --url URL]

A writer process logs calls as Asterisk does and rotates the log in every style (`pjsip_traffic`), without a regard for
the reader, but with a bound for each start of it. Meanwhile `redirectd run` is started and killed again and again:
while it starts, while it reads, while it commits. Every fourth may read up to the end of the log before it is killed.
Every tenth start is the command as a user starts it; the others are the same command in a forked copy of a process
that has imported it already, which saves most of the second that Python needs for that.

In the end the writer stops, a last service reads what is left, and the database is compared with what the writer knows
that it wrote: each 301 once, whatever was repeated, and no other. The last line gives the trials (starts that ended by
a kill), the sightings written, and how many of them are lost or doubled.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from redirectd.service.control import ask
from redirectd.store.database import Database
from redirectd.store.migrate import upgrade
from tests.bench.bench import UNBOUNDED
from tests.bench.pjsip_traffic import write_until
from tests.peers.lab.database import start_postgresql
from tests.peers.lab.loopback import own_address

DRAINING_SECONDS = 120.0
EXEC_EVERY = 10
CATCH_UP_EVERY = 4
SMALL_LAG = 8192  # bytes
TURNS_A_TRIAL = 40
"""What is written between two kills; without a bound, a slow machine deletes what no service had the time to read."""
TURNS_AHEAD = 400


@dataclass(slots=True)
class Outcome:
    """What a campaign came to. `lost` and `doubled` count sightings; `gaps` are losses that redirectd itself reported.

    `reports` holds what its log said of them.
    """

    trials: int = 0
    early: int = 0
    sightings: int = 0
    repeated: int = 0
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    gaps: int = 0
    reports: list[str] = field(default_factory=list)
    rotations: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether all is counted once and nothing was reported lost."""
        return not (self.lost or self.doubled or self.foreign or self.gaps)

    def lines(self) -> str:
        """What happened, and the verdict as the last line."""
        styles = ", ".join(f"{style} {count}" for style, count in sorted(self.rotations.items()))
        return "".join(self.reports) + (
            f"{self.early} of the kills before the log was first read, {self.repeated} repeated 301s, "
            f"{self.foreign} moves that nobody wrote, {self.gaps} gaps reported, {self.seconds:.0f} s\n"
            f"rotations: {styles}\n"
            f"crash campaign: {self.trials} trials, {self.sightings} sightings written, "
            f"lost {self.lost}, doubled {self.doubled}\n"
        )


class Campaign:
    """One folder with a log, its writer, a configuration and a database."""

    def __init__(self, folder: Path, seed: int, url: str = "") -> None:
        self.outcome = Outcome()
        self._folder = folder
        self._random = random.Random(seed)
        self._log = folder / "log" / "full.log"
        self._log.parent.mkdir()
        self._written = folder / "written.json"
        self._url = url or f"sqlite:///{folder / 'redirectd.db'}"
        if url:
            _make_tables(url)
        self._config = folder / "redirectd.toml"
        self._config.write_text(
            f'node = "campaign"\n[database]\nurl = "{self._url}"\n[daemon]\nsocket = "s"\n[schedule]\napply = ""\n'
            f"{UNBOUNDED}"
            f'[[source]]\nname = "full"\npath = "{self._log}"\nsession_progress = "count"\n'
        )
        self._seed = seed
        self._starts = 0

    def run(self, kills: int, seconds: float) -> Outcome:
        """Kill up to `kills` times, for up to `seconds`, then drain and compare."""
        started = time.monotonic()
        self._trial(serving=True)  # no log yet; what was rotated before this first start would not be read
        hold, pace = os.pipe()
        writer = self._start_writer(hold, pace)
        os.close(hold)
        try:
            while self.outcome.trials < kills and time.monotonic() - started < seconds:
                os.write(pace, b".")
                self._trial()
        finally:
            os.close(pace)  # the writer sees the end of the pipe
            _, status = os.waitpid(writer, 0)
        assert status == 0, "the writer failed"
        self._drain()
        self._compare()
        self.outcome.seconds = time.monotonic() - started
        return self.outcome

    def _start_writer(self, hold: int, pace: int) -> int:
        child = os.fork()
        if child == 0:
            os.close(pace)
            os.set_blocking(hold, False)
            allowed = TURNS_AHEAD

            def due() -> int | None:
                nonlocal allowed
                try:
                    started = os.read(hold, 4096)
                except BlockingIOError:
                    return allowed
                allowed += TURNS_A_TRIAL * len(started)
                return allowed if started else None

            code = 1
            try:
                write_until(self._log, self._written, self._seed, due)
                code = 0
            finally:
                os._exit(code)
        return child

    def _trial(self, *, serving: bool = False) -> None:
        """Start a service and kill it: one time in four at any moment of its start, else once it serves."""
        service = self._start()
        if not serving and self._random.random() < 0.25:
            time.sleep(self._random.random() * 0.4)
        elif self.outcome.trials % CATCH_UP_EVERY == 0:
            self._wait(lambda: self._lag() < SMALL_LAG)
        else:
            self._wait(self._reads)
            time.sleep(self._random.choice([0.0, 0.02, 0.1, 0.5, 1.0]) * self._random.random())
        self.outcome.early += not self._reads()
        os.kill(service, signal.SIGKILL)
        _, status = os.waitpid(service, 0)
        assert os.WIFSIGNALED(status), "the service ended by itself: see 'stderr' in the folder"
        self.outcome.trials += 1

    def _start(self) -> int:
        """`redirectd run` as a child process."""
        self._starts += 1
        (self._folder / "s").unlink(missing_ok=True)
        arguments = ["--config", str(self._config), "run"]
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            output = os.open(self._folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if self._starts % EXEC_EVERY == 1:
                os.execv(sys.executable, [sys.executable, "-m", "redirectd", *arguments])
            from redirectd.cli.main import main

            main(arguments)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(code)

    def _wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not until() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _reads(self) -> bool:
        """Whether the service has looked at the log."""
        return self._lag() < inf

    def _lag(self) -> float:
        """Bytes that wait, as the service says; infinite before it has looked at the log."""
        status = ask(self._folder / "s")
        source = status["sources"][0] if status and status["sources"] else None
        return source["lag_bytes"] if source and source["last_read"] else inf

    def _drain(self) -> None:
        """Run a service until all is read, or nothing more comes for a while."""
        expected = sum(calls for _, _, calls in json.loads(self._written.read_text())["moves"])
        service = self._start()
        deadline, counted = time.monotonic() + DRAINING_SECONDS, -1
        quiet_since = time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - quiet_since < 10:
            now = sum(self._counted().values())
            if now != counted:
                counted, quiet_since = now, time.monotonic()
            if counted >= expected and time.monotonic() - quiet_since > 2:  # what comes too often comes soon
                break
            time.sleep(0.1)
        os.kill(service, signal.SIGTERM)
        os.waitpid(service, 0)

    def _compare(self) -> None:
        kept = json.loads(self._written.read_text())
        written = Counter({(old, new): calls for old, new, calls in kept["moves"]})
        counted = self._counted()
        outcome = self.outcome
        outcome.sightings = written.total()
        outcome.repeated, outcome.rotations = kept["repeated"], kept["rotations"]
        outcome.lost = (written - counted).total()
        outcome.doubled = sum((counted - written)[move] for move in written)
        outcome.foreign = sum(calls for move, calls in counted.items() if move not in written)
        outcome.foreign += self._number("SELECT SUM(calls) FROM refusal")
        outcome.foreign += self._number("SELECT COUNT(*) FROM quarantine")
        outcome.gaps = self._number("SELECT SUM(count) FROM loss WHERE kind <> 'gap-bytes'")
        with (self._folder / "stderr").open() as log:
            outcome.reports = [line for line in log if '"event": "lost"' in line]

    def _counted(self) -> Counter[tuple[str, str]]:
        engine = create_engine(self._url)
        try:
            with engine.connect() as connection:
                rows = connection.execute(text("SELECT old_uri, new_uri, calls FROM remap"))
                return Counter({(row.old_uri, row.new_uri): row.calls for row in rows})
        except SQLAlchemyError:
            return Counter()  # no tables yet
        finally:
            engine.dispose()

    def _number(self, query: str) -> int:
        engine = create_engine(self._url)
        try:
            with engine.connect() as connection:
                return int(connection.execute(text(query)).scalar() or 0)
        finally:
            engine.dispose()


def _make_tables(url: str) -> None:
    """What `redirectd db upgrade` does: the service makes the tables of an SQLite file by itself, of no server."""
    database = Database(url)
    try:
        upgrade(database)
    finally:
        database.close()


@contextmanager
def _own_postgresql() -> Iterator[str]:
    """The URL of an empty database on a PostgreSQL of the campaign's own; the server outlives the killed services."""
    with tempfile.TemporaryDirectory(prefix="rdpg-") as folder:
        server = start_postgresql(Path(folder), own_address())
        try:
            yield server.new_database()
        finally:
            server.stop(by=signal.SIGINT)


def run(folder: Path, kills: int, seconds: float, seed: int, url: str = "") -> Outcome:
    """Run a campaign in `folder`, which must be empty."""

    return Campaign(folder, seed, url).run(kills, seconds)


def main() -> int:
    """Run by the command line; 1 where anything was lost, doubled or invented."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="keep everything in this new folder")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--postgresql", action="store_true", help="on a PostgreSQL of its own, not on an SQLite file")
    where.add_argument("--url", default="", help="on another database, which must be empty")
    options = parser.parse_args()
    with ExitStack() as stack:
        url = stack.enter_context(_own_postgresql()) if options.postgresql else options.url
        if options.folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = options.folder
            folder.mkdir(parents=True)
        outcome = run(folder, options.kills, options.seconds, options.seed, url)
    sys.stdout.write(outcome.lines())
    return not outcome.is_clean


if __name__ == "__main__":
    sys.exit(main())
