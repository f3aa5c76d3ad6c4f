"""Installing the systemd units that the wheel carries: the commands an administrator would type, shown or run."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from redirectd.cli.snippets.freepbx_fit import FOLDER
from redirectd.errors import InstallError

if TYPE_CHECKING:
    from redirectd.cli.survey import Host

_PACKAGE = Path(__file__).parents[1]
_UNITS = ("redirectd.service", "redirectd-apply.service", "redirectd-apply.timer")
_COMMAND = "/usr/bin/redirectd"

Command = Sequence[str]


def files() -> Path:
    """The folder with the units, drop-ins, sysusers and tmpfiles: in the wheel, or in the tree beside the package."""
    carried = _PACKAGE / "systemd"
    return carried if carried.is_dir() else _PACKAGE.parent / "systemd"


def commands(host: Host, program: Path) -> Iterator[Command]:
    """What installs the service on this host; each command may be run again without harm.

    `program` is the redirectd to start, linked to where the units expect it. A server's drop-in and folder come with
    the server's group; nothing is started, since that wants a configuration that `redirectd check` finds in order.
    """
    units = files()
    if program != Path(_COMMAND):
        yield "ln", "-sfn", str(program), _COMMAND
    yield "install", "-D", "-m", "644", "-t", "/etc/systemd/system", *(str(units / name) for name in _UNITS)
    yield "install", "-D", "-m", "644", str(units / "redirectd.sysusers"), "/etc/sysusers.d/redirectd.conf"
    yield "install", "-D", "-m", "644", str(units / "redirectd.tmpfiles"), "/etc/tmpfiles.d/redirectd.conf"
    yield "systemd-sysusers", "/etc/sysusers.d/redirectd.conf"
    yield "systemd-tmpfiles", "--create", "/etc/tmpfiles.d/redirectd.conf"
    for server, folder in (("kamailio", host.kamailio_folder), ("asterisk", host.asterisk_folder)):
        if folder is not None and server in host.groups:
            own = Path(FOLDER) if server == "asterisk" and host.generated else folder / "redirectd"
            yield from _for_server(server, own, units)
    yield "systemctl", "daemon-reload"


def _for_server(server: str, folder: Path, units: Path) -> Iterator[Command]:
    # Set-group-ID: what is generated there belongs to the server's group, which has to read it.
    yield "install", "-d", "-o", "redirectd", "-g", server, "-m", "2750", str(folder)
    for unit in ("redirectd.service.d", "redirectd-apply.service.d"):
        drop_in = str(units / "drop-ins" / f"{server}.conf")
        yield "install", "-D", "-m", "644", "-t", f"/etc/systemd/system/{unit}", drop_in


def this_program() -> Path:
    """The `redirectd` of the environment that runs now."""
    beside = Path(sys.prefix) / "bin" / "redirectd"
    return beside if beside.exists() else Path(shutil.which("redirectd") or beside)


def run(command: Command) -> None:
    """Runs one command. Raises InstallError with what it said."""
    try:
        # Built from names of our own alone, and never given to a shell.
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    except OSError as error:
        raise InstallError(shlex.join(command), error.strerror or str(error), "install what it needs") from error
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise InstallError(shlex.join(command), said, "run this as root, on a host that systemd has booted")
