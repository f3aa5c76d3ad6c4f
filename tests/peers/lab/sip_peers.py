"""The two ends of a call: a scripted answering side that records what reached it, and a caller."""

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.peers.lab.loopback import free_port
from tests.peers.lab.process import LabError, wait_until
from tests.peers.lab.sip_message import SDP_TYPE, Message, build, new_mark, sdp


@dataclass(frozen=True)
class Reply:
    """One response of the answering side: status, reason, further header lines as they are sent, and a body."""

    status: int
    reason: str
    headers: Sequence[str] = ()
    body: bytes = b""
    with_sdp: bool = False


def moved_to(*contacts: str, reason: str = "Moved Permanently", headers: Sequence[str] = ()) -> list[Reply]:
    """Return a 301 with one Contact header for each of *contacts*, written byte for byte."""
    return [Reply(301, reason, [*(f"Contact: {contact}" for contact in contacts), *headers])]


RINGS_AND_ANSWERS = [Reply(180, "Ringing"), Reply(200, "OK", with_sdp=True)]
EARLY_MEDIA_AND_ANSWERS = [Reply(183, "Session Progress", with_sdp=True), Reply(200, "OK", with_sdp=True)]
BUSY = [Reply(486, "Busy Here")]
OK = [Reply(200, "OK")]


@dataclass(frozen=True)
class Received:
    """A request that reached the answering side: when (Unix time), from where, and the message itself."""

    at: float
    source: tuple[str, int]
    message: Message


@dataclass
class AnsweringSide:
    """A SIP user agent server over UDP that answers by script and remembers every datagram.

    *answer* gives the responses to each request but ACK (none), BYE and CANCEL (200). May be exchanged while it runs.
    `requests` is the authority of a test: what was seen on the wire, retransmissions included.
    """

    address: str
    answer: Callable[[Message], Sequence[Reply]]
    port: int = 0
    requests: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open the socket, so that the port is known before the first request."""
        self.port = self.port or free_port(self.address)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.address, self.port))
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name=f"answering side {self.address}", daemon=True)

    def invites(self, method: str = "INVITE") -> list[str]:
        """Return the Request-URIs of the *method* requests that came, in order, retransmissions left out."""
        seen: dict[tuple[str, str], str] = {}
        for received in list(self.requests):
            message = received.message
            if message.method == method:
                seen.setdefault((message.header("Via"), message.header("CSeq")), message.uri)
        return list(seen.values())

    def wait_for(self, count: int, method: str = "INVITE") -> list[str]:
        """Return `invites` as soon as there are at least *count*."""
        wait_until(lambda: len(self.invites(method)) >= count, f"{count} {method} at {self.address}:{self.port}")
        return self.invites(method)

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket, self._woken], [], [])
            if self._woken in ready:
                return
            raw, source = self._socket.recvfrom(65535)
            if not raw.strip():
                continue  # a keep-alive
            message = Message(raw)
            self.requests.append(Received(time.time(), source, message))
            for reply in self._replies(message):
                self._socket.sendto(self._response(message, reply), source)

    def _replies(self, message: Message) -> Sequence[Reply]:
        match message.method:
            case "ACK" | "SIP/2.0":
                return ()
            case "BYE" | "CANCEL":
                return OK
            case _:
                return self.answer(message)

    def _response(self, request: Message, reply: Reply) -> bytes:
        to = request.header("To")
        if ";tag=" not in to:
            to += f";tag={abs(hash(request.header('Call-ID'))):x}"
        lines = [f"Via: {value}" for value in request.headers("Via")]
        lines += [f"Record-Route: {value}" for value in request.headers("Record-Route")]
        lines += [f"From: {request.header('From')}", f"To: {to}"]
        lines += [f"{name}: {request.header(name)}" for name in ("Call-ID", "CSeq")]
        lines += reply.headers
        body = reply.body
        if reply.with_sdp:
            body = sdp(self.address)
            lines += [SDP_TYPE, f"Contact: <sip:{self.address}:{self.port}>"]
        return build(f"SIP/2.0 {reply.status} {reply.reason}", lines, body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.send(b"x")
        self._thread.join(5)
        for used in (self._socket, self._wake, self._woken):
            used.close()


@dataclass(frozen=True)
class Call:
    """A call as its caller saw it: every response, in order, the final one last."""

    call_id: str
    responses: Sequence[Message]

    @property
    def status(self) -> int:
        """Status of the final response."""
        return self.responses[-1].status


def place_call(
    address: str,
    proxy: tuple[str, int],
    uri: str,
    *,
    method: str = "INVITE",
    seconds: float = 10.0,
    call_id: str = "",
) -> Call:
    """Send *method* for *uri* to *proxy* from *address*, follow it to its final response, and end an answered call.

    Requests are repeated every half second until something answers (17.1.1.2), and the final response gets its ACK.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind((address, free_port(address, start=15060)))
        caller.connect(proxy)
        call = _Caller(caller, uri, method)
        call.call_id = call_id or call.call_id
        responses = call.until_final(seconds)
        if method == "INVITE":
            call.acknowledge(responses[-1])
            if responses[-1].status == 200:
                call.hang_up(responses[-1])
        return Call(call.call_id, responses)


class _Caller:
    """The client side of one dialog."""

    def __init__(self, connected: socket.socket, uri: str, method: str) -> None:
        self._socket = connected
        self._uri = uri
        self._method = method
        self._here = "{}:{}".format(*connected.getsockname())
        self._branch = new_mark()
        self._from = f"<sip:caller@{self._here}>;tag={new_mark('f')}"
        self.call_id = new_mark("call-")

    def until_final(self, seconds: float) -> list[Message]:
        responses: list[Message] = []
        deadline = time.monotonic() + seconds
        body = sdp(self._here.partition(":")[0]) if self._method == "INVITE" else b""
        request = self._request(f"1 {self._method}", self._uri, f"<{self._uri}>", branch=self._branch, body=body)
        while time.monotonic() < deadline:
            if not responses:
                self._socket.send(request)
            while select.select([self._socket], [], [], 0.5)[0]:
                message = Message(self._socket.recv(65535))
                if message.status and message.header("CSeq") == f"1 {self._method}":
                    responses.append(message)
                    if message.status >= 200:
                        return responses
        raise LabError(f"no final response to {self._method} {self._uri}; got {[r.status for r in responses]}")

    def acknowledge(self, final: Message) -> None:
        if final.status == 200:
            self._socket.send(self._in_dialog("1 ACK", final))
        else:
            self._socket.send(self._request("1 ACK", self._uri, final.header("To"), branch=self._branch))

    def hang_up(self, final: Message) -> None:
        self._socket.send(self._in_dialog("2 BYE", final))
        wait_until(lambda: self._answered("2 BYE"), "the BYE is answered", seconds=5)

    def _answered(self, cseq: str) -> bool:
        ready, _, _ = select.select([self._socket], [], [], 0)
        return bool(ready) and Message(self._socket.recv(65535)).header("CSeq") == cseq

    def _in_dialog(self, cseq: str, final: Message) -> bytes:
        target = final.header("Contact").partition("<")[2].partition(">")[0] or self._uri
        route = [f"Route: {value}" for value in reversed(final.headers("Record-Route"))]
        return self._request(cseq, target, final.header("To"), branch=new_mark(), route=route)

    def _request(
        self, cseq: str, uri: str, to: str, *, branch: str, route: Sequence[str] = (), body: bytes = b""
    ) -> bytes:
        via = f"Via: SIP/2.0/UDP {self._here};branch={branch}"
        lines = [via, *route, "Max-Forwards: 70", f"From: {self._from}", f"To: {to}", f"Call-ID: {self.call_id}"]
        lines += [f"CSeq: {cseq}", f"Contact: <sip:caller@{self._here}>", *([SDP_TYPE] if body else [])]
        return build(f"{cseq.partition(' ')[2]} {uri} SIP/2.0", lines, body)
