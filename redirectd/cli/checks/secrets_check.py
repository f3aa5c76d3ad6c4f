"""The secrets: who may read and change their files, and whether both copies of a record key agree (R39)."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from redirectd.cli.checks.as_user import Finding, Level, good
from redirectd.cli.recordkey import KAMAILIO_COPY, key_in_cfg
from redirectd.config.model import Config
from redirectd.config.secrets import DEFAULT, key_files, read_key

_MAKE = "as root: redirectd init"


def check_secrets(config: Config) -> Iterator[Finding]:
    """Looks at each configured secret file, at the configuration that holds a password, and at the record keys."""
    for name, file in _password_files(config):
        yield from check_closed(f"{name}, {file}", file)
    if config.file is not None and _has_password(config.database.url):
        yield from check_closed(f"database.url, {config.file}", config.file)
    for target in config.target:
        if config.file is not None and target.database is not None and _has_password(target.database):
            yield from check_closed(f"target {target.name}, database, {config.file}", config.file)
    yield from check_record_keys(config, KAMAILIO_COPY)


def _password_files(config: Config) -> Iterator[tuple[str, Path]]:
    if config.database.password_file is not None:
        yield "database.password_file", config.resolve(config.database.password_file)
    for target in config.target:
        if target.password_file is not None:
            yield f"target {target.name}, password_file", config.resolve(target.password_file)
        if target.database_password_file is not None:
            yield f"target {target.name}, database_password_file", config.resolve(target.database_password_file)


def _has_password(url: str) -> bool:
    try:
        parsed = make_url(url)
    except ArgumentError:
        return False  # its own check says so
    return parsed.password is not None or any("password" in name for name in parsed.query)


def check_closed(where: str, file: Path, holds: str = "a secret") -> Iterator[Finding]:
    """A file that others may read or change; one that can't be looked at is reported by whatever needs it."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return
    if mode & stat.S_IRWXO:
        yield Finding(
            where,
            Level.WARNING,
            f"every user of this host may {'read' if mode & stat.S_IROTH else 'change'} it (mode {mode & 0o777:04o}), "
            f"and it holds {holds}",
            f"chmod o= {file}",
        )


def check_record_keys(config: Config, kamailio: Path) -> Iterator[Finding]:
    """The keys that prove Kamailio's records: redirectd's files, and the copy that Kamailio includes."""
    files = dict.fromkeys(file for source in [*config.source, None] for file in key_files(source, config))
    own = [file for file in files if file != DEFAULT or os.path.lexists(file)]
    for file in own:
        yield from _check_key(f"record key {file}", file, "redirectd")
    has_copy = os.path.lexists(kamailio)
    if not kamailio.parent.is_dir() or not (own or has_copy):
        return  # a host without Kamailio, or records without proofs: the logs show it (`sources_check`)
    if not has_copy:
        why = "Kamailio has no key: its records carry no proof, and what is known only from them is held as unkeyed"
        yield Finding(f"record key {kamailio}", Level.WARNING, why, _MAKE)
    elif not own:
        why = "there is no record key: no record can be proven, and what is known only from them is held as unkeyed"
        yield Finding(f"record key {DEFAULT}", Level.WARNING, why, _MAKE)
    else:
        yield from _check_copy(f"record key {kamailio}", kamailio, own)


def _check_key(where: str, file: Path, group: str) -> Iterator[Finding]:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        why = f"it can't be read: {error.strerror}; the records it would prove count as unkeyed or forged"
        yield Finding(
            where, Level.FAULT, why, f"chgrp {group} {file} && chmod 0640 {file}; or name another in record_keys"
        )
        return
    if read_key(file) is None:
        yield Finding(where, Level.FAULT, "it does not hold a key of 64 hex digits", f"move it away; then {_MAKE}")
        return
    rights = list(_check_rights(where, file, group))
    yield from rights or [good(where, "readable, and nobody but root may change it")]


def _check_copy(where: str, file: Path, own: list[Path]) -> Iterator[Finding]:
    if not os.access(file, os.R_OK):
        yield from _check_rights(where, file, "kamailio")
        yield good(where, "there; this user may not read it, root's 'redirectd check' compares it with redirectd's")
        return
    key = key_in_cfg(file)
    if key is None:
        yield Finding(where, Level.FAULT, "it does not hold a key of 64 hex digits", f"move it away; then {_MAKE}")
    elif key not in {read_key(one) for one in own}:
        why = f"its key is none of {', '.join(map(str, own))}: Kamailio's records count as forged"
        fix = f"move {file} away, as root: redirectd init, then restart Kamailio"
        yield Finding(where, Level.FAULT, why, fix)
    else:
        rights = list(_check_rights(where, file, "kamailio"))
        yield from rights or [good(where, "Kamailio's key is one of redirectd's")]


def _check_rights(where: str, file: Path, group: str) -> Iterator[Finding]:
    """Root alone may change a key, and nobody beside the group may read it: whoever knows it can write proofs."""
    try:
        status = file.stat()
        folder = file.parent.stat()
    except OSError:
        return
    fix = f"chown root:{group} {file} && chmod 0640 {file}"
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        who = _user(status.st_uid) if status.st_uid else "its group or every user"
        yield Finding(where, Level.FAULT, f"{who} may change it, and with it forge records", fix)
    elif status.st_mode & stat.S_IROTH:
        yield Finding(where, Level.FAULT, "every user of this host may read it, and with it forge records", fix)
    elif status.st_mode & stat.S_IRGRP and _group(status.st_gid) not in {group, "root"}:
        yield Finding(where, Level.WARNING, f"the group {_group(status.st_gid)} may read it", fix)
    elif folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        why = f"every user of this host may replace it: {file.parent} has mode {folder.st_mode & 0o7777:04o}"
        yield Finding(where, Level.FAULT, why, f"chmod o-w {file.parent}")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
