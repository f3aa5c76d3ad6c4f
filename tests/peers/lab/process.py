"""A server as a child of the test: started in the foreground, stopped by its process id."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

# Servers live in the administrators' folders, which a plain user's PATH leaves out on Debian.
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
_ENVIRONMENT = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"}


class LabError(Exception):
    """A peer did not start, stop or answer; the message ends with the tail of its log."""


def wait_until(ready: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    """Return as soon as *ready* does not return False; raise LabError saying *what* did not happen in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.02)


class Child:
    """One running program in a process group of its own, its output in a file.

    The kernel ends it when the test process dies (`setpriv --pdeathsig`), so nothing survives a killed test run.
    """

    def __init__(
        self,
        command: Sequence[str],
        output: Path,
        *,
        user: str | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start *command*, as *user* where one is named and the tests run as root; *environment* adds to the usual."""
        self.output = output
        prefix = ["setpriv", "--pdeathsig", "TERM", *as_user(user), "--"]
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                [*prefix, *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                process_group=0,
                env={**_ENVIRONMENT, **environment},
            )

    @property
    def pid(self) -> int:
        """Process id of the program itself: setpriv replaces itself by it."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
        """Like `wait_until`, and fail at once, with the tail of the output, when the program ends."""

        def ready_or_dead() -> bool:
            if self._process.poll() is not None:
                raise LabError(f"ended with {self._process.returncode} before: {what}")
            return ready()

        try:
            wait_until(ready_or_dead, what, seconds=seconds)
        except LabError as error:
            raise LabError(f"{error}\n{self.tail()}") from None

    def tail(self, size: int = 4000) -> str:
        """Return the end of what the program wrote."""
        return self.output.read_bytes()[-size:].decode(errors="backslashreplace")

    def stop(self, *, seconds: float = 10.0, by: signal.Signals = signal.SIGTERM) -> int:
        """Stop the program, with its whole process group if it does not go in time, and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(by)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def run(command: Sequence[str], *, folder: Path | None = None, seconds: float = 60.0) -> tuple[int, str]:
    """Run *command* to its end and return its exit code and all that it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
        env=_ENVIRONMENT,
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="backslashreplace")


def has_programs(*names: str) -> bool:
    """Tell whether this machine has all of *names*, and setpriv, which starts them."""
    return all(shutil.which(name, path=SEARCH_PATH) for name in ("setpriv", *names))


def as_user(user: str | None) -> list[str]:
    """Return the setpriv options that change to *user*: none where the tests are not root."""
    if user is None or os.geteuid() != 0:
        return []
    return ["--reuid", user, "--regid", user, "--clear-groups"]


def give_to(user: str, *folders: Path) -> None:
    """Make *user* the owner of *folders*, where the tests are root."""
    if os.geteuid() == 0:
        for folder in folders:
            shutil.chown(folder, user, user)
