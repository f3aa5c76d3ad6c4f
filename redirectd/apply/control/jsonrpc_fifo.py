"""Kamailio's jsonrpcs over its FIFO (``jsonrpc:fifo:/PATH``, ``jsonrpc:fifo:/PATH?reply_dir=/DIR``)."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from redirectd.apply.control import jsonrpc
from redirectd.apply.control.wait import MAX_REPLY, Deadline, unreachable
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply

REPLY_DIR = "/tmp/"  # noqa: S108 - the default of jsonrpcs' own fifo_reply_dir, where it looks for the reply FIFO


class JsonRpcFifo:
    """Writes each question into Kamailio's FIFO and reads the answer from a FIFO of its own.

    Kamailio makes the path of the reply FIFO by putting the name behind its ``fifo_reply_dir``, which therefore
    must end in ``/`` there; `reply_dir` must be the same folder.
    """

    def __init__(self, path: str, timeout: float, reply_dir: str = REPLY_DIR) -> None:
        self._path = path
        self._folder = Path(reply_dir)
        self._timeout = timeout
        self._where = f"jsonrpc:fifo:{path}"

    def ask(self, command: Command) -> Reply:
        """Ask, and read until Kamailio closes the reply FIFO."""
        deadline = Deadline(self._where, self._timeout)
        number = jsonrpc.request_id()
        reply = self._folder / f"redirectd-{secrets.token_hex(16)}"
        reader = self._make(reply)
        try:
            self._send(jsonrpc.encode(command, number, reply.name) + b"\n", deadline)
            return jsonrpc.decode(self._where, command, number, self._receive(reader, deadline))
        finally:
            os.close(reader)
            reply.unlink(missing_ok=True)

    def _make(self, reply: Path) -> int:
        try:
            os.mkfifo(reply, 0o600)
            reply.chmod(0o622)  # Kamailio's user writes, and nobody else reads; the name can't be guessed
            return os.open(reply, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise PeerError(
                self._where,
                f"no reply FIFO can be made in {self._folder} ({error.strerror})",
                "name Kamailio's fifo_reply_dir by ?reply_dir=/DIR, and let redirectd write there",
            ) from None

    def _send(self, data: bytes, deadline: Deadline) -> None:
        try:
            writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise PeerError(self._where, "nobody reads this FIFO", "see whether Kamailio runs") from None
            raise unreachable(self._where, error, unix=True) from None
        try:
            if not stat.S_ISFIFO(os.fstat(writer).st_mode):
                raise PeerError(self._where, "is not a FIFO", "give the path that jsonrpcs' fifo_name names")
            if len(data) > 4096:  # PIPE_BUF: more could be mixed up with another client's question
                raise PeerError(self._where, "the question is too long for a FIFO", "use jsonrpc:unix or binrpc")
            deadline.left("sending")
            os.write(writer, data)
        except BlockingIOError:
            raise deadline.missed("sending into a full FIFO") from None
        except OSError as error:
            raise unreachable(self._where, error, unix=True) from None
        finally:
            os.close(writer)

    def _receive(self, reader: int, deadline: Deadline) -> bytes:
        data = bytearray()
        while True:
            deadline.readable(reader, "waiting for the answer")
            try:
                block = os.read(reader, 1 << 18)
            except BlockingIOError:
                continue
            if not block:
                return bytes(data)
            data += block
            if len(data) > MAX_REPLY:
                raise PeerError(self._where, f"answers with over {MAX_REPLY} bytes", "see what reads that FIFO")

    def describe(self) -> str:
        """Name the FIFO."""
        return f"Kamailio, JSON-RPC over the FIFO {self._path}, replies in {self._folder}"

    def probe(self) -> str:
        """Ask for Kamailio's version."""
        return jsonrpc.version(self.ask(Command("core.version")))

    def close(self) -> None:
        """Nothing is held open."""
