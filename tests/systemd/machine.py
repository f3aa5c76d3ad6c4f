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
PATIENCE = 180.0
"""Seconds; above the minute between two runs of a schedule, on a machine that is busy with other things."""

_BOOT = Path(__file__).with_name("boot.sh")
_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net")
_TOOLS = ("systemctl", "unshare", "nsenter", "setpriv", "pivot_root", "ip")
_REMOVE_CGROUP = """
mount --make-rprivate / && mount -t cgroup2 cgroup2 "$1" && cd "$1$(sed -n 's/^0:://p' /proc/self/cgroup)" || exit
for _ in $(seq 50); do
    find "$2" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -e "$2" ] || exit 0
    sleep 0.1
done
"""


def missing_tools() -> str | None:
    """What the packages of Debian that `.ci/install-peers` installs would bring; None if nothing is missing."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def kernel_forbids(folder: Path) -> str | None:
    """Why no machine can be booted by this user on this kernel, which no package mends; None if one can."""
    if os.geteuid() != 0:
        return "only root may make namespaces and mounts"
    command = ["unshare", *_NAMESPACES, "--fork", "sh", str(_BOOT), str(folder), f"redirectd-try-{folder.name}"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"the kernel forbids it: {tried.stderr.strip()}" if tried.returncode else None


class Machine:
    """A booted machine with redirectd's units installed, unless it is told not to, and nothing of them started."""

    def __init__(self, folder: Path, *, installed: bool = True) -> None:
        self._installed = installed
        self._folder = folder
        self._console = folder / "console"
        self._mounted = folder / "machine"
        self._cgroup = f"redirectd-test-{folder.name}"
        self.pid = 0

    def __enter__(self) -> Self:
        self._mounted.mkdir()
        source = str(ROOT) if self._installed else "-"
        places = [str(self._mounted), self._cgroup, source, sysconfig.get_path("purelib"), sys.base_prefix]
        with self._console.open("wb") as console:
            self._unshare = subprocess.Popen(
                ["unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", str(_BOOT), *places],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            self._until(self._first_process, "its first process")
            self._until(self._is_running, "systemd is up")
            if self._installed:
                self.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/redirectd.conf")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._unshare.kill()
        self._unshare.wait()
        command = ["unshare", "--mount", "sh", "-c", _REMOVE_CGROUP, "sh", str(self._mounted), self._cgroup]
        subprocess.run(command, check=False)

    def run(self, *command: str, check: bool = True, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command inside; its output is text."""
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"] if user else []
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", *as_user, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.journal('redirectd*')}"
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
