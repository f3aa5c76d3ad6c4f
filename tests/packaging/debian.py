"""A clean Debian 12 in a folder, made once by debootstrap from this machine's mirror and kept outside of the tree."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

INCLUDE = "procps,python3,systemd"
"""What the package depends on; everything else of a Debian is left out (minbase)."""

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "redirectd-tests"
_ALONE = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child")
_RUN = 'mount -t proc proc "$1/proc" && exec chroot "$@"'


class Debian:
    """A root folder of its own, with commands run in namespaces of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        subprocess.run(["tar", "-C", str(root), "-xpf", str(_archive())], check=True)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command inside, without a network and as root; its output is text, both streams together."""
        done = subprocess.run(
            [*_ALONE, "sh", "-c", _RUN, "sh", str(self.root), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}"
        return done

    def files(self) -> set[str]:
        """Every path in it."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


def _archive() -> Path:
    """The clean system as an archive; made where it is not there yet, by one process at a time."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    archive = _CACHE / f"bookworm-{INCLUDE.replace(',', '-')}.tar"
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _make(archive)
    return archive


def _make(archive: Path) -> None:
    folder, unfinished = _CACHE / "making", archive.with_suffix(".unfinished")
    shutil.rmtree(folder, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={INCLUDE}", "bookworm", str(folder), _mirror()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"debootstrap: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    shutil.rmtree(folder / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(folder / "var/lib/apt/lists", ignore_errors=True)
    subprocess.run(["tar", "-C", str(folder), "-cpf", str(unfinished), "."], check=True)
    unfinished.replace(archive)
    shutil.rmtree(folder)


def _mirror() -> str:
    """The Debian mirror that this machine's apt is set to."""
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.partition(" ")[2] for line in lines if line.startswith("bookworm ")]
    assert found, "apt knows no mirror of Debian 12"
    return found[0]
