"""Asterisk's manager interface (``ami://USER@HOST:PORT``, ``amis://`` over TLS)."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator, Mapping, Sequence

from redirectd.apply.control.asterisk_cli import command_line, judged
from redirectd.apply.control.channel import AnswerError, RetryLater
from redirectd.apply.control.wait import Deadline, SocketStream, connect
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply
from redirectd.sip.text import printable

Fields = Sequence[tuple[str, str]]
Message = Mapping[str, Sequence[str]]
"""A message's headers: name in lower case to its values in order."""

ACTIONS: Mapping[str, tuple[str, ...]] = {
    "Reload": ("Module",),
    "GetConfig": ("Filename", "Category"),
    "DBPut": ("Family", "Key", "Val"),
    "DBDel": ("Family", "Key"),
}
"""Commands that are manager actions, with the names of their arguments; any other command is one of the CLI."""

_WINDOW = 500  # questions sent ahead of their answers; they fit into the socket's buffers
_MAX_GREETING = 1000


class Ami:
    """Keeps one session for its questions; a failure closes it, and the next question logs in again."""

    def __init__(
        self, address: tuple[str, int], user: str, password: str, timeout: float, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._address = address
        self._user = user
        self._password = password
        self._timeout = timeout
        self._tls = tls
        self._where = f"{'ami' if tls is None else 'amis'}://{user}@{address[0]}:{address[1]}"
        self._stream: SocketStream | None = None
        self._numbers = itertools.count(1)

    def ask(self, command: Command) -> Reply:
        """Give a CLI command's text, or a manager action's message.

        ``dialplan reload`` goes as the action Reload of pbx_config: its answer comes when the reload is done, and
        does not get lost after 60 s.
        """
        if command.name in ACTIONS:
            return self.act([command])[0]
        line = command_line(self._where, command)
        if line == "dialplan reload":
            message = self.act([Command("Reload", ("pbx_config",))])[0]
            return message.get("message", [""])[0]
        message = self._exchange([[("Action", "Command"), ("Command", line)]])[0]
        output = "\n".join(message.get("output", ()))
        if not output and _failed(message):
            raise self._error(line, message)
        return judged(self._where, line, output)

    def pipelines(self, command: Command) -> bool:
        """Manager actions can be; a CLI command is asked by itself."""
        return command.name in ACTIONS

    def act(self, commands: Sequence[Command]) -> list[Message]:
        """Do manager actions, sent ahead of their answers; AnswerError for the first that failed, after all."""
        messages = self._exchange(
            [
                [("Action", command.name), *zip(ACTIONS[command.name], map(str, command.args), strict=True)]
                for command in commands
            ]
        )
        for command, message in zip(commands, messages, strict=True):
            if _failed(message):
                raise self._error(command.name, message)
        return messages

    def _exchange(self, actions: Sequence[Fields]) -> list[Message]:
        stream = self._kept() or self._login()
        try:
            answers: list[Message] = []
            for begin in range(0, len(actions), _WINDOW):
                # The time is for a question and its answer, not for how many are asked at once.
                deadline = Deadline(self._where, self._timeout)
                answers += self._window(stream, actions[begin : begin + _WINDOW], deadline)
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        return answers

    def _kept(self) -> SocketStream | None:
        stream, self._stream = self._stream, None  # it is kept again only after all answers
        if stream is not None and stream.is_closed:
            stream.close()
            return None
        return stream

    def _window(self, stream: SocketStream, actions: Sequence[Fields], deadline: Deadline) -> list[Message]:
        ids = [f"redirectd-{next(self._numbers)}" for _ in actions]
        sent = (self._action([*action, ("ActionID", number)]) for action, number in zip(actions, ids, strict=True))
        # Asterisk waits for its socket, not for what TLS has read ahead of it: of several actions in one record it
        # forgets those that its buffer of 1,024 bytes can't take, until more comes.
        for block in [b"".join(sent)] if self._tls is None else sent:
            stream.send(block, deadline)
        found: dict[str, Message] = {}
        while len(found) < len(ids):
            message = _read(stream.take_until(b"\r\n\r\n", deadline))
            number = message.get("actionid", [""])[0]
            if "response" in message and number in ids[len(found) : len(found) + 1]:
                found[number] = message
            elif "response" in message:
                raise PeerError(self._where, "answered out of order", "try again")
        return [found[number] for number in ids]

    def _action(self, fields: Fields) -> bytes:
        for name, value in fields:
            if not value.isascii() or not value.isprintable():
                raise PeerError(self._where, f"{name} can't be sent: {printable(value, 100)!r}", "use printable ASCII")
        return ("".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n").encode("ascii")

    def _login(self) -> SocketStream:
        deadline = Deadline(self._where, self._timeout)
        stream = connect(self._where, self._address, deadline, self._tls)
        try:
            self._authenticate(stream, deadline)
        except BaseException:
            stream.close()
            raise
        return stream

    def _authenticate(self, stream: SocketStream, deadline: Deadline) -> None:
        greeting = stream.take_until(b"\r\n", deadline)
        if not greeting.startswith(b"Asterisk Call Manager/") or len(greeting) > _MAX_GREETING:
            raise PeerError(self._where, "is not an Asterisk manager interface", "see what listens there")
        if not (self._password.isascii() and self._password.isprintable()):
            raise PeerError(self._where, "the password is not printable ASCII", "set another one in manager.conf")
        fields = [("Action", "Login"), ("Username", self._user), ("Secret", self._password), ("Events", "off")]
        answer = self._window(stream, [fields], deadline)[0]
        if _failed(answer):
            raise PeerError(
                self._where,
                f"refused the login ({printable(answer.get('message', [''])[0], 100)})",
                "see user, secret, permit and deny in manager.conf, and `password_file` here",
            )

    def _error(self, what: str, message: Message) -> AnswerError:
        text = message.get("message", ["no reason"])[0]
        if "progress" in text:
            return RetryLater(f"{self._where}, {what}", 0, text, "try again in some seconds")
        hint = "add the missing class to `write` in manager.conf" if "ermission" in text else ""
        return AnswerError(f"{self._where}, {what}", 0, text, hint)

    def describe(self) -> str:
        """Name the address and the user."""
        return f"Asterisk, manager interface {self._where}"

    def probe(self) -> str:
        """Log in and ask for Asterisk's version."""
        return printable(str(self.ask(Command("core show version"))).strip(), 200)

    def close(self) -> None:
        """Close the session."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _failed(message: Message) -> bool:
    return message.get("response", [""])[0] not in {"Success", "Follows"}


def _read(raw: bytes) -> Message:
    message: dict[str, list[str]] = {}
    for name, value in _headers(raw.decode("utf-8", "surrogateescape")):
        message.setdefault(name, []).append(value)
    return message


def _headers(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            yield name.lower(), value.removeprefix(" ")
