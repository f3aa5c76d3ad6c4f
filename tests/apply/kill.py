"""Stopping an apply at a chosen step: every file operation, transaction and question to a server is one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection

from redirectd.apply.files import Files
from redirectd.errors import RedirectdError
from redirectd.store.database import Database
from tests.apply.apply_host import WIDE, ApplyHost, states

_STEPS = tuple(name for name in vars(Files) if not name.startswith("_"))


class Steps:
    """Counts steps and acts at the one wanted; `names` are those passed."""

    def __init__(self, wanted: int, act: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._act = act
        self.names: list[str] = []

    def at(self, name: str) -> None:
        """Pass one step."""
        self.names.append(name)
        if len(self.names) == self._wanted:
            self._act(name)


def stepped_files(steps: Steps) -> Files:
    """Give real file operations, each of which is announced first."""

    def announced(name: str) -> Callable[..., object]:
        def step(self: Files, *args: object) -> object:
            steps.at(name)
            return getattr(Files, name)(self, *args)

        return step

    made: Files = type("SteppedFiles", (Files,), {name: announced(name) for name in _STEPS})()
    return made


def stepped_database(steps: Steps) -> type[Database]:
    """Give the real database, with a step before, within and after each writing transaction."""

    class SteppedDatabase(Database):
        @contextmanager
        def begin(self) -> Iterator[Connection]:
            steps.at("begin")
            with super().begin() as connection:
                yield connection
                steps.at("commit")
            steps.at("committed")

    return SteppedDatabase


def stepped_host(home: Path, layout: Mapping[str, str], steps: Steps) -> ApplyHost:
    """Build a host of which every step is announced."""
    return ApplyHost(
        home, layout, files=stepped_files(steps), database=stepped_database(steps), hook=steps.at, limits=WIDE
    )


def killed_at(
    step: int,
    home: Path,
    layout: Mapping[str, str],
    wanted: Mapping[str, str],
    *,
    deaf: bool = False,
    down: bool = False,
    chokes: str = "",
) -> bool:
    """Apply in a process of its own that is killed with SIGKILL at a step; False if it ended before that step."""

    def apply(steps: Steps) -> None:
        host = stepped_host(home, layout, steps)
        last = next(iter(reversed(host.servers.values())))
        last.deaf, last.down, last.chokes = deaf, down, chokes
        with suppress(RedirectdError):
            host.apply(wanted)

    return killed(step, apply)


def killed(step: int, act: Callable[[Steps], None]) -> bool:
    """Act in a process of its own that is killed with SIGKILL at a step; False if it ended before that step."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act(Steps(step, lambda _: os.kill(os.getpid(), signal.SIGKILL)))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def copy_of(home: Path, name: str) -> Path:
    """Copy a host's folder, to stop an apply in it again and again."""
    place = home.parent / name
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(home, place)
    return place


def whole(host: ApplyHost, *allowed: Mapping[str, str] | None) -> list[str]:
    """Give what is wrong with the files in place: each must be one of the allowed tables, or absent for None."""
    faults = []
    for name, path in host.paths.items():
        if not path.exists():
            if None not in allowed:
                faults.append(f"{name} is gone")
            continue
        try:
            found = host.in_file(name)
        except ValueError as error:
            faults.append(f"{name} is neither: {error}")
            continue
        if found not in [each for each in allowed if each is not None]:
            faults.append(f"{name} is whole but neither old nor new")
    return faults


def at_rest(host: ApplyHost, wanted: Mapping[str, str]) -> list[str]:
    """Give what is wrong after the next apply: files and servers must have what is wanted, nothing be left over."""
    faults = whole(host, wanted)
    for name, spec in zip(host.paths, host.specs, strict=True):
        if host.servers[spec.control].served(name) != wanted:
            faults.append(f"{name} is not in service")
    faults += [f"left over: {name}" for name in host.strays()]
    faults += [f"{state.target} is pending" for state in states(host) if state.pending]
    return faults
