"""A host of a test's own: this machine's system folders as they are, what is changed in them gone with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.page import ROOT, Block, Command, blocks, commands
from tests.peers.lab.process import Child, wait_until
from tests.peers.stock import ASTERISK_ROOT

_SET_UP = r"""
set -e
mount -t tmpfs none {layers}
for folder in /etc /var /run; do
  name=$(basename $folder)
  mkdir {layers}/$name.upper {layers}/$name.work
  mount -t overlay overlay -o lowerdir=$folder,upperdir={layers}/$name.upper,workdir={layers}/$name.work $folder
done
if [ "{asterisk}" != / ]; then
  rm -rf /etc/asterisk
  cp -r "{asterisk}/etc/asterisk" /etc/
  chown -R asterisk:asterisk /etc/asterisk
fi
rm -rf /var/log/kamailio.log /var/log/asterisk/full /etc/redirectd /var/lib/redirectd /etc/kamailio/redirectd
getent passwd redirectd >/dev/null || useradd -r -d /var/lib/redirectd redirectd
install -d /etc/redirectd
install -d -o redirectd -g redirectd /var/lib/redirectd /run/redirectd
touch {layers}/../ready
exec sleep infinity
"""

_SYSTEMCTL = r"""#!/bin/sh
# What the tutorials ask of systemd: the packaged service, its output where syslog would put it.
[ "$1 $2" = "restart kamailio" ] || exit 1
[ ! -s /run/kamailio/kamailio.pid ] || kill "$(cat /run/kamailio/kamailio.pid)"
kamailio -P /run/kamailio/kamailio.pid -f /etc/kamailio/kamailio.cfg -m 64 -M 8 -u kamailio -g kamailio -DD -E \
  </dev/null >>/var/log/kamailio.log 2>&1 &
for _ in $(seq 200); do [ ! -S /run/kamailio/kamailio_rpc.sock ] || exit 0; sleep 0.1; done
exit 1
"""


class OwnHost:
    """Runs commands in a mount and process namespace; all of it ends with the test."""

    def __init__(self, folder: Path, holder: int) -> None:
        self._folder = folder
        self._holder = holder

    def path(self, path: str) -> Path:
        """A file of this host, as it is reached from the test."""
        return Path(f"/proc/{self._holder}/root{path}")

    def run(self, command: str, *, code: int = 0) -> str:
        """Runs a command line as root, expects its exit code, gives what it printed."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._holder), "-m", "-p", "--", "bash", "-c", command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, env=self._environment(),
        )  # fmt: skip
        assert done.returncode == code, f"$ {command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        search = f"{self._folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": search, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "HOME": "/root"}


@contextmanager
def own_host(folder: Path) -> Iterator[OwnHost]:
    """Gives a host with the packages' own files, and the user and folders that redirectd's package makes."""
    (folder / "layers").mkdir()
    (folder / "bin").mkdir()
    for name, text in (
        ("systemctl", _SYSTEMCTL),
        ("redirectd", f'#!/bin/sh\nexec {sys.executable} -m redirectd "$@"\n'),
    ):
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    command = ["unshare", "-m", "-p", "--propagation", "private", "--fork", "--kill-child", "--mount-proc"]
    script = _SET_UP.format(layers=folder / "layers", asterisk=ASTERISK_ROOT)
    if Path("/") != ASTERISK_ROOT:
        (folder / "bin/asterisk").symlink_to(shutil.which("asterisk") or "none")
    with Child([*command, "sh", "-c", script], folder / "host.log") as child:
        child.wait_until((folder / "ready").exists, "the namespaces are set up")
        yield OwnHost(folder, _child_of(child.pid))


def _child_of(pid: int) -> int:
    found: list[str] = []

    def there() -> bool:
        found[:] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return bool(found)

    wait_until(there, "the first process of the namespace")
    return int(found[0])


def can_have_own_host() -> bool:
    """Whether this machine lets the tests make such a host."""
    return (
        os.geteuid() == 0
        and not subprocess.run(
            ["unshare", "-m", "-p", "--fork", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False
        ).returncode
    )


def to_do(page: str, last_section: str, first_section: str = "") -> Iterator[Block | Command]:
    """The files and commands of a page in their order, from a section to the end of another."""
    for block in blocks(ROOT / "docs" / page):
        if block.section > last_section:
            return
        if block.section < first_section:
            continue
        if block.mark[0] in ("file", "append"):
            yield block
        elif block.language == "console":
            yield from commands(block)
