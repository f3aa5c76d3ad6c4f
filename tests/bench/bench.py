"""What all measurements share: where data goes, how much of it, the command that reads it, a line of the table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.bench import logs
from tests.bench.process import REDIRECTD, Run

MB = 1 << 20

UNBOUNDED = "[policy]\nnew_remaps_per_peer = 1000000000\nnew_remaps_per_incoming_uri = 1000000000\n"
"""For a configuration: how fast is measured, not how many of an hour are taken (R46)."""


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
        config.write_text(f'[database]\nurl = "sqlite:///{database}"\n{UNBOUNDED}')
        fresh = f"import glob, os; [os.remove(one) for one in glob.glob({str(database) + '*'!r})]; {REDIRECTD[2]}"
        arguments = ["--config", str(config), "ingest", str(path), "--json", "--session-progress", mode]
        return [REDIRECTD[0], REDIRECTD[1], fresh, *arguments]


def rate(size: float, seconds: float) -> float:
    """MB/s of `size` bytes."""
    return size / 1e6 / max(seconds, 1e-3)


def ingested(took: Run) -> dict[str, float]:
    """What `ingest --json` printed; `seconds` is without the start of the program."""
    found: dict[str, float] = json.loads(took.out)
    return found
