"""Waiting with an end: a deadline for a whole question, and a stream socket that keeps it."""

from __future__ import annotations

import select
import socket
import ssl
import time
from dataclasses import dataclass, field
from errno import EPROTOTYPE

from redirectd.errors import PeerError

MAX_REPLY = 256 * 1024 * 1024
"""Bytes of one answer that are taken: 20,000 dispatcher destinations are 5 MB."""

_BLOCK = 1 << 18


class Deadline:
    """The end of the time that one question may take, in seconds from its making."""

    def __init__(self, where: str, seconds: float) -> None:
        self.where = where
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, doing: str) -> float:
        """Give the seconds left; PeerError, saying what was being done, when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.missed(doing)
        return left

    def missed(self, doing: str) -> PeerError:
        """Make the error for a time that ran out."""
        return PeerError(
            self.where,
            f"{self.seconds:g} s ran out while {doing}",
            "see whether the server hangs or is overloaded; raise `timeout` if it is only slow",
        )

    def readable(self, descriptor: int | socket.socket, doing: str) -> None:
        """Wait until something can be read."""
        if not select.select([descriptor], [], [], self.left(doing))[0]:
            raise self.missed(doing)


@dataclass(slots=True)
class SocketStream:
    """A connected stream socket, read ahead; every call ends by its deadline."""

    where: str
    sock: socket.socket
    _ahead: bytearray = field(default_factory=bytearray)

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of `data`."""
        try:
            self.sock.settimeout(deadline.left("sending"))
            self.sock.sendall(data)
        except TimeoutError:
            raise deadline.missed("sending") from None
        except OSError as error:
            raise self._lost(f"could not be sent to ({error.strerror or error})") from None

    def take(self, size: int, deadline: Deadline) -> bytes:
        """Give exactly `size` bytes."""
        if size > MAX_REPLY:
            raise PeerError(self.where, f"announces an answer of {size} bytes", "see what listens there")
        while len(self._ahead) < size:
            self._more(deadline)
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        return data

    def take_until(self, mark: bytes, deadline: Deadline) -> bytes:
        """Give the bytes up to `mark` and with it."""
        searched = 0
        while (at := self._ahead.find(mark, searched)) < 0:
            searched = max(0, len(self._ahead) - len(mark))
            self._more(deadline)
        return self.take(at + len(mark), deadline)

    @property
    def is_closed(self) -> bool:
        """Say if the server closed the connection meanwhile; over TLS only the next question shows it."""
        try:
            self.sock.settimeout(0)
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except (BlockingIOError, ssl.SSLError, ValueError):
            return False
        except OSError:
            return True

    def _more(self, deadline: Deadline) -> None:
        try:
            self.sock.settimeout(deadline.left("waiting for the answer"))
            block = self.sock.recv(_BLOCK)
        except TimeoutError:
            raise deadline.missed("waiting for the rest of the answer" if self._ahead else "waiting") from None
        except OSError as error:
            raise self._lost(f"broke off ({error.strerror or error})") from None
        if not block:
            raise self._lost("closed the connection in the middle of its answer")
        if len(self._ahead) + len(block) > MAX_REPLY:
            raise PeerError(self.where, f"answers with over {MAX_REPLY} bytes", "see what listens there")
        self._ahead += block

    def _lost(self, why: str) -> PeerError:
        return PeerError(self.where, why, "see in the server's log whether it was restarted, and try again")

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


def connect(
    where: str, address: str | tuple[str, int], deadline: Deadline, tls: ssl.SSLContext | None = None
) -> SocketStream:
    """Connect to a unix socket's path or to host and port; PeerError says why not and what to do."""
    family = socket.AF_UNIX if isinstance(address, str) else None
    sock: socket.socket | None = None
    try:
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(deadline.left("connecting"))
            sock.connect(address)
        else:
            sock = socket.create_connection(address, deadline.left("connecting"))
            if tls is not None:
                sock.settimeout(deadline.left("starting TLS"))
                sock = tls.wrap_socket(sock, server_hostname=address[0])
    except TimeoutError:
        _close(sock)
        raise deadline.missed("connecting") from None
    except OSError as error:  # ssl's errors are OSErrors, too
        _close(sock)
        raise unreachable(where, error, unix=family is not None) from None
    return SocketStream(where, sock)


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()


_CTL = 'ctl makes it with mode 0600, so modparam("ctl", "mode", 0660) and modparam("ctl", "group", "redirectd")'
_JSONRPCS = 'modparam("jsonrpcs", "dgram_mode", 0660) and modparam("jsonrpcs", "dgram_group", "redirectd")'
_ASTERISK = "astctlpermissions = 0660 and astctlgroup = asterisk in [files] of asterisk.conf, and restart Asterisk"
_OTHER = "see its owner, group and mode"


def access_to(where: str) -> str:
    """Say how redirectd's user gets access to a unix socket, by the channel's own name."""
    ways = {"binrpc:": _CTL, "kamcmd": _CTL, "jsonrpc:": _JSONRPCS, "asterisk": _ASTERISK}
    way = next((way for prefix, way in ways.items() if where.startswith(prefix)), _OTHER)
    return f"give redirectd's user or group access to the socket: {way}"


def unreachable(where: str, error: OSError, *, unix: bool) -> PeerError:
    """Make the error for a server that can't be reached."""
    why = f"cannot be reached ({error.strerror or error})"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted ({error.verify_message})"
        return PeerError(where, why, "name its CA by ?ca=/PATH.pem, and the host as the certificate does")
    if isinstance(error, ssl.SSLError):
        return PeerError(where, f"can't begin TLS ({error.reason})", "see that this port of the server is its TLS one")
    if error.errno == EPROTOTYPE:
        return PeerError(
            where, why, "name the other socket: ctl's is for binrpc:unix: and kamcmd, jsonrpcs' for jsonrpc:unix:"
        )
    if isinstance(error, PermissionError):
        return PeerError(where, why, access_to(where))
    if unix and isinstance(error, FileNotFoundError):
        return PeerError(where, why, "see whether the server runs, and its configuration for the path")
    return PeerError(where, why, "see whether the server runs and listens there")
