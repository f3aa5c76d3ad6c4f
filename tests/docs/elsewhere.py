"""The one table of commands in the documentation that its tests don't run, each with the reason."""

from __future__ import annotations

import re

ELSEWHERE: dict[str, str] = {
    r"python3 -m venv .*pip install|/opt/redirectd/bin/pip ": "needs a package index; the wheel is built by hatchling",
    r"make (demo|test)$": "what runs these tests; CI runs both on a clean clone",
    r"systemctl |journalctl |systemd-creds |systemd-run ": "needs a running systemd: tests/systemd boots one",
    r"install -D -m 644 |ln -s /opt/redirectd": "needs the package's files: tests/systemd installs them",
    r"install -d -o ": "needs root and the servers' own users: tests/systemd grants the rights",
    r"install -m 0600 /dev/stdin ": "asks the operator to type a secret: test_administrator types one",
    r"mv /etc/(redirectd|kamailio)/": "needs the files of a real host: tests/cli/test_recordkey renews a key",
    r"kamailio -c ": "needs Kamailio: tests/peers checks and starts the same lines on a real one",
    r"asterisk -rx ": "needs Asterisk: tests/peers loads the same lines into a real one",
    r"redirectd notify test": "needs a receiver: tests/service/test_notify_service.py has one",
    r"docker ": "needs a container engine: tests/packaging checks the compose files and runs the entrypoint",
    r"createuser |createdb |pg_dump ": "needs the database server's administrator: test_administrator is one",
}
"""Beginning of a command line (a regular expression) to the reason."""


def reason(command: str) -> str | None:
    """Why a command is not run here; None where it is."""
    return next((why for pattern, why in ELSEWHERE.items() if re.match(pattern, command)), None)
