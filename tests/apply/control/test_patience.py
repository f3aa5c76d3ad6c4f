"""Servers that hang, break off, dribble or lie: every question ends, with where, why and what to do."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redirectd.apply.control import AnswerError, RetryLater, open_channel
from redirectd.apply.control.asterisk_cli import AsteriskCli
from redirectd.apply.control.channel import Channel
from redirectd.apply.control.kamcmd import Kamcmd
from redirectd.errors import PeerError
from redirectd.plan.target import Command

VERSION = Command("core.version")


@contextmanager
def _server(address: str | tuple[str, int], serve: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """Serve one connection after another by `serve` until the test is over."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen(4)
        open_ones: list[socket.socket] = []

        def loop() -> None:
            try:
                while True:
                    peer, _ = listener.accept()
                    open_ones.append(peer)
                    serve(peer)
            except OSError:
                return  # the test is over, or the client went

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        yield listener
        listener.shutdown(socket.SHUT_RDWR)
        for peer in open_ones:
            peer.close()
    thread.join(5)


def _hang(peer: socket.socket) -> None:
    peer.recv(65536)


def _half(peer: socket.socket) -> None:
    peer.recv(65536)
    peer.sendall(b"\xa1\x01\x40")


def _half_and_gone(peer: socket.socket) -> None:
    _half(peer)
    peer.close()


def _noise(peer: socket.socket) -> None:
    peer.recv(65536)
    peer.sendall(b"SSH-2.0-x\r\n\r\n")


def _dribble(peer: socket.socket) -> None:
    peer.recv(65536)
    peer.sendall(b"\xa1\x03\x00\xff\xff\xff")
    for _ in range(40):  # each byte in time, the whole never
        time.sleep(0.05)
        peer.sendall(b"x")


def _huge(peer: socket.socket) -> None:
    peer.recv(65536)
    peer.sendall(b"\xa1\x0f\xff\xff\xff\xff\0\0\0\0")


def _asked(channel: Channel, command: Command = VERSION) -> PeerError:
    with pytest.raises(PeerError) as error:
        channel.ask(command)
    assert error.value.where
    assert error.value.what_to_do
    channel.close()
    return error.value


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (_hang, "ran out"),
        (_half, "ran out"),
        (_half_and_gone, "closed|broke off"),
        (_noise, "wrong|ran out"),
        (_dribble, "wrong|ran out"),
        (_huge, "wrong|bytes"),
    ],
)
def test_binrpc_ends(serve: Callable[[socket.socket], None], why: str, tmp_path: Path) -> None:
    """A half-answered, slow or lying binrpc socket ends in a PeerError that says which."""
    path = _short(tmp_path)
    with _server(path, serve):
        error = _asked(open_channel(f"binrpc:unix:{path}", timeout=0.4))
    assert any(part in str(error) for part in why.split("|")), str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP\r\n\r\n",
        b"\0\r\n\r\n",
    ],
)
def test_http_ends(answer: bytes) -> None:
    """A half-answered or wrong HTTP answer ends in a PeerError."""

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(answer)

    with _server(("127.0.0.1", 0), serve) as listener:
        _asked(open_channel(f"jsonrpc:http://127.0.0.1:{listener.getsockname()[1]}/RPC", timeout=0.4))


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"Asterisk Call Manager/5.0.4",
        b"SSH-2.0-x\r\n",
        b"Asterisk Call Manager/5.0.4\r\nResponse: Success\r\nActionID: another\r\n\r\n",
        b"Asterisk Call Manager/5.0.4\r\nEvent: FullyBooted\r\n\r\n",
        b"Asterisk Call Manager/5.0.4\r\nResponse: Error\r\nActionID: redirectd-1\r\nMessage: no\r\n\r\n",
    ],
)
def test_the_manager_ends(greeting: bytes) -> None:
    """A manager interface that greets and hangs, or is something else, ends in a PeerError without the password."""
    with _server(("127.0.0.1", 0), lambda peer: peer.sendall(greeting)) as listener:
        spec = f"ami://me@127.0.0.1:{listener.getsockname()[1]}"
        error = _asked(open_channel(spec, timeout=0.4, password="hidden"), Command("core show version"))
    assert "hidden" not in f"{error}{error.what_to_do}"


def test_a_datagram_socket_that_answers_late_is_not_believed(tmp_path: Path) -> None:
    """The answer to an earlier question, come too late, is passed over and not taken for this one's."""
    path = _short(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        channel = open_channel(f"jsonrpc:unix:{path}", timeout=0.3)
        assert "no answer" in str(_asked_kept(channel))
        first, client = server.recvfrom(65536)

        def serve() -> None:
            second, _ = server.recvfrom(65536)
            for data, text in ((first, "late"), (second, "right")):
                answer = {"jsonrpc": "2.0", "result": text, "id": json.loads(data)["id"]}
                server.sendto(json.dumps(answer).encode(), client)

        thread = threading.Thread(target=serve)
        thread.start()
        assert channel.ask(VERSION) == "right"
        thread.join(5)
        channel.close()


def _asked_kept(channel: Channel) -> PeerError:
    with pytest.raises(PeerError) as error:
        channel.ask(VERSION)
    return error.value


def test_a_fifo_ends(tmp_path: Path) -> None:
    """A FIFO without reader, with a reader that never answers, a plain file and a missing one each end by name."""
    fifo = tmp_path / "rpc.fifo"
    channel = open_channel(f"jsonrpc:fifo:{fifo}?reply_dir={tmp_path}", timeout=0.3)
    assert "cannot be reached" in str(_asked(channel))
    fifo.write_text("")
    assert "not a FIFO" in str(_asked(channel))
    fifo.unlink()
    os.mkfifo(fifo)
    assert "nobody reads" in str(_asked(channel))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert "ran out" in str(_asked(channel))
    finally:
        os.close(reader)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("redirectd-")] == []
    missing = open_channel(f"jsonrpc:fifo:{fifo}?reply_dir=/no/such", timeout=0.3)
    assert "reply_dir" in _asked(missing).what_to_do


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("sleep 5", "did not end"),
        ("exit 3", "exit code 3"),
        ("true", "gave no answer"),
        ("echo \"No such command 'x' (type 'core show help x')\"", "No such command"),
    ],
)
def test_a_console_ends(script: str, why: str, tmp_path: Path) -> None:
    """A console that hangs, fails, says nothing or knows no such command ends in a PeerError."""
    program = tmp_path / "asterisk"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert why in str(_asked(_with_program(program, "asterisk -rx"), Command("x")))


def test_a_console_that_reloads_is_read(tmp_path: Path) -> None:
    """A reload that Asterisk did not do is an error, though the exit code is 0, and one under way is retried later."""
    program = tmp_path / "asterisk"
    program.write_text('#!/bin/sh\ncat "$0.says"\n')
    program.chmod(0o755)
    says = tmp_path / "asterisk.says"
    channel = _with_program(program, "asterisk -rx")
    says.write_text("Module 'res_pjsip.so' reloaded successfully.\n")
    assert "successfully" in str(channel.ask(Command("module reload res_pjsip.so")))
    says.write_text("A module reload request is already in progress; please be patient\n")
    with pytest.raises(RetryLater):
        channel.ask(Command("module reload res_pjsip.so"))
    for text in ("No such module 'res_pjsip.so'\n", "The module 'x' was not properly initialized.\n"):
        says.write_text(text)
        with pytest.raises(AnswerError):
            channel.ask(Command("module reload res_pjsip.so"))
        with pytest.raises(AnswerError):
            channel.ask(Command("dialplan reload"))
    says.write_text("No such command 'sorcery memory cache expire' (type 'core show help ...)\n")
    assert channel.ask(Command("sorcery memory cache expire res_pjsip/aor"))  # without the module there is no cache


def test_kamcmd_is_read_and_not_its_exit_code(tmp_path: Path) -> None:
    """kamcmd exits 0 on errors; texts go with `s:`, so that what looks like a number stays a text."""
    program = tmp_path / "kamcmd"
    program.write_text('#!/bin/sh\necho "error: 500 - got $*"\n')
    program.chmod(0o755)
    error = _asked(_with_program(program, "kamcmd"), Command("htable.get", ("redir", "123", 4)))
    assert "got htable.get s:redir s:123 4" in str(error)


def _with_program(program: Path, spec: str) -> Channel:
    if spec == "kamcmd":
        return Kamcmd([str(program)], 0.5)
    return AsteriskCli([str(program), "-rx"], 0.5)


def _short(folder: Path) -> str:
    return f"/proc/self/fd/{os.open(folder, os.O_RDONLY)}/s"  # unix socket paths end at 107 bytes
