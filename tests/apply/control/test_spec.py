"""From `reload = "..."` to a channel: every way there is, and faults by name."""

from __future__ import annotations

import pytest

from redirectd.apply.control import open_channel
from redirectd.errors import ConfigError, PeerError
from redirectd.plan.target import Command


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("none", "no server"),
        ("jsonrpc:unix:/run/k.sock", "/run/k.sock"),
        ("jsonrpc:fifo:/run/k.fifo", "replies in /tmp"),
        ("jsonrpc:fifo:/run/k.fifo?reply_dir=/run/r", "replies in /run/r"),
        ("jsonrpc:http://127.0.0.1:8080/RPC", "http://127.0.0.1:8080/RPC"),
        ("jsonrpc:https://k.example/RPC", "https://k.example/RPC"),
        ("binrpc:unix:/run/ctl", "/run/ctl"),
        ("binrpc:tcp:kamailio:2046", "kamailio:2046"),
        ("binrpc:tcp:[2001:db8::1]:2046", "[2001:db8::1]:2046"),
        ("kamcmd", "kamcmd"),
        ("kamcmd:unixs:/run/ctl", "kamcmd -s unixs:/run/ctl"),
        ("kamcmd -s 'unixs:/run/a b'", "unixs:/run/a b"),
        ("asterisk -rx", "asterisk -rx"),
        ("asterisk", "asterisk -rx"),
        ("asterisk:/etc/b/asterisk.conf", "asterisk -C /etc/b/asterisk.conf -rx"),
        ("asterisk -C '/etc/b c/asterisk.conf' -rx", "/etc/b c/asterisk.conf"),
        ("ami://me@127.0.0.1", "ami://me@127.0.0.1:5038"),
        ("amis://me@127.0.0.1:5039", "amis://me@127.0.0.1:5039"),
    ],
)
def test_every_way_describes_itself_without_connecting(spec: str, told: str) -> None:
    """A channel is made without a server, and its description shows no password."""
    channel = open_channel(spec, timeout=1, password="hidden")
    assert told in channel.describe()
    assert "hidden" not in channel.describe()
    channel.close()


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "nonesuch",
        "none at all",
        "jsonrpc:unix:relative",
        "jsonrpc:fifo:/x?other=/y",
        "jsonrpc:fifo:/x?reply_dir=y",
        "jsonrpc:http://",
        "jsonrpc:http://me:pw@h/RPC",
        "jsonrpc:httpx://h",
        "binrpc:/run/x",
        "binrpc:tcp:kamailio",
        "binrpc:tcp::2046",
        "binrpc:tcp:me@kamailio:2046",
        "binrpc:tcp:kamailio:2046/x",
        "binrpc:tcp:kamailio:70000",
        "kamcmd -s 'open",
        "asterisk -r",
        "asterisk:relative",
        "ami://127.0.0.1",
        "ami://me@127.0.0.1/path",
        "ami://me@127.0.0.1:x",
        "ami://me:secret@127.0.0.1",
        "ami://me@127.0.0.1?ca=/x",
        "amis://me@127.0.0.1?ca=/no/such.pem",
        "amix://me@h",
        "kamcmdx",
        "asteriskx -rx",
    ],
)
def test_a_fault_names_the_ways(spec: str) -> None:
    """What names no channel is a ConfigError with a way out, and a password in it is not repeated."""
    with pytest.raises(ConfigError) as error:
        open_channel(spec, timeout=1, password="hidden")
    assert error.value.what_to_do
    assert "secret" not in f"{error.value}"


def test_the_manager_needs_a_password() -> None:
    """Without a password an ami:// channel is refused, and the key is named that gives one."""
    with pytest.raises(ConfigError) as error:
        open_channel("ami://me@127.0.0.1", timeout=1)
    assert "password_file" in error.value.what_to_do


def test_none_cannot_be_asked() -> None:
    """`none` has nobody to ask, and `check` finds nothing wrong with it."""
    channel = open_channel("none", timeout=1)
    assert channel.probe() == ""
    with pytest.raises(PeerError):
        channel.ask(Command("core.version"))
