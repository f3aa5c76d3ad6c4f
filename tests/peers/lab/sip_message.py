"""Just enough SIP for the laboratory, apart from redirectd's own so that neither can hide the other's faults."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

SDP_TYPE = "Content-Type: application/sdp"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Message:
    """One datagram as it was on the wire."""

    raw: bytes

    @property
    def start_line(self) -> str:
        """Request line or status line."""
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def method(self) -> str:
        """Method of a request; `SIP/2.0` for a response."""
        return self.start_line.split(" ", 1)[0]

    @property
    def uri(self) -> str:
        """Request-URI of a request, exactly as sent."""
        return self.start_line.split(" ", 1)[1].rsplit(" ", 1)[0]

    @property
    def status(self) -> int:
        """Status code of a response, 0 for a request."""
        words = self.start_line.split(" ", 2)
        return int(words[1]) if words[0] == "SIP/2.0" else 0

    def headers(self, name: str) -> list[str]:
        """Return the values of all *name* headers in order, as sent."""
        head = self.raw.split(b"\r\n\r\n", 1)[0].decode("latin-1")
        pairs = (line.partition(":") for line in head.split("\r\n")[1:])
        return [value.strip() for key, _, value in pairs if key.strip().lower() == name.lower()]

    def header(self, name: str) -> str:
        """Return the first *name* header's value, empty where there is none."""
        return next(iter(self.headers(name)), "")


def new_mark(prefix: str = "z9hG4bK") -> str:
    """Return a value that is unique among all test processes: a branch, a tag or a Call-ID."""
    return f"{prefix}{os.getpid():x}-{next(_numbers)}"


def sdp(address: str) -> bytes:
    """Return an offer or answer with one PCMU stream at a port nobody listens on."""
    lines = ["v=0", f"o=lab 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    lines += ["m=audio 40000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def build(start_line: str, headers: Sequence[str], body: bytes = b"") -> bytes:
    """Return the datagram; header lines are written as given, latin-1 for bytes that are not ASCII."""
    head = "\r\n".join([start_line, *headers, f"Content-Length: {len(body)}", "", ""])
    return head.encode("latin-1") + body
