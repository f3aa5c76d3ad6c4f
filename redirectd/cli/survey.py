"""What is found on this host, logs, control sockets and configuration folders, and installing the systemd units."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from redirectd.cli.snippets.fitted import generator_in
from redirectd.cli.snippets.freepbx_fit import FOLDER
from redirectd.errors import InstallError

_KAMAILIO_LOGS = ("var/log/kamailio.log", "var/log/kamailio/kamailio.log", "var/log/syslog", "var/log/messages")
_KAMAILIO_SOCKETS = ("run/kamailio/kamailio_rpc.sock", "var/run/kamailio/kamailio_rpc.sock", "tmp/kamailio_rpc.sock")
_DISPATCHER_LISTS = ("etc/kamailio/dispatcher.list", "usr/local/etc/kamailio/dispatcher.list")
_JOURNALS = ("run/systemd/journal/socket", "var/log/journal")
_ASTERISK_LOGS = ("var/log/asterisk/full", "var/log/asterisk/full.log")


@dataclass(frozen=True, slots=True)
class Host:
    """Each path is None where it does not exist. `can_own` says whether the system's folders are ours to write.

    `groups` are the system's groups, `generated` says that FreePBX or Issabel write Asterisk's files, and `journal`
    that the system has a journal, where Debian 12 and later log what no syslog writes to a file.
    """

    kamailio_folder: Path | None
    kamailio_log: Path | None
    kamailio_socket: Path | None
    dispatcher_list: Path | None
    asterisk_folder: Path | None
    asterisk_log: Path | None
    can_own: bool
    groups: frozenset[str] = frozenset()
    generated: bool = False
    journal: bool = False

    @property
    def asterisk_files(self) -> Path:
        """Where the files for Asterisk go: a folder that redirectd may write to, and Asterisk read."""
        return Path(FOLDER) if self.generated else (self.asterisk_folder or Path("/etc/asterisk")) / "redirectd"


def look_around(root: Path = Path("/")) -> Host:
    """Looks at this host; `root` is where its file system begins."""
    kamailio = _first(root, ("etc/kamailio", "usr/local/etc/kamailio"))
    asterisk = _first(root, ("etc/asterisk",))
    return Host(
        kamailio_folder=kamailio,
        kamailio_log=_first(root, _KAMAILIO_LOGS) if kamailio else None,
        kamailio_socket=_first(root, _KAMAILIO_SOCKETS),
        dispatcher_list=_first(root, _DISPATCHER_LISTS),
        asterisk_folder=asterisk,
        asterisk_log=_first(root, _ASTERISK_LOGS),
        can_own=os.access(root / "var/lib", os.W_OK),
        groups=_groups(root / "etc/group"),
        generated=generator_in(str(asterisk)) is not None if asterisk else False,
        journal=_first(root, _JOURNALS) is not None,
    )


def _groups(file: Path) -> frozenset[str]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[0] for line in lines)


def _readable_by(server: str, host: Host) -> dict[str, object]:
    """New files are for their group only: that of the server, as its package names it, must be able to read them."""
    return {"group": server} if server in host.groups else {}


def _family(log: Path) -> str:
    """The log's family as its first entries show it, so that nothing that is written later decides; else `auto`."""
    from redirectd.dialects.family import SAMPLE
    from redirectd.dialects.registry import envelope_of
    from redirectd.errors import RedirectdError
    from redirectd.sources.file import open_log

    try:
        with open_log(log) as opened:
            return envelope_of(opened.read(opened.start, SAMPLE)) or "auto"
    except RedirectdError:
        return "auto"


def _first(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).exists()), None)


def values(host: Host) -> dict[str, object]:
    """The configuration for what was found, as `redirectd.config.reference.template` takes it."""
    sources: list[dict[str, object]] = []
    targets: list[dict[str, object]] = []
    if host.kamailio_folder:
        log = host.kamailio_log or Path("/var/log/kamailio.log")
        if host.kamailio_log is None and host.journal:
            sources.append({"name": "kamailio", "kind": "journal", "units": ["kamailio.service"]})
        else:
            sources.append({"name": "kamailio", "kind": "file", "path": str(log), "dialect": _family(log)})
        targets += _kamailio_targets(host, host.kamailio_folder)
    if host.asterisk_folder:
        log = host.asterisk_log or Path("/var/log/asterisk/full")
        sources.append({"name": "asterisk", "kind": "file", "path": str(log), "dialect": _family(log)})
        targets.append(
            {
                "name": "asterisk",
                "kind": "asterisk-dialplan",
                "width": "user",
                "path": str(host.asterisk_files / "extensions_redirectd.conf"),
                "match": "request-uri",
                "reload": "asterisk -rx",
                **_readable_by("asterisk", host),
            }
        )
    found: dict[str, object] = {}
    if not host.can_own:
        found["database"] = {"url": "sqlite:///redirectd.db"}
        found["daemon"] = {"socket": "redirectd.sock"}
    if sources:
        found["source"] = sources
    if targets:
        found["target"] = targets
    return found


def _kamailio_targets(host: Host, folder: Path) -> list[dict[str, object]]:
    socket = host.kamailio_socket or Path("/run/kamailio/kamailio_rpc.sock")
    reload = f"jsonrpc:unix:{socket}"
    targets: list[dict[str, object]] = [
        {
            "name": "users",
            "kind": "kamailio-htable",
            "path": str(folder / "redirectd" / "redirectd_htable"),
            "match": "request-uri",
            "reload": reload,
            **_readable_by("kamailio", host),
        }
    ]
    if host.dispatcher_list:
        # A list that is in use is not taken over unasked: the operator points Kamailio at the new file, or renames.
        targets.append(
            {
                "name": "dispatcher",
                "kind": "kamailio-dispatcher",
                "path": str(folder / "redirectd" / "dispatcher.list"),
                "base": str(host.dispatcher_list),
                "reload": reload,
                **_readable_by("kamailio", host),
            }
        )
    return targets


_PACKAGE = Path(__file__).parents[1]
_UNITS = ("redirectd.service", "redirectd-apply.service", "redirectd-apply.timer", "redirectd-console.service")
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
    for server, folder in _server_folders(host):
        yield make_folder(server, folder)
        for unit in ("redirectd.service.d", "redirectd-apply.service.d"):
            drop_in = str(units / "drop-ins" / f"{server}.conf")
            yield "install", "-D", "-m", "644", "-t", f"/etc/systemd/system/{unit}", drop_in
    yield "systemctl", "daemon-reload"


def _server_folders(host: Host) -> Iterator[tuple[str, Path]]:
    """The folder of each server that is here and has a group of its own."""
    if host.kamailio_folder is not None and "kamailio" in host.groups:
        yield "kamailio", host.kamailio_folder / "redirectd"
    if host.asterisk_folder is not None and "asterisk" in host.groups:
        yield "asterisk", host.asterisk_files


def make_folder(server: str, folder: Path) -> Command:
    """What makes a folder for a server's files. Set-group-ID: they belong to its group, which has to read them."""
    return "install", "-d", "-o", "redirectd", "-g", server, "-m", "2750", str(folder)


def missing_folders(host: Host) -> list[Command]:
    """What makes the folders of the targets that `values` gives, where they are not there yet."""
    return [make_folder(server, folder) for server, folder in _server_folders(host) if not folder.is_dir()]


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
