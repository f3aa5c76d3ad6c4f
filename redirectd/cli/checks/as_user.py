"""What a check finds, with the eyes of the user it matters for: of the service, or of the server that reads a file."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import click

from redirectd import ownership
from redirectd.apply.control.program import run
from redirectd.errors import ConfigError, PeerError, RedirectdError, UsageError
from redirectd.plan.target import LiveTarget
from redirectd.plan.target_spec import NO_RELOAD, TargetSpec


class Level(StrEnum):
    """How bad it is: a warning leaves redirectd working, a fault does not."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `where` it is (file and key), what was found, and what to do where it is not well."""

    where: str
    level: Level
    why: str
    what_to_do: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to fix."""
        return self.level is Level.OK


def good(where: str, why: str) -> Finding:
    """It is well."""
    return Finding(where, Level.OK, why)


def fault(error: RedirectdError) -> list[Finding]:
    """The findings of an error, one for each of its faults."""
    faults = error.faults if isinstance(error, ConfigError) and error.faults else (error,)
    return [Finding(one.where, Level.FAULT, one.why, one.what_to_do) for one in faults]


SERVICE = "redirectd"
"""The user that the packaged unit runs as, and the unit's name."""

_ASKING = 5.0
_HOLDS = re.compile(
    r"(User|Group|SupplementaryGroups|UMask|Protect|Private|Restrict|SystemCall|NoNewPrivileges|Capability|LockPersonality"
    r"|MemoryDeny|IPAddress|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|NoExecPaths|ExecPaths|Bind|DevicePolicy"
    r"|KeyringMode|ProcSubset)[A-Za-z]*="
)
_WRITABLE = (f"ReadWritePaths=-/var/lib/{SERVICE}", f"ReadWritePaths=-/var/log/{SERVICE}")
"""What StateDirectory= and LogsDirectory= let the service write to."""


def account(name: str) -> pwd.struct_passwd | None:
    """The account of a user; None where there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def become(name: str) -> None:
    """Goes on as this user, with the groups that it has and that the service's unit adds. Raises UsageError."""
    found = _to_become(name)
    if os.geteuid() == 0:
        os.setgroups(_groups(found))
        os.setresgid(found.pw_gid, found.pw_gid, found.pw_gid)
        os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)


def _to_become(name: str) -> pwd.struct_passwd:
    found = account(name)
    if found is None:
        raise UsageError(f"--as {name}", "there is no such user", "name the user that the service runs as: redirectd")
    if os.geteuid() not in {0, found.pw_uid}:
        raise UsageError(f"--as {name}", "only root may look as another user does", "run it with sudo")
    return found


def program_files() -> tuple[str, ...]:
    """A file each of what this program is made of: Python, redirectd, and what it depends on."""
    return sys.executable, os.__file__, __file__, str(click.__file__)


def hidden_program(name: str) -> list[Finding]:
    """A fault where this user may not read the program: nothing more could be loaded. Raises UsageError."""
    _to_become(name)
    hidden = [file for file in program_files() if not holds_for(name, partial(os.access, file, os.R_OK))]
    if not hidden:
        return []
    why = f"the user {name} may not read it, and so can't run redirectd; nothing else was checked"
    way = "install redirectd and its Python where that user may read them, such as below /opt"
    return [Finding(f"program, {hidden[0]}", Level.FAULT, why, way)]


def holds_for(name: str, question: Callable[[], bool]) -> bool:
    """Asks a question as this user, in a process of its own."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            become(name)
            code = 0 if question() else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def denied_to_service(path: str, mode: int) -> bool:
    """Whether the service's user, where there is one, is denied what root may do with a path; False for others."""
    return os.geteuid() == 0 and account(SERVICE) is not None and not holds_for(SERVICE, lambda: os.access(path, mode))


def _groups(found: pwd.struct_passwd) -> list[int]:
    groups = set(os.getgrouplist(found.pw_name, found.pw_gid))
    for name in _of_unit(found.pw_name):
        if (added := _group(name)) is not None:
            groups.add(added)
    return sorted(groups)


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _of_unit(user: str) -> list[str]:
    """The groups that the unit and its drop-ins add; none without systemd, or where it runs as another user."""
    values = unit_properties("User", "SupplementaryGroups")
    return values.get("SupplementaryGroups", "").split() if values.get("User") == user else []


def sandbox_of_unit() -> list[str]:
    """The settings of the service's unit and its drop-ins that hold a program back; empty without it."""
    try:
        text = run("systemctl", ["systemctl", "cat", f"{SERVICE}.service"], _ASKING)
    except PeerError:
        return []
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if _HOLDS.match(line)]


def run_in_sandbox(argv: Sequence[str], settings: Iterable[str], timeout: float) -> None:
    """Runs a program as the service would, in a unit with these settings. Raises PeerError where it fails."""
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--property=RuntimeMaxSec={timeout:g}"]
    command += [f"--property={setting}" for setting in (*settings, *_WRITABLE)]
    run(" ".join(argv[:1]), [*command, *argv], timeout + _ASKING)


def unit_properties(*names: str) -> dict[str, str]:
    """What systemd has of these properties for redirectd.service; empty without systemd or such a unit."""
    command = ["systemctl", "show", f"{SERVICE}.service", f"--property=LoadState,{','.join(names)}"]
    try:
        shown = run("systemctl", command, _ASKING)
    except PeerError:
        return {}
    values = dict(line.partition("=")[::2] for line in shown.splitlines())
    return values if values.get("LoadState") == "loaded" else {}


def check_readable(where: str, path: Path, spec: TargetSpec) -> Iterator[Finding]:
    """Warns where the server's user can't read the file that is there, or the one that would be written.

    The user is the owner of the server's own socket, else the one that the server's package makes. Access lists are not
    looked into: where a file has one, nothing is said.
    """
    user = _server_user(spec)
    if user is None or user.pw_uid == 0:
        return
    try:
        uid, gid, mode = _now(path) or _new(path, spec)
    except (KeyError, OSError):
        return  # an unknown owner or group is a fault of its own, and so is a folder that is not there
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    bits = stat.S_IRUSR if uid == user.pw_uid else stat.S_IRGRP if gid in groups else stat.S_IROTH
    if not mode & bits:
        group = _group_name(user.pw_gid)
        yield Finding(
            where,
            Level.WARNING,
            f"the server runs as {user.pw_name}, which can't read a file of mode {mode:04o}, owner {_owner_name(uid)} "
            f"and group {_group_name(gid)}",
            f'set group = "{group}" on the target (and chgrp {group} {path} where it is there already); '
            f"the user that runs redirectd must be in that group",
        )


def _server_user(spec: TargetSpec) -> pwd.struct_passwd | None:
    if spec.control == NO_RELOAD or (isinstance(spec.target, LiveTarget) and spec.target.listing() is not None):
        return None  # there is no server, or one that reads no file
    try:
        _, unix, socket = spec.control.partition(":unix:")
        if unix and Path(socket).is_socket():
            return pwd.getpwuid(Path(socket).stat().st_uid)
        return pwd.getpwnam(spec.kind.partition("-")[0])
    except (KeyError, OSError):
        return None


def _now(path: Path) -> tuple[int, int, int] | None:
    """Owner, group and mode of the file that is there, which are kept."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if "system.posix_acl_access" in os.listxattr(path):
        raise OSError("an access list decides")
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def _new(path: Path, spec: TargetSpec) -> tuple[int, int, int]:
    """The same of a new file; a folder with the set-group bit gives its own group, and to root's files its owner."""
    folder = path.parent.stat()
    heir, heirs = ownership.of_folder(path.parent)
    own = folder.st_gid if folder.st_mode & stat.S_ISGID else os.getegid() if heirs < 0 else heirs
    uid = (os.geteuid() if heir < 0 else heir) if spec.owner is None else pwd.getpwnam(spec.owner).pw_uid
    gid = own if spec.group is None else grp.getgrnam(spec.group).gr_gid
    return uid, gid, spec.mode


def _owner_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
