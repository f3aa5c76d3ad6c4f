"""The status socket: whoever connects gets the status document as one JSON text, and the connection ends."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import structlog

from redirectd.errors import ConfigError, RefusedError

_log = structlog.get_logger("redirectd.status")

_SEND_SECONDS = 5.0
_LONGEST_ANSWER = 16 << 20


class StatusServer:
    """Answers on a unix socket, in a thread of its own, one asker at a time."""

    def __init__(self, path: Path, document: Callable[[], object]) -> None:
        """Listens at once and answers from `start` on: who asks meanwhile waits.

        Raises RefusedError if another daemon answers there, ConfigError if it can't be made.
        """
        self.path = path
        self._document = document
        self._listener = listen_at(path, "daemon.socket")
        self._thread = Thread(target=self._serve, name="status", daemon=True)

    def start(self) -> None:
        """Answers from now on; does nothing if it does already."""
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        """No more answers; removes the socket."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        if self._thread.is_alive():
            self._thread.join(_SEND_SECONDS)
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                asker, _ = self._listener.accept()
            except OSError:
                return  # closed
            with asker:
                asker.settimeout(_SEND_SECONDS)
                try:
                    asker.sendall(json.dumps(self._document()).encode() + b"\n")
                except OSError as error:
                    _log.debug("asker_gone", error=str(error))


def listen_at(path: Path, key: str) -> socket.socket:
    """A unix socket that the user and its group may use; `key` is the configuration's, for errors.

    Raises RefusedError where another process answers on it, ConfigError where it can't be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path, key)
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(16)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{key} {path}",
            error.strerror or str(error),
            f"create {path.parent} and give this user the right to write there (the systemd unit does it by itself)",
        ) from error
    except RefusedError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path, key: str) -> None:
    """A socket left by a killed daemon goes; one that somebody answers on means there is a daemon already."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise RefusedError(
        f"{key} {path}",
        "another redirectd answers on it",
        f"stop that one first ('systemctl stop redirectd'), or give this one another {key}",
    )


def ask(path: Path, *, seconds: float = 10.0) -> Any | None:  # noqa: ANN401 - a JSON document
    """The document of the daemon that listens on `path`; None where none answers whole and in time."""
    chunks: list[bytes] = []
    size = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(seconds)
        try:
            channel.connect(str(path))
            while (chunk := channel.recv(1 << 16)) and size < _LONGEST_ANSWER:
                chunks.append(chunk)
                size += len(chunk)
            return json.loads(b"".join(chunks))
        except (OSError, ValueError):
            return None
