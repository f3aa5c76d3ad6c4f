"""What a process with the service's rights tries to do: runs in place of the service, tells as JSON what came of it.

Alone and without imports from here, since it runs inside of the booted machine.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

OUTSIDE = "192.0.2.1"
"""An address that is this machine's own and not of the loopback network: a listener waits there, on port 7."""

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _write(path: str) -> Callable[[], object]:
    return lambda: Path(path, "redirectd-probe").write_text("x")


def _connect(address: str) -> Callable[[], object]:
    return lambda: socket.create_connection((address, 7), timeout=5).close()


def _set_user_id_bit() -> None:
    path = Path("/var/lib/redirectd/redirectd-probe")
    path.write_text("x")
    path.chmod(0o4755)


def _see_others() -> None:
    """Raises unless a process of another user shows in /proc; the service manager is always one."""
    os.stat("/proc/1")  # noqa: PTH116 - the shortest way to the error


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write to its state": _write("/var/lib/redirectd"),
    "write to its logs": _write("/var/log/redirectd"),
    "write to its runtime folder": _write("/run/redirectd"),
    "write to the granted folder": _write("/etc/kamailio/redirectd"),
    "connect to this host": _connect("127.0.0.1"),
    "write to its configuration": _write("/etc/redirectd"),
    "write to another's configuration": _write("/etc/kamailio"),
    "write to an open folder": _write("/srv/open"),
    "write to the program": _write("/usr"),
    "look into homes": lambda: os.listdir("/home/somebody"),  # noqa: PTH208
    "see other users' processes": _see_others,
    "open a raw device": lambda: Path("/dev/full-copy").open("rb").close(),
    "connect outside": _connect(OUTSIDE),
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
    "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close(),
    "map memory to write and run": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC | 1).close(),
    "make a user namespace": lambda: _check(_libc.unshare(_CLONE_NEWUSER)),
    "make a network namespace": lambda: _check(_libc.unshare(_CLONE_NEWNET)),
    "mount": lambda: _check(_libc.mount(b"tmpfs", b"/mnt", b"tmpfs", 0, None)),
    "set the host's name": lambda: socket.sethostname("probe"),
    "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "change its personality": lambda: _check(_libc.personality(0x0040000)),
    "run in real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "make a program with another's rights": _set_user_id_bit,
    "trace": lambda: _check(_libc.ptrace(16, 1, 0, 0)),
    "load a module": lambda: _check(_libc.syscall(175, 0, 0, b"")),
    "read the kernel's log": lambda: _check(_libc.klogctl(3, ctypes.create_string_buffer(64), 64)),
}


def main() -> None:
    """Tries everything and writes what came of it: true, or the error's name."""
    found: dict[str, str | bool] = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except OSError as error:
            found[name] = type(error).__name__ + ": " + (error.strerror or str(error))
        else:
            found[name] = True
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    found["capabilities"] = status["CapBnd"]
    found["umask"] = status["Umask"]
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
