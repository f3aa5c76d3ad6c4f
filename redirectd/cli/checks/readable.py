"""Whether the server will be able to read the file that is written for it: a new one has mode 0640."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from redirectd import ownership
from redirectd.cli.checks.finding import Finding, Level
from redirectd.plan.target import LiveTarget
from redirectd.plan.target_spec import NO_RELOAD, TargetSpec


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
