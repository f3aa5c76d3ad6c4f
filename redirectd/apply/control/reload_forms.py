"""From the configuration's ``reload = "..."`` to a channel."""

from __future__ import annotations

import shlex
import ssl
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from redirectd.apply.control.ami import Ami
from redirectd.apply.control.asterisk_cli import AsteriskCli
from redirectd.apply.control.binrpc import BinRpc
from redirectd.apply.control.channel import Channel
from redirectd.apply.control.jsonrpc import JsonRpcFifo, JsonRpcHttp, JsonRpcUnix
from redirectd.apply.control.kamcmd import Kamcmd
from redirectd.apply.control.program import OwnPrograms
from redirectd.errors import ConfigError, PeerError
from redirectd.plan.target import Command
from redirectd.plan.target_spec import OWN_PROGRAMS, RELOAD_FORMS


class NoChannel:
    """The channel for ``none``: the file is written and parsed back, and no server is notified or asked."""

    def ask(self, command: Command) -> NoReturn:
        """Raise PeerError: there is nobody to ask."""
        raise PeerError(f"reload = none, {command.name}", "there is no server to ask", "set `reload` to a channel")

    def describe(self) -> str:
        """Say that nobody is notified."""
        return "no server is reloaded or queried"

    def probe(self) -> str:
        """Give an empty text: nothing can be wrong with no channel."""
        return ""

    def close(self) -> None:
        """Nothing is held open."""


def open_channel(spec: str, *, timeout: float, password: str | None = None) -> Channel:
    """Make the channel that `spec` names; it connects with its first question.

    `timeout` is in seconds and holds for each question as a whole. `password` is for ``ami://`` alone. Raises
    ConfigError for a text that names no channel.
    """
    for prefix, make in _CHANNELS:
        if spec.startswith(prefix):
            return make(spec, timeout, password)
    raise _fault(spec, "is not a way to reach a server")


def _fault(spec: str, why: str) -> ConfigError:
    return ConfigError(f"reload = {spec!r}", why, f"use one of: {', '.join(RELOAD_FORMS)}")


def _path(spec: str, prefix: str) -> str:
    path = spec.removeprefix(prefix)
    if not path.startswith("/"):
        raise _fault(spec, "has no absolute path")
    return path


def _none(spec: str, timeout: float, password: str | None) -> Channel:
    del timeout, password
    if spec != "none":
        raise _fault(spec, "is not a way to reach a server")
    return NoChannel()


def _json_unix(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    return JsonRpcUnix(_path(spec, "jsonrpc:unix:"), timeout)


def _json_fifo(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    path, mark, query = _path(spec, "jsonrpc:fifo:").partition("?")
    if not mark:
        return JsonRpcFifo(path, timeout)
    name, _, folder = query.partition("=")
    if name != "reply_dir" or not folder.startswith("/"):
        raise _fault(spec, "has something else than ?reply_dir=/DIR behind the path")
    return JsonRpcFifo(path, timeout, folder)


def _json_http(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    try:
        return JsonRpcHttp(spec.removeprefix("jsonrpc:"), timeout)
    except ValueError as error:
        raise _fault(spec, str(error)) from None


def _binrpc(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    if not spec.startswith("binrpc:tcp:"):
        return BinRpc(_path(spec, "binrpc:unix:"), timeout)
    place = spec.removeprefix("binrpc:tcp:")
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        host, port = "", 0
    if not host or not port or parts.netloc != place or parts.username is not None:
        raise _fault(spec, "is not binrpc:tcp:HOST:PORT")
    return BinRpc((host, port), timeout)


def _kamcmd(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    short = spec.removeprefix("kamcmd:")
    argv = _words(spec) if short == spec else ["kamcmd", "-s", short]
    if argv[0] != "kamcmd":
        raise _fault(spec, "is not a way to reach a server")
    return Kamcmd(argv, timeout)


def _asterisk(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    argv = _words(spec)
    if argv == ["asterisk"]:
        argv = ["asterisk", "-rx"]
    elif argv[0].startswith("asterisk:"):
        argv = ["asterisk", "-C", _path(argv[0], "asterisk:"), "-rx"]
    if argv[0] != "asterisk" or argv[-1] != "-rx":
        raise _fault(spec, "is not asterisk with its options and -rx at the end")
    return AsteriskCli(argv, timeout)


def _ami(spec: str, timeout: float, password: str | None) -> Channel:
    parts = urlsplit(spec)
    query = dict(parse_qsl(parts.query))
    ca = query.pop("ca", None)
    try:
        port = parts.port or (5038 if parts.scheme == "ami" else 5039)
    except ValueError:
        raise _fault(spec, "has no proper port") from None
    if parts.password is not None:
        raise ConfigError("reload", "the ami:// address holds a password", "put it into a file, see `password_file`")
    if not parts.hostname or not parts.username or parts.path or query:
        raise _fault(spec, "is not an ami://USER@HOST:PORT")
    if not password:
        raise ConfigError(f"reload = {spec!r}", "there is no password for it", "name a file in `password_file`")
    tls = None
    if parts.scheme == "amis":
        try:
            tls = ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise ConfigError(f"reload = {spec!r}", f"ca cannot be read ({error})", "name a PEM file") from None
    elif ca:
        raise _fault(spec, "names a ca without TLS")
    return Ami((parts.hostname, port), unquote(parts.username), password, timeout, tls=tls)


def _own_programs(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    return OwnPrograms(spec.removeprefix(OWN_PROGRAMS), timeout)


def _words(spec: str) -> list[str]:
    try:
        return shlex.split(spec)
    except ValueError as error:
        raise _fault(spec, f"cannot be split into words ({error})") from None


_CHANNELS: tuple[tuple[str, Callable[[str, float, str | None], Channel]], ...] = (
    ("none", _none),
    (OWN_PROGRAMS, _own_programs),
    ("jsonrpc:unix:", _json_unix),
    ("jsonrpc:fifo:", _json_fifo),
    ("jsonrpc:http", _json_http),
    ("binrpc:", _binrpc),
    ("kamcmd", _kamcmd),
    ("asterisk", _asterisk),
    ("ami://", _ami),
    ("amis://", _ami),
)
