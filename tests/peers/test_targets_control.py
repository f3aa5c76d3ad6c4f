"""Every control channel against the real server it is for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from redirectd.apply.control import AnswerError, RetryLater, open_channel
from redirectd.apply.control.ami import Ami
from redirectd.apply.control.channel import Channel
from redirectd.errors import PeerError
from redirectd.plan.target import Command
from redirectd.targets.answers import field, records, structs
from tests.peers.conftest import StartAsterisk, StartKamailio
from tests.peers.lab.asterisk import AMI_SECRET, AMI_USER, Setup
from tests.peers.lab.kamailio import Kamailio, Script
from tests.peers.lab.loopback import free_port, own_address

BIG_BINRPC = """modparam("ctl", "binrpc_max_body_size", 10000)
modparam("ctl", "binrpc_struct_max_body_size", 10000)"""

MANY = "".join(f"1 sip:127.1.{i // 250}.{i % 250 + 1}:5060 0 0 duid=d{i}\n" for i in range(1500))


def _kamailio_channels(proxy: Kamailio) -> dict[str, Channel]:
    specs = {
        "tcp": f"binrpc:tcp:{proxy.address}:{proxy.ctl_port}",
        "unix": f"jsonrpc:unix:{proxy.rpc_socket}",
        "http": f"jsonrpc:{proxy.rpc_url}",
        "fifo": f"jsonrpc:fifo:{proxy.rpc_fifo}?reply_dir={proxy.folder}",
        "binrpc": f"binrpc:unix:{proxy.ctl_socket}",
        "kamcmd": f"kamcmd -s unixs:{proxy.ctl_socket}",
    }
    return {name: open_channel(spec, timeout=10) for name, spec in specs.items()}


@pytest.mark.peer("kamailio")
def test_kamailio_answers_the_same_over_every_channel(start_kamailio: StartKamailio) -> None:
    """Values, errors and versions come alike over JSON-RPC by datagram, FIFO and HTTP, binrpc and kamcmd."""
    proxy = start_kamailio(Script(), dispatcher="1 sip:127.0.0.1\n1 sip:127.0.0.2 0 5\n7 sip:127.0.0.3\n")
    proxy.write_users({"a@b": "sip:c@d", "123": "sip:e@f"}, generation=7)
    proxy.reload_users(generation=7)
    for name, channel in _kamailio_channels(proxy).items():
        assert channel.probe().startswith("kamailio 5."), name
        for key, value in (("a@b", "sip:c@d"), ("123", "sip:e@f")):  # a text that looks like a number stays one
            found = field(channel.ask(Command("htable.get", ("redir", key))), "item")
            assert field(found, "value") == value, name
        assert [str(table["all"]) for table in structs(channel.ask(Command("htable.stats")))] == ["3"], name
        sets = {
            str(field(record, "ID")): sorted(
                str(field(dest, "URI")) for dest in records(field(record, "TARGETS"), "DEST")
            )
            for record in records(field(channel.ask(Command("dispatcher.list")), "RECORDS"), "SET")
        }
        assert sets == {"1": ["sip:127.0.0.1", "sip:127.0.0.2"], "7": ["sip:127.0.0.3"]}, name
        with pytest.raises(AnswerError, match="doesn't exist in htable") as missing:
            channel.ask(Command("htable.get", ("redir", "nobody")))
        assert missing.value.code == 500
        with pytest.raises(AnswerError, match=r"(?i)not found") as unknown:
            channel.ask(Command("no.such"))
        assert "load the module" in unknown.value.what_to_do
        channel.close()
        assert channel.probe().startswith("kamailio 5."), name
        channel.close()


@pytest.mark.peer("kamailio")
def test_an_ongoing_reload_is_retried_later_over_every_channel(start_kamailio: StartKamailio) -> None:
    """Kamailio's pause between two reloads is RetryLater, not a failure, over every channel."""
    proxy = start_kamailio(Script(), dispatcher="1 sip:127.0.0.1\n")
    proxy.reload_dispatcher()
    for channel in _kamailio_channels(proxy).values():
        with pytest.raises(RetryLater):
            channel.ask(Command("dispatcher.reload"))
        channel.close()


@pytest.mark.peer("kamailio")
def test_big_answers_come_whole_or_fail_by_name(start_kamailio: StartKamailio) -> None:
    """1,500 destinations come over HTTP and FIFO, and over binrpc where ctl may; what can't come names the way out."""
    proxy = start_kamailio(Script(), dispatcher=MANY)
    channels = _kamailio_channels(proxy)
    channels["unix"] = open_channel(f"jsonrpc:unix:{proxy.rpc_socket}", timeout=1)
    assert {name: _held(channels[name]) for name in ("http", "fifo")} == {"http": 1500, "fifo": 1500}
    for name, way_out in (("unix", "jsonrpc:http"), ("binrpc", "binrpc_max_body_size"), ("kamcmd", "HTTP")):
        with pytest.raises(PeerError) as error:
            _held(channels[name])
        assert way_out in error.value.what_to_do, (name, str(error.value))
    for channel in channels.values():
        channel.close()
    proxy = start_kamailio(Script(), dispatcher=MANY, modules=BIG_BINRPC)
    assert _held(_kamailio_channels(proxy)["binrpc"]) == 1500


def _held(channel: Channel) -> int:
    (record,) = records(field(channel.ask(Command("dispatcher.list")), "RECORDS"), "SET")
    return len(list(records(field(record, "TARGETS"), "DEST")))


@pytest.mark.peer("kamailio")
def test_a_restarted_kamailio_is_asked_again(start_kamailio: StartKamailio) -> None:
    """A kept connection that a restart has closed is opened again, and a stopped server is a PeerError at once."""
    proxy = start_kamailio(Script())
    channels = _kamailio_channels(proxy)
    for channel in channels.values():
        channel.probe()
    proxy.restart()
    for name, channel in channels.items():
        assert channel.probe().startswith("kamailio 5."), name
    proxy.stop()
    for name, channel in channels.items():
        with pytest.raises(PeerError) as error:
            channel.probe()
        assert not isinstance(error.value, AnswerError), name
        assert error.value.what_to_do
        channel.close()


@pytest.mark.peer("asterisk")
def test_asterisk_answers_the_same_over_both_channels(start_asterisk: StartAsterisk) -> None:
    """CLI texts, unknown commands and the reload come alike over `asterisk -rx` and the manager interface."""
    server = start_asterisk(Setup("[t]\nexten => 5551,1,Return(sip:a@b)\n"))
    channels = {
        "cli": open_channel(f"asterisk -C {server.config_file} -rx", timeout=10),
        "ami": open_channel(f"ami://{AMI_USER}@{server.address}:{server.ami_port}", timeout=10, password=AMI_SECRET),
    }
    for name, channel in channels.items():
        assert channel.probe().startswith("Asterisk "), name
        assert "Return(sip:a@b)" in str(channel.ask(Command("dialplan show 5551@t"))), name
        assert "There is no existence of 5552@t extension" in str(channel.ask(Command("dialplan show 5552@t"))), name
        assert "eloaded" in str(channel.ask(Command("dialplan reload"))), name
        with pytest.raises(AnswerError, match="No such command"):
            channel.ask(Command("no such thing"))
    server.stop()
    for channel in channels.values():
        with pytest.raises(PeerError):
            channel.probe()
        channel.close()


@pytest.mark.peer("asterisk")
def test_the_manager_refuses_a_wrong_password_by_name(start_asterisk: StartAsterisk) -> None:
    """A wrong secret is a PeerError that names manager.conf and shows no secret."""
    server = start_asterisk(Setup(""))
    channel = open_channel(f"ami://{AMI_USER}@{server.address}:{server.ami_port}", timeout=10, password="not-it")
    with pytest.raises(PeerError, match="refused the login") as error:
        channel.probe()
    assert "manager.conf" in error.value.what_to_do
    assert "not-it" not in f"{error.value} {error.value.what_to_do} {channel.describe()}"


@pytest.mark.peer("asterisk")
def test_manager_actions_are_sent_ahead_of_their_answers(start_asterisk: StartAsterisk) -> None:
    """2,000 DBPut in one go are all done, a failed one is told after all, and values can't bring lines of their own."""
    server = start_asterisk(Setup(""))
    spec = f"ami://{AMI_USER}@{server.address}:{server.ami_port}"
    channel = open_channel(spec, timeout=10, password=AMI_SECRET)
    assert isinstance(channel, Ami)
    channel.act([Command("DBPut", ("redirectd", f"k{i}", f"sip:{i}@h;x=1")) for i in range(2000)])
    assert "Value: sip:1999@h;x=1" in str(channel.ask(Command("database get redirectd k1999")))
    with pytest.raises(AnswerError):
        channel.act([Command("DBDel", ("redirectd", "nobody")), Command("DBDel", ("redirectd", "k7"))])
    assert "not found" in str(channel.ask(Command("database get redirectd k7")))
    with pytest.raises(PeerError, match="can't be sent"):
        channel.act([Command("DBPut", ("redirectd", "k", "a\r\nAction: Command\r\nCommand: core stop now"))])
    assert channel.probe().startswith("Asterisk ")
    channel.close()


def _certificate(folder: Path, name: str) -> Path:
    """Make a self-signed certificate for *name* (a subjectAltName); its key is in a file beside it."""
    made = folder / "manager.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pbx"]
    command += ["-addext", f"subjectAltName={name}", "-keyout", str(folder / "manager.key"), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


def _tls(folder: Path, address: str, port: int) -> Setup:
    """The operator's TLS part of manager.conf, with the certificate from `_certificate`."""
    lines = ["tlsenable = yes", f"tlsbindaddr = {address}:{port}", f"tlscertfile = {folder}/manager.pem"]
    return Setup("", manager_general="\n".join([*lines, f"tlsprivatekey = {folder}/manager.key"]))


@pytest.mark.peer("asterisk", "openssl")
def test_the_manager_is_spoken_to_over_tls(start_asterisk: StartAsterisk, short_folder: Path) -> None:
    """`amis://` with the manager's own certificate as `ca`: questions, a reload and 2,000 actions in one go."""
    address = own_address()
    port = free_port(address, start=5039)
    ca = _certificate(short_folder, f"IP:{address}")
    server = start_asterisk(_tls(short_folder, address, port))
    spec = f"amis://{AMI_USER}@{address}:{port}?ca={ca}"
    channel = open_channel(spec, timeout=10, password=AMI_SECRET)
    assert isinstance(channel, Ami)
    assert channel.probe().startswith("Asterisk ")
    assert "eloaded" in str(channel.ask(Command("dialplan reload")))
    channel.act([Command("DBPut", ("redirectd", f"k{i}", f"sip:{i}@h;x=1" + 200 * "y")) for i in range(2000)])
    assert "Value: sip:1999@h;x=1" in str(channel.ask(Command("database get redirectd k1999")))
    assert "2000 results found" in server.rx("database show redirectd")
    server.stop()
    with pytest.raises(PeerError):
        channel.probe()
    server.start()
    assert channel.probe().startswith("Asterisk ")
    channel.close()


@pytest.mark.peer("asterisk", "openssl")
def test_a_manager_that_is_not_trusted_gets_no_password(start_asterisk: StartAsterisk, short_folder: Path) -> None:
    """Without the CA, under another name, or where no TLS is spoken, no login is sent, and the mend is named."""
    address = own_address()
    port = free_port(address, start=5039)
    ca = _certificate(short_folder, "DNS:pbx.example.net")
    server = start_asterisk(_tls(short_folder, address, port))
    ways = {
        f"amis://{AMI_USER}@{address}:{port}": "?ca=",
        f"amis://{AMI_USER}@{address}:{port}?ca={ca}": "as the certificate does",
        f"amis://{AMI_USER}@{server.address}:{server.ami_port}?ca={ca}": "TLS",
    }
    for spec, mend in ways.items():
        with pytest.raises(PeerError) as error:
            open_channel(spec, timeout=5, password=AMI_SECRET).probe()
        assert mend in error.value.what_to_do, spec
    assert "logged on" not in server.full_log.read_text()
