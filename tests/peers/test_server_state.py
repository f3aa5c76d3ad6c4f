"""What a server's own state and configuration mean for an apply: asked before, said in words, kept (issue 14)."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from redirectd.cli.checks import as_user, targets_check
from redirectd.plan.target import TargetError
from redirectd.targets.kamailio_dispatcher import KamailioDispatcher
from tests.peers.conftest import Answer, StartAsterisk, StartKamailio
from tests.peers.lab.asterisk import LOOK_UP, Asterisk, Setup
from tests.peers.lab.kamailio import Kamailio, Script
from tests.peers.lab.sip_peers import Reply
from tests.peers.operator import DISPATCHER, Operator

USERS = """
[[target]]
name = "users"
kind = "kamailio-htable"
path = "{path}"
reload = "binrpc:unix:{socket}"
{more}
"""


def _approve(operator: Operator, moves: dict[str, str], kind: str = "user") -> None:
    operator.import_moves(moves, "--force", "--reason", "a test", kind=kind)


def _findings(operator: Operator, level: str, *arguments: str) -> dict[str, str]:
    """What check says on one level, by place."""
    done = operator.try_run("check", "--json", *arguments)
    document: dict[str, Any] = json.loads(done.stdout)
    return {
        one["where"]: one["why"] + " / " + one["what_to_do"] for one in document["findings"] if one["level"] == level
    }


def _users(operator: Operator, server: Kamailio, more: str = "") -> None:
    operator.configure(USERS.format(path=server.htable_file, socket=server.ctl_socket, more=more))


@pytest.mark.peer("kamailio")
def test_a_table_that_kamailio_writes_over_gets_nothing(operator: Operator, start_kamailio: StartKamailio) -> None:
    """With dbmode=1 Kamailio empties the table when it stops: check names it a fault, and apply installs nothing."""
    extra = 'modparam("htable", "htable", "moved=>size=4;dbtable=redirectd_htable;dbmode=1;")\n'
    server = start_kamailio(Script(), modules=extra)
    _users(operator, server, 'table = "moved"')
    _approve(operator, {"sip:a@old.test": "sip:a@new.test"})
    before = server.htable_file.read_bytes()

    result = operator.json("apply", code=1)

    assert result["targets"][0]["outcome"] == "refused"
    assert "dbmode=1" in result["error"]
    assert server.htable_file.read_bytes() == before
    faults = _findings(operator, "fault")
    assert "dbmode=1" in faults["target users"]
    assert "take dbmode out" in faults["target users"]
    _users(operator, server)
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"
    assert "target users" not in _findings(operator, "fault")


@pytest.mark.peer("kamailio")
def test_destinations_of_run_time_are_named_in_the_plan(operator: Operator, start_kamailio: StartKamailio) -> None:
    """What dispatcher.add brought is named by plan, which changes nothing, and kept by apply."""
    base = "1 sip:127.0.0.21\n1 sip:127.0.0.22\n"
    server = start_kamailio(Script(), dispatcher=base)
    (server.folder / "base.list").write_text(base, encoding="ascii")
    operator.configure(DISPATCHER.format(folder=server.folder))
    operator.run("apply")
    server.add_destination(1, "sip:127.0.0.99", 0, 7, "weight=50")

    [target] = operator.json("plan")["targets"]

    [notice] = target["notices"]
    assert "added at run time, set 1: sip:127.0.0.99" in notice
    assert "sip:127.0.0.99" in operator.try_run("plan").stderr
    assert "sip:127.0.0.99" in operator.run("plan", "--markdown")
    _approve(operator, {"sip:127.0.0.22": "sip:127.0.0.32"}, "gateway")
    operator.run("apply")
    shown = server.rpc("dispatcher.list")["RECORDS"][0]["SET"]["TARGETS"]
    assert {each["DEST"]["URI"] for each in shown} == {"sip:127.0.0.21", "sip:127.0.0.32", "sip:127.0.0.99"}


DATABASE = """
modparam("dispatcher", "db_url", "text://{folder}/tables")
"""
COLUMNS = (
    "id(int,auto) setid(int) destination(string) flags(int) priority(int) attrs(string,null) description(string,null)\n"
)


@pytest.mark.peer("kamailio")
def test_a_dispatcher_that_is_read_from_a_database_is_a_fault(
    operator: Operator, start_kamailio: StartKamailio, short_folder: Path
) -> None:
    """With db_url Kamailio never reads the list: check says so with the line, and exit code 4 names it as a cause."""
    tables = short_folder / "tables"
    tables.mkdir()
    (tables / "version").write_text("table_name(string) table_version(int)\ndispatcher:4\n", encoding="ascii")
    (tables / "dispatcher").write_text(f"{COLUMNS}1:1:sip\\:127.0.0.50:0:0::\n", encoding="ascii")
    server = start_kamailio(Script(), modules=DATABASE.format(folder=short_folder))
    server.dispatcher_file.unlink()
    (server.folder / "base.list").write_text("1 sip:127.0.0.21\n", encoding="ascii")
    operator.configure(DISPATCHER.format(folder=server.folder))

    faults = _findings(operator, "fault")

    [(where, why)] = [item for item in faults.items() if "gateways" in item[0]]
    assert f"{server.config_file}, line " in where
    assert "reads its dispatcher list from a database" in why
    done = operator.try_run("apply")
    assert done.returncode == 4
    assert "usual cause" in done.stderr
    assert "db_url" in done.stderr


@pytest.mark.peer("kamailio")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look with another user's eyes")
def test_a_socket_that_only_root_may_use_is_named(
    start_kamailio: StartKamailio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ctl's socket has mode 0600: root's check says that the service's user has no right to it, and how it gets one."""
    server = start_kamailio(Script())
    monkeypatch.setattr(as_user, "SERVICE", "nobody")
    monkeypatch.setattr(targets_check, "SERVICE", "nobody")
    control = f"binrpc:unix:{server.ctl_socket}"
    [finding] = targets_check.check_access(control, "users")
    assert (finding.level, finding.where) == ("warning", f"reload of users, {server.ctl_socket}")
    assert 'modparam("ctl", "mode", 0660)' in finding.what_to_do
    server.ctl_socket.chmod(0o666)
    assert list(targets_check.check_access(control, "users")) == []


def _dialplan(operator: Operator, server: Asterisk) -> None:
    operator.configure(
        f'[[target]]\nname = "pbx"\nkind = "asterisk-dialplan"\nwidth = "user"\npath = "{server.dialplan_file}"\n'
        f"{server.control()}"
    )


@pytest.mark.peer("asterisk")
def test_a_later_approval_takes_no_live_row_away(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """R44: Asterisk has one key for alice:6003 and alice:6004; what is live stays, and the later one is named."""
    server = start_asterisk(Setup(LOOK_UP))
    _dialplan(operator, server)
    _approve(operator, {"sip:alice@127.0.0.9:6003": "sip:alice@127.0.0.10"})
    assert operator.json("apply")["targets"][0]["outcome"] == "verified"
    live = server.rx("dialplan show redirectd-map-63")
    assert "Return(sip:alice@127.0.0.10)" in live
    _approve(operator, {"sip:alice@127.0.0.9:6004": "sip:alice@127.0.0.11"})

    plan = operator.json("plan")

    assert [one["ids"] for one in plan["conflicts"]] == [[2]]
    assert operator.json("apply")["targets"][0]["outcome"] == "unchanged"
    assert server.rx("dialplan show redirectd-map-63") == live


@pytest.mark.peer("kamailio")
def test_what_apply_refuses_is_a_fault_before(operator: Operator, start_kamailio: StartKamailio) -> None:
    """An installed file that was edited, emptied or deleted, and a base with a line that Kamailio skips."""
    server = start_kamailio(Script())
    (server.folder / "base.list").write_text("1 sip:127.0.0.21\n", encoding="ascii")
    server.dispatcher_file.unlink()
    operator.configure(
        USERS.format(path=server.htable_file, socket=server.ctl_socket, more=""),
        DISPATCHER.format(folder=server.folder),
    )
    _approve(operator, {"sip:a@old.test": "sip:a@127.0.0.9"})
    operator.run("apply")
    assert _findings(operator, "fault") == {}
    good = server.htable_file.read_bytes()
    for content in (good + b"9:x:0:0:y:0\n", b""):
        server.htable_file.write_bytes(content)
        assert list(_findings(operator, "fault")) == [f"target users, {server.htable_file}"]
        assert operator.try_run("apply").returncode == 3
    server.htable_file.unlink()
    assert list(_findings(operator, "fault")) == [f"target users, {server.htable_file}"]
    operator.run("apply")
    assert server.htable_file.read_bytes() == good
    (server.folder / "base.list").write_text("1 sip:127.0.0.21\n1 tel:+49\n", encoding="ascii")
    assert list(_findings(operator, "fault")) == [f"target gateways, base {server.folder}/base.list"]
    assert operator.try_run("apply").returncode == 1


RINGING = """\
[{at:%Y-%m-%d %H:%M:%S.%f}] VERBOSE[1] res_pjsip_logger.c: <--- Received SIP response (126 bytes) from UDP:192.0.2.7:5060 --->
SIP/2.0 180 Ringing
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKPja
To: <sip:x@y.test>;tag=1
Call-ID: c1
CSeq: 1 INVITE

"""  # noqa: E501 - one line of the log


@pytest.mark.peer("kamailio")
def test_nothing_is_called_working_before_anything_was_read(operator: Operator, start_kamailio: StartKamailio) -> None:
    """R45: right after an apply by `reload = "none"`, and after one that Kamailio proves, it is "installed"."""
    server = start_kamailio(Script())
    log = operator.folder / "sip.log"
    log.write_text("nothing of it\n")
    target = f'[[target]]\nname = "users"\nkind = "kamailio-htable"\npath = "{server.htable_file}"\n'
    operator.configure(target + 'reload = "none"\n')
    _approve(operator, {"sip:a@old.test": "sip:a@127.0.0.9"})
    assert operator.json("apply")["targets"][0]["outcome"] == "installed"
    for _ in range(2):
        screen = operator.run("status")
        assert "in service and working" not in screen
        assert "installed, and no traffic read from a log since: 1" in screen
        assert operator.json("status")["saved"] == {
            "remaps": 0, "calls_a_day": 0, "milliseconds_a_call": None, "unobserved": 1
        }  # fmt: skip
        operator.configure(target + f'reload = "binrpc:unix:{server.ctl_socket}"\n')
        operator.run("apply")
    operator.run("ingest", str(log))
    log.write_text(RINGING.format(at=datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)))
    operator.run("ingest", str(log))  # an archive
    assert "installed, and no traffic read from a log since: 1" in operator.run("status")
    log.write_text(RINGING.format(at=datetime.now(UTC)))
    operator.run("ingest", str(log))
    assert "in service and working: 1" in operator.run("status")


MOVES = {
    "sip:four@old.test": "sip:four@127.0.0.9:5060",
    "sip:six@old.test": "sip:six@[::1]:5060",
    "sip:secure@old.test": "sips:secure@127.0.0.9",
    "sip:stream@old.test": "sip:stream@127.0.0.9;transport=tcp",
}


@pytest.mark.peer("kamailio")
def test_moves_that_kamailio_has_no_socket_for_are_named(operator: Operator, start_kamailio: StartKamailio) -> None:
    """A move to IPv6 or to TLS, without such a socket, is named by plan before it routes, and by check after."""
    server = start_kamailio(Script())
    _users(operator, server)
    _approve(operator, MOVES)

    notices = "\n".join(operator.json("plan")["targets"][0]["notices"])

    assert "[::1] needs udp over IPv6, and the server has no such socket" in notices
    assert "127.0.0.9 needs tls over IPv4, and the server has no such socket" in notices
    assert "tcp" not in notices  # Kamailio listens for it
    assert "needs udp over IPv4" not in notices
    operator.run("apply")
    assert operator.json("plan")["targets"][0]["notices"] == []  # nothing is new
    document = operator.json("check")
    found = [one["why"] for one in document["findings"] if one["where"] == "target users, reach"]
    assert any("[::1] needs udp over IPv6" in one for one in found)
    assert any("needs tls over IPv4" in one for one in found)


@pytest.mark.peer("asterisk")
def test_moves_that_asterisk_has_no_transport_for_are_named(operator: Operator, start_asterisk: StartAsterisk) -> None:
    """Asterisk's `pjsip show transports` says the same of its moves."""
    server = start_asterisk(Setup(LOOK_UP))
    _dialplan(operator, server)
    _approve(operator, MOVES)

    notices = "\n".join(operator.json("plan")["targets"][0]["notices"])

    assert "[::1] needs udp over IPv6, and the server has no such socket" in notices
    assert "127.0.0.9 needs tcp over IPv4, and the server has no such socket" in notices
    assert "needs udp over IPv4" not in notices


@pytest.mark.peer("kamailio")
def test_an_address_that_answers_no_options_is_named(
    operator: Operator, start_kamailio: StartKamailio, answering_side: Answer, loopback_address: str
) -> None:
    """Only with --ping: an address that answers is passed over, whatever the code, and a silent one is named."""
    server = start_kamailio(Script())
    side = answering_side([Reply(404, "Not Found")])
    _users(operator, server)
    answers = f"sip:a@{side.address}:{side.port}"
    _approve(operator, {"sip:a@old.test": answers, "sip:b@old.test": f"sip:b@{loopback_address}:5999"})

    assert operator.json("plan")["targets"][0]["notices"] == []
    [notice] = operator.json("plan", "--ping")["targets"][0]["notices"]
    assert f"nobody answers an OPTIONS to sip:{loopback_address}:5999" in notice
    operator.run("apply")
    found = _findings(operator, "warning", "--ping")
    assert f"sip:{loopback_address}:5999" in found["target users, reach"]
    assert "target users, reach" not in _findings(operator, "warning")


ATTRS = (
    *("weight=50", "weight=50;", "duid=x;;y", "=", "weight=", 'a="b"', 'a="b";c=d', "a='b;c'", "a=b'c", "{}", '"a'),
    *('weight="50', "x='a", 'a="b"c', 'a=b;c="d'),
)


@pytest.mark.peer("kamailio")
def test_attrs_are_taken_as_kamailio_takes_them(operator: Operator, start_kamailio: StartKamailio) -> None:
    """Attrs that make Kamailio skip a destination are refused with their line by plan and check, and no others are."""
    lines = [f"{number} sip:127.0.0.{number} 0 0 {attrs}\n" for number, attrs in enumerate(ATTRS, start=1)]
    server = start_kamailio(Script(), dispatcher="".join(lines))
    listed = {record["SET"]["ID"] for record in server.rpc("dispatcher.list")["RECORDS"]}
    operator.configure(DISPATCHER.format(folder=server.folder))
    taken = set()
    for number, line in enumerate(lines, start=1):
        with suppress(TargetError):
            KamailioDispatcher().parse(line.encode())
            taken.add(number)
    assert taken == listed
    assert len(ATTRS) - len(taken) == 4
    (server.folder / "base.list").write_text(lines[-1], encoding="ascii")
    assert "line 1: the attrs" in operator.try_run("plan").stderr
    assert "line 1: the attrs" in str(_findings(operator, "fault"))
