"""Loopback addresses and ports that no other test process uses."""

import itertools
import os
import socket

_last_octets = itertools.cycle(range(1, 255))


def own_address() -> str:
    """Return an address of 127.0.0.0/8 for one server of this process.

    The middle octets come of the process id, so parallel workers and parallel test runs do not meet; each call
    gives the next of 254 addresses.
    """
    pid = os.getpid()
    return f"127.{pid % 240 + 10}.{pid // 240 % 250 + 1}.{next(_last_octets)}"


def free_port(address: str, *, start: int = 5060) -> int:
    """Return the first port from *start* on that is free for UDP and TCP at *address*."""
    for port in range(start, start + 2000):
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return port
    raise LookupError(f"no free port at {address} from {start} on")
