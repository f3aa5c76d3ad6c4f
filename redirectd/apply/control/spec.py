"""From the configuration's ``reload = "..."`` to a channel."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from redirectd.apply.control.asterisk_cli import AsteriskCli
from redirectd.apply.control.channel import Channel
from redirectd.apply.control.jsonrpc_unix import JsonRpcUnix
from redirectd.apply.control.nothing import NoChannel
from redirectd.errors import ConfigError

WAYS = (
    "none",
    "jsonrpc:unix:/PATH",
    "asterisk -rx",
    "asterisk -C /PATH/asterisk.conf -rx",
)
"""The forms of a channel, for messages and documentation."""


def open_channel(spec: str, *, timeout: float, password: str | None = None) -> Channel:
    """Make the channel that `spec` names; it connects with its first question.

    `timeout` is in seconds and holds for each question as a whole. `password` is for ``ami://`` alone. Raises
    ConfigError for a text that names no channel.
    """
    for prefix, make in _CHANNELS:
        if spec.startswith(prefix):
            return make(spec, timeout, password)
    raise _fault(spec, "is no way to reach a server")


def _fault(spec: str, why: str) -> ConfigError:
    return ConfigError(f"reload = {spec!r}", why, f"use one of: {', '.join(WAYS)}")


def _path(spec: str, prefix: str) -> str:
    path = spec.removeprefix(prefix)
    if not path.startswith("/"):
        raise _fault(spec, "has no absolute path")
    return path


def _none(spec: str, timeout: float, password: str | None) -> Channel:
    del timeout, password
    if spec != "none":
        raise _fault(spec, "is no way to reach a server")
    return NoChannel()


def _json_unix(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    return JsonRpcUnix(_path(spec, "jsonrpc:unix:"), timeout)


def _asterisk(spec: str, timeout: float, password: str | None) -> Channel:
    del password
    argv = _words(spec)
    if argv[-1] != "-rx":
        raise _fault(spec, "does not end in -rx")
    return AsteriskCli(argv, timeout)


def _words(spec: str) -> list[str]:
    try:
        return shlex.split(spec)
    except ValueError as error:
        raise _fault(spec, f"cannot be split into words ({error})") from None


_CHANNELS: tuple[tuple[str, Callable[[str, float, str | None], Channel]], ...] = (
    ("none", _none),
    ("jsonrpc:unix:", _json_unix),
    ("asterisk ", _asterisk),
)
