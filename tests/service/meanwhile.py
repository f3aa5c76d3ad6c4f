"""What happens between the plan of an apply and its first write, made to happen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redirectd.apply.tables import TableInstaller
from redirectd.service.from_config import Site
from redirectd.service.jobs import APPLY


def once_between_plan_and_write(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """The next apply finds that something happened to the table after it was read."""

    def stage(*words: Any) -> None:
        monkeypatch.undo()
        happens()
        TableInstaller.stage(*words)

    monkeypatch.setattr(TableInstaller, "stage", stage)


def apply_on_schedule(config: Path) -> None:
    """What the service does when its apply is due."""
    jobs = Site.load(config).jobs(list)
    next(job for job in jobs if job.name == APPLY).run()
