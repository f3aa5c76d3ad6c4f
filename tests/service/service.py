"""The real service as a child process, with the test in the place of systemd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redirectd.service.control import ask

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def until(ready: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of `ready`."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
    return found


class Service:
    """`redirectd run` on a folder of its own: redirectd.toml, a log, a database, a status socket."""

    def __init__(
        self, folder: Path, *, watchdog: float | None = None, command: list[str] | None = None, extra: str = ""
    ) -> None:
        self.folder = folder
        self.config = folder / "redirectd.toml"
        self.log = folder / "full.log"
        self.status_socket = folder / "status.sock"
        self.notified: list[dict[str, str]] = []
        self._command = command or [sys.executable, "-m", "redirectd", "--config", str(self.config), "run"]
        self._watchdog = watchdog
        if not self.config.exists():
            self.configure(extra)

    def configure(self, extra: str = "", *, sources: tuple[str, ...] = ("full",), schedule: str = "") -> None:
        """Writes the configuration; `extra` is TOML to append."""
        text = 'node = "test"\n[database]\nurl = "sqlite:///redirectd.db"\n[daemon]\nsocket = "status.sock"\n'
        text += f'[schedule]\napply = "{schedule}"\n'
        text += "".join(f'[[source]]\nname = "{name}"\npath = "{name}.log"\n' for name in sources)
        self.config.write_text(text + extra)

    def __enter__(self) -> Self:
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = str(self.folder / "notify")
        Path(address).unlink(missing_ok=True)
        self._manager.bind(address)
        self._manager.settimeout(0)
        environ = os.environ | {"NOTIFY_SOCKET": address, "PYTHONPATH": str(ROOT)}
        if self._watchdog is not None:
            environ["WATCHDOG_USEC"] = str(int(self._watchdog * 1_000_000))
        self._output = (self.folder / "stderr").open("ab")
        self.process = subprocess.Popen(self._command, env=environ, cwd=ROOT, stderr=self._output, stdout=self._output)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.notifications()
        self._output.close()
        self._manager.close()

    def notifications(self) -> list[dict[str, str]]:
        """All messages to the service manager so far, each as its fields."""
        while self._manager.fileno() >= 0:
            try:
                message = self._manager.recv(8192).decode()
            except BlockingIOError:
                break
            self.notified.append(dict(line.split("=", 1) for line in message.split("\n")))
        return self.notified

    def until_notified(self, name: str, *, times: int = 1) -> dict[str, str]:
        """The message in which field `name` was sent for the n-th time."""

        def found() -> dict[str, str] | None:
            assert self.process.poll() is None, f"ended too early:\n{self.stderr()}"
            matching = [message for message in self.notifications() if name in message]
            return matching[times - 1] if len(matching) >= times else None

        try:
            return until(found, f"{name} sent {times} times")  # type: ignore[no-any-return]  # of `found`
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stderr()}") from None

    def until_status(self, ready: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """The status document, as soon as `ready` takes it."""

        def found() -> dict[str, Any] | None:
            document = ask(self.status_socket)
            return document if document is not None and ready(document) else None

        return until(found, what)  # type: ignore[no-any-return]  # of `found`

    def records(self, event: str) -> list[dict[str, Any]]:
        """The log records called `event`."""
        records = [json.loads(line) for line in self.stderr().splitlines() if line.startswith("{")]
        return [record for record in records if record["event"] == event]

    def stderr(self) -> str:
        """All that it wrote."""
        return (self.folder / "stderr").read_text()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def source(document: dict[str, Any], name: str = "full") -> dict[str, Any]:
    """One source of a status document."""
    found: dict[str, Any] = next(source for source in document["sources"] if source["name"] == name)
    return found
