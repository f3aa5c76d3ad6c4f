"""The eyes of the service's user: what root finds in order, it may not reach."""

from __future__ import annotations

import grp
import os
import pwd
import re
from collections.abc import Callable, Iterable, Sequence

from redirectd.apply.control.program import run
from redirectd.errors import PeerError, UsageError

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
    found = account(name)
    if found is None:
        raise UsageError(f"--as {name}", "there is no such user", "name the user that the service runs as: redirectd")
    if os.geteuid() not in {0, found.pw_uid}:
        raise UsageError(f"--as {name}", "only root may look as another user does", "run it with sudo")
    if os.geteuid() == 0:
        os.setgroups(_groups(found))
        os.setresgid(found.pw_gid, found.pw_gid, found.pw_gid)
        os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)


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
