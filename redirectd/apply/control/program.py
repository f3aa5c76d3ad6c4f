"""Running programs with an end to the wait: a server's own command line client, and the operator's own programs.

The latter are a channel (``run:``): `check`, `reload` and `verify` of a file of no known server. Whoever could change
such a program could do what the service may, so it has to be root's, with every folder above it. It is run as the
service's user also where root applies by hand, with an empty environment but for PATH, and with its children it is
ended at the time-out.
"""

from __future__ import annotations

import errno
import os
import pwd
import selectors
import signal
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from redirectd.apply.control.channel import SHOWN, AnswerError
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply
from redirectd.sip.text import printable

SERVICE_USER = "redirectd"
MOST_OUTPUT = 64 << 10
"""Bytes of what a program prints that are kept; what comes after is read and thrown away."""

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_TICK = 0.1
_KILLING = 1.0
"""Seconds within which what is killed is gone; what runs as another user (sudo) may not be killed at all."""
_MOST_LINKS = 40  # as Linux


def run(where: str, argv: Sequence[str], timeout: float) -> str:
    """Give what the program writes to standard output; PeerError if it can't run, fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own program, no shell, arguments as a list
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise PeerError(
            where,
            f"{argv[0]} did not end within {timeout:g} s",
            "see whether the server hangs; raise `timeout` if it is only slow",
        ) from None
    except OSError as error:
        raise PeerError(where, f"{argv[0]} cannot be run ({error.strerror})", "install it, or give its path") from None
    if done.returncode != 0:
        said = printable((done.stderr + done.stdout).decode("utf-8", "replace").strip(), SHOWN)
        raise PeerError(
            where, f"{argv[0]} failed with exit code {done.returncode}: {said}", "see whether the server runs"
        )
    return done.stdout.decode("utf-8", "surrogateescape")


class OwnPrograms:
    """Runs the programs of one target; a command's arguments are the whole argument list."""

    def __init__(self, target: str, timeout: float) -> None:
        self._where = f"target {target}"
        self._timeout = timeout

    def ask(self, command: Command) -> Reply:
        """Give what the program prints, for exit code 0; AnswerError for all else. Nothing to run gives nothing."""
        argv = [str(argument) for argument in command.args]
        if not argv:
            return ""
        where = f"{self._where}, {command.name}"
        fault = program_fault(argv[0])
        if fault is not None:
            raise AnswerError(where, 0, f"{argv[0]} is not run: {fault}", "give it, and its folders, to root alone")
        code, said = _run(where, argv, self._timeout)
        if code is None:
            raise AnswerError(
                where, 0, f"{argv[0]} did not end within {self._timeout:g} s: {said}", "raise `timeout`, or look why"
            )
        if code != 0:
            raise AnswerError(where, code, f"{argv[0]} ended with exit code {code}: {said}", "see what it says")
        return said

    def describe(self) -> str:
        """Name what it is."""
        return f"own programs of {self._where}"

    def probe(self) -> str:
        """Nothing is asked: each program is looked at when it is run."""
        return "run as they are configured"

    def close(self) -> None:
        """Nothing is held open."""


def program_fault(path: str) -> str | None:
    """Say why a program is not safe, or not able, to be run: it is root's alone, with every folder above it."""
    if not path.startswith("/"):
        return "it is not an absolute path"
    try:
        *folders, real = _way_to(path)
        for each in (*folders, real):
            status = each.stat()
            if each is real and not (stat.S_ISREG(status.st_mode) and status.st_mode & 0o111):
                return "it is not a program"
            if status.st_uid != 0 or status.st_mode & _FOR_OTHERS:
                return f"others than root may change {each}"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _way_to(path: str) -> Iterator[Path]:
    """Give each folder that a path leads through, those that hold links on its way, too, and last where it ends."""
    at, left, links = Path("/"), list(reversed(Path(path).parts[1:])), 0
    yield at
    while left:
        name = left.pop()
        step = at.parent if name == ".." else at / name
        if not step.is_symlink():
            at = step
            yield at
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        to = step.readlink()
        left += reversed(to.parts[1:] if to.is_absolute() else to.parts)
        if to.is_absolute():
            at = Path("/")


def _as_service(where: str) -> dict[str, Any]:
    """Give the user that root runs a program as; nothing for everybody else, who runs it as himself."""
    if os.geteuid() != 0:
        return {}
    try:
        found = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        why = f"there is no user {SERVICE_USER} to run it as, and root does not"
        raise AnswerError(where, 0, why, "make that user (see systemd/sysusers.conf)") from None
    groups = os.getgrouplist(found.pw_name, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups}


def _run(where: str, argv: Sequence[str], timeout: float) -> tuple[int | None, str]:
    """Give the exit code, None at the time-out, and what was printed, escaped; the whole group is ended after it."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own program, no shell, arguments of the configuration
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
            umask=0o077,
            **_as_service(where),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise AnswerError(where, 0, f"{argv[0]} cannot be run ({error})", "see its rights and its first line") from None
    try:
        output = _read(process, monotonic() + timeout)
        code = process.poll()
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_KILLING)
        if process.stdout is not None:
            process.stdout.close()
    return code, printable(output.decode("utf-8", "replace").strip(), MOST_OUTPUT)


def _read(process: subprocess.Popen[bytes], end: float) -> bytes:
    """Read what it prints until it has ended or the time is up; children that keep the pipe open are not waited for."""
    assert process.stdout is not None
    kept = bytearray()
    os.set_blocking(process.stdout.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        is_open = True
        while (left := end - monotonic()) > 0:
            has_ended = process.poll() is not None
            if not is_open:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(min(left, _TICK))
            elif selector.select(0 if has_ended else min(left, _TICK)):
                part = os.read(process.stdout.fileno(), 1 << 16)
                kept += part[: MOST_OUTPUT - len(kept)]
                is_open = bool(part)
                if is_open:
                    continue
                selector.unregister(process.stdout)
            if has_ended:
                break
    return bytes(kept)
