"""A real systemd, booted in namespaces of its own over a copy-on-write view of this host. Gone with its process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")


def why_not() -> str | None:
    """Why no machine can be booted here; None if one can."""
    if os.geteuid() != 0:
        return "only root may make namespaces and mounts"
    missing = [tool for tool in ("systemctl", "unshare", "nsenter", "pivot_root", "ip") if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(["unshare", *_NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else None


class Machine:
    """A booted machine with redirectd's units installed and nothing of them started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._console = folder / "console"
        self._mounted = folder / "machine"
        self.pid = 0

    def __enter__(self) -> Self:
        self._mounted.mkdir()
        script = Path(__file__).with_name("boot.sh")
        places = [str(self._mounted), str(ROOT), sysconfig.get_path("purelib"), sys.base_prefix]
        with self._console.open("wb") as console:
            self._unshare = subprocess.Popen(
                ["unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", str(script), *places],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            self._until(self._first_process, "its first process")
            self._until(self._is_running, "systemd is up")
            self.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/redirectd.conf")
        except BaseException:
            self._unshare.kill()
            self._unshare.wait()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unshare.kill()
        self._unshare.wait()

    def run(self, *command: str, check: bool = True, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command inside; its output is text."""
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", *as_user, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE * 2,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done

    def path(self, inside: str) -> Path:
        """A path inside, as the test reaches it."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def show(self, unit: str, prop: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", prop, unit).stdout.strip()

    def journal(self, unit: str = "redirectd") -> str:
        """What a unit logged, and what systemd said of it."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, check=False).stdout

    def until(self, ready: Callable[[], Any], what: str) -> Any:
        """The first true value of `ready`."""
        return self._until(ready, what)

    def _until(self, ready: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := ready()):
            ended = self._unshare.poll() is not None
            tail = self._console.read_text(errors="replace")[-3000:]
            assert not ended, f"the machine ended before: {what}\n{tail}"
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain: {what}\n{tail}\n{self.journal() if self.pid else ''}")
            time.sleep(0.05)
        return found

    def _first_process(self) -> bool:
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        self.pid = int(children[0]) if children else 0
        # Before the last step of the script its root is still the host's.
        return bool(self.pid) and Path(f"/proc/{self.pid}/comm").read_text().strip() == "systemd"

    def _is_running(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}
