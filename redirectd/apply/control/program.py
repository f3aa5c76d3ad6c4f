"""Running a server's own command line client, with an end to the wait."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from redirectd.apply.control.channel import SHOWN
from redirectd.errors import PeerError
from redirectd.sip.text import printable


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
