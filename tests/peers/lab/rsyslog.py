"""An rsyslogd of the test's own, which one program of the test sees as /dev/log."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.peers.lab.process import Child, has_programs

_CONFIG = """
global(workDirectory="{folder}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" RateLimit.Interval="0")
*.* action(type="omfile" file="{log}" template="{template}")
"""

# A private view of /dev for one program: links to the real entries, and `log` leads to the test's socket.
# The machine's own /dev is not touched, and the view goes with the program.
_DEV_LOG = """
mkdir -p {folder}/dev
mount --rbind /dev {folder}/dev
mount -t tmpfs tmpfs /dev
for entry in {folder}/dev/*; do ln -s "$entry" /dev/; done
rm -f /dev/log
ln -s {socket} /dev/log
exec {command}
"""


class Rsyslog:
    """A syslog daemon that writes all it gets into one file, as Debian's default template does."""

    def __init__(self, folder: Path, template: str = "RSYSLOG_FileFormat") -> None:
        """Write the configuration into *folder*; *template* names one of rsyslog's built-in line formats."""
        self._folder = folder
        self._socket = folder / "syslog.sock"
        self._config = folder / "rsyslog.conf"
        self._child: Child | None = None
        self.log_file = folder / "syslog"
        self._config.write_text(
            _CONFIG.format(folder=folder, socket=self._socket, log=self.log_file, template=template)
        )

    def start(self) -> None:
        """Start, and return when the socket is there."""
        self.log_file.touch()
        command = ["rsyslogd", "-n", "-f", str(self._config), "-i", str(self._folder / "rsyslogd.pid")]
        self._child = Child(command, self._folder / "rsyslogd.out")
        self._child.wait_until(self._socket.exists, "rsyslogd opens its socket")

    def stop(self) -> None:
        """Stop: what was received is written by then."""
        if self._child:
            self._child.stop()
            self._child = None

    def as_dev_log(self, command: Sequence[str]) -> list[str]:
        """Return *command* in a mount namespace where /dev/log is this daemon's socket; needs root."""
        script = _DEV_LOG.format(folder=self._folder, socket=self._socket, command=shlex.join(command))
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script]


def installed() -> bool:
    """Tell whether this machine has rsyslogd, and whether we may give a program a /dev of its own."""
    return has_programs("rsyslogd", "unshare") and os.geteuid() == 0
