"""sipp as caller and as answering side."""

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.lab.loopback import free_port
from tests.peers.lab.process import Child, LabError, has_programs, run, wait_until

SCENARIOS = Path(__file__).with_name("sipp")


class SippAnswerer:
    """A sipp in the background: `moved` answers 301 with *contact*, `answers` rings and takes the call."""

    def __init__(self, folder: Path, address: str, *, scenario: str, contact: str = "") -> None:
        """Prepare to serve at *address*; *contact* is the Contact value of the 301 as it is sent."""
        self.address = address
        self.port = free_port(address)
        self._messages = folder / f"sipp-{scenario}-{address}.messages"
        self._output = folder / f"sipp-{scenario}-{address}.out"
        self._command = ["sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), *_place(address, self.port), "-nostdin"]
        self._command += ["-key", "contact", contact] if contact else []
        self._command += ["-trace_msg", "-message_file", str(self._messages)]

    def invites(self) -> list[str]:
        """Return the Request-URIs of the INVITEs that sipp wrote into its message file."""
        if not self._messages.exists():
            return []
        lines = self._messages.read_text(errors="backslashreplace").splitlines()
        return [line.split(" ")[1] for line in lines if line.startswith("INVITE ") and line.endswith(" SIP/2.0")]

    def wait_for(self, count: int) -> list[str]:
        """Return `invites` as soon as there are at least *count*: sipp writes its file a moment later."""
        wait_until(lambda: len(self.invites()) >= count, f"{count} INVITE in sipp's message file")
        return self.invites()

    def __enter__(self) -> Self:
        self._child = Child(self._command, self._output)
        self._child.wait_until(self._bound, "sipp has its port")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop(seconds=1)

    def _bound(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((self.address, self.port))
            except OSError:
                return True
        return False


def sipp_call(folder: Path, address: str, proxy: tuple[str, int], user: str, domain: str) -> None:
    """Place one call for `sip:user@domain` through *proxy* and follow it to its end; LabError if it has another end.

    A 301 and an answered call both end well: which of them it was stands with the answering sides.
    """
    command = ["sipp", "-sf", str(SCENARIOS / "caller.xml"), *_place(address, free_port(address, start=16060))]
    command += ["-m", "1", "-timeout", "10", "-nostdin", "-s", user, "-key", "domain", domain, f"{proxy[0]}:{proxy[1]}"]
    code, output = run(command, folder=folder, seconds=30)
    if code:
        raise LabError(f"sipp ended with {code}: {output[-3000:]}")


def _place(address: str, port: int) -> list[str]:
    return ["-i", address, "-p", str(port), "-mi", address, "-mp", str(free_port(address, start=30000))]


def installed() -> bool:
    """Tell whether this machine has sipp."""
    return has_programs("sipp")
