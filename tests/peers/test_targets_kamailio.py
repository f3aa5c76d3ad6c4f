"""Breakouts against a real Kamailio: each is refused by name or carried with exactly its meaning (R16, R24)."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from redirectd.apply.control import open_channel, prove
from redirectd.apply.control.channel import Channel, RetryLater
from redirectd.plan.route import Route
from redirectd.plan.target import Command, LookedUp, Rendered, Target
from redirectd.sip.compare import equal
from redirectd.sip.text import unescape_percent
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.kamailio_alias_db import KamailioAliasDb
from redirectd.targets.kamailio_dialplan import KamailioDialplan
from redirectd.targets.kamailio_dispatcher import KamailioDispatcher
from redirectd.targets.kamailio_htable import KamailioHtable
from redirectd.targets.kamailio_key import exact_keys
from redirectd.targets.uritext import MAX_WRITTEN
from tests.peers.breakouts import breakouts, list_fates
from tests.peers.conftest import StartKamailio
from tests.peers.lab.kamailio import Kamailio, Script
from tests.peers.lab.process import wait_until

pytestmark = pytest.mark.peer("kamailio")


# The operator's lookup of targets.md, and an answer that tells what it made of the Request-URI.
def told_by(target: LookedUp) -> str:
    """Give a script that looks up by the target's own lines, and answers what it made of the Request-URI."""
    call = target.lines().call.replace("$du = $null;", '$du = $null; append_to_reply("X-Moved: $ru\\r\\n");')
    return f'{call}    sl_send_reply("200", "Told"); exit;\n'


TELL = told_by(KamailioHtable())


def _route(number: int, old: str, new: str, kind: str = "user") -> Route:
    old_uri, new_uri = parse_uri(old), parse_uri(new)
    assert isinstance(old_uri, SipUri)
    assert isinstance(new_uri, SipUri)
    return Route((number,), "gateway" if kind == "gateway" else "user", old_uri, new_uri)


def _install(path: Path, content: bytes) -> None:
    before = int(path.stat().st_mtime)
    path.write_bytes(content)
    later = max(int(time.time()), before + 1)
    os.utime(path, (later, later))


def reload_all(channel: Channel, commands: Sequence[Command]) -> None:
    def reloaded() -> bool:
        try:
            for command in commands:
                channel.ask(command)
        except RetryLater:
            return False
        return True

    wait_until(reloaded, "the reload is let through")


def doubts_of(channel: Channel, target: Target, rendered: Rendered, changed: Sequence[str]) -> list[str]:
    """Ask about every changed key, not about a sample."""
    found: list[str] = []
    for begin in range(0, max(len(changed), 1), 200):
        for question in target.questions(rendered, changed[begin : begin + 200]):
            fault = prove(channel, question)
            if fault is not None:
                found.append(fault)
    return found


def given_to(proxy: Kamailio, caller: socket.socket, uri: str, number: int) -> str | None:
    """Ask by a SIP request where Kamailio's script would send `uri`; None where it has no entry."""
    head = (
        f"OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {caller.getsockname()[0]}:{caller.getsockname()[1]};"
        f"branch=z9hG4bK{number}\r\nMax-Forwards: 9\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n"
        f"Call-ID: {number}@t\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    caller.sendto(head.encode("ascii"), (proxy.address, proxy.port))
    answer = caller.recv(65536).decode("latin-1")
    assert answer.startswith("SIP/2.0 200 Told"), answer
    found = [line.partition(": ")[2] for line in answer.split("\r\n") if line.startswith("X-Moved")]
    return found[0] if found else None


def destinations_of(channel: Channel) -> Counter[str]:
    """Give what Kamailio has in service: set, URI, priority and attrs of each destination."""
    held = Counter[str]()
    reply: Any = channel.ask(Command("dispatcher.list"))
    for record in reply["RECORDS"]:
        for item in record["SET"]["TARGETS"]:
            dest = item["DEST"]
            attrs = dest.get("ATTRS", {}).get("BODY", "")
            held[f"{record['SET']['ID']} {dest['URI']} {dest['PRIORITY']} {attrs}".rstrip()] += 1
    return held


def wanted_of(rendered: Rendered) -> Counter[str]:
    """Give the same of what a list was understood to say."""
    parts = [(key.partition("/")[0], text.split(" ")) for key, text in rendered.entries.items()]
    return Counter(" ".join([set_id, words[0], words[2], *words[3:]]) for set_id, words in parts)


def test_htable_breakouts(start_kamailio: StartKamailio) -> None:
    """R16, R24: every breakout is refused, or Kamailio's htable and its lookup in a request give the approved URI."""
    proxy = start_kamailio(Script(incoming=TELL))
    target = KamailioHtable()
    table = breakouts()
    normal = [_route(90000 + i, f"sip:user{i}@old.test", f"sip:user{i}@new.test") for i in range(3)]
    longest = "sip:" + "9" * (MAX_WRITTEN - len("sip:@h")) + "@h"
    routes = [*(item.route for item in table), *normal, _route(90009, "sip:long@old.test", longest)]

    rendered = target.render(routes, None)

    assert target.parse(rendered.content) == rendered.entries
    _install(proxy.htable_file, rendered.content)
    channel = open_channel(f"jsonrpc:unix:{proxy.rpc_socket}", timeout=10)
    reload_all(channel, target.reload())
    assert doubts_of(channel, target, rendered, list(rendered.entries)) == []
    refused = {refusal.id for refusal in rendered.refused}
    conflicting = {number for conflict in rendered.conflicts for number in conflict.ids}
    asked_by_requests(proxy, rendered, routes)
    carried = [route for route in routes if route.id not in refused | conflicting]
    assert set(rendered.entries) >= {key for route in carried for key in exact_keys(route.old)}
    list_fates(target.kind, table, rendered)
    assert all(refusal.reason for refusal in rendered.refused)


DIALPLAN = """loadmodule "dialplan.so"
modparam("dialplan", "db_url", "text://FOLDER/dbtext")
modparam("dialplan", "table_name", "moved")"""

TELL_DIALPLAN = told_by(KamailioDialplan())

ALIAS_DB = """loadmodule "alias_db.so"
modparam("alias_db", "db_url", "text://FOLDER/dbtext")
modparam("alias_db", "use_domain", 1)"""

TELL_ALIAS_DB = told_by(KamailioAliasDb()).replace("redirectd_aliases", "moved")


@pytest.mark.parametrize(
    ("target", "modules", "tell"),
    [(KamailioDialplan(), DIALPLAN, TELL_DIALPLAN), (KamailioAliasDb(), ALIAS_DB, TELL_ALIAS_DB)],
    ids=["kamailio-dialplan", "kamailio-alias_db"],
)
def test_breakouts_of_the_other_tables(
    target: Target, modules: str, tell: str, short_folder: Path, loopback_address: str
) -> None:
    """R16, R24: every breakout is refused, or dialplan or alias_db give the approved URI to a request."""
    table = breakouts()
    rendered = target.render([item.route for item in table], None)
    assert target.parse(rendered.content) == rendered.entries
    modules = modules.replace("FOLDER", str(short_folder))
    proxy = Kamailio(short_folder, loopback_address, Script(incoming=tell), modules=modules)
    versions = proxy.htable_file.with_name("version")
    versions.write_text(versions.read_text() + "moved:2\n" + ("" if "dialplan" in modules else "moved:1\n"))
    proxy.htable_file.with_name("moved").write_bytes(rendered.content)
    proxy.start()
    try:
        channel = open_channel(f"binrpc:unix:{proxy.ctl_socket}", timeout=10)
        assert doubts_of(channel, target, rendered, list(rendered.entries)) == []
        asked_by_requests(proxy, rendered, [item.route for item in table], dollar=target.kind != "kamailio-dialplan")
    finally:
        proxy.stop()
    list_fates(target.kind, table, rendered)


def test_alias_db_takes_users_whatever_their_case(short_folder: Path, loopback_address: str) -> None:
    """R24, R44: db_text compares without case, so users that differ in case alone are one key: the first keeps it."""
    target = KamailioAliasDb()
    apart = [_route(1, "sip:Bob@old.test", "sip:1@new.test"), _route(2, "sip:bob@old.test", "sip:2@new.test")]
    alone = _route(3, "sip:Eve@old.test", "sip:3@new.test")
    rendered = target.render([*apart, alone], None)
    modules = ALIAS_DB.replace("FOLDER", str(short_folder))
    proxy = Kamailio(short_folder, loopback_address, Script(incoming=TELL_ALIAS_DB), modules=modules)
    versions = proxy.htable_file.with_name("version")
    versions.write_text(versions.read_text() + "moved:1\n")
    proxy.htable_file.with_name("moved").write_bytes(rendered.content)
    proxy.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.bind((proxy.address, 0))
            caller.settimeout(5)
            told = [
                given_to(proxy, caller, f"sip:{user}@old.test", number)
                for number, user in enumerate(("Eve", "eve", "Bob", "bob"), 1)
            ]
    finally:
        proxy.stop()

    assert told == ["sip:3@new.test", "sip:3@new.test", "sip:1@new.test", "sip:1@new.test"]
    assert [conflict.ids for conflict in rendered.conflicts] == [(2,)]


def asked_by_requests(proxy: Kamailio, rendered: Rendered, routes: Sequence[Route], *, dollar: bool = True) -> None:
    """Send a request for each carried route, and compare what Kamailio's script was given with the approved URI."""
    told_of = {refusal.id for refusal in rendered.refused}
    told_of |= {number for conflict in rendered.conflicts for number in conflict.ids}
    carried = [route for route in routes if route.id not in told_of]
    assert len(carried) > 300
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind((proxy.address, 0))
        caller.settimeout(5)
        for route in carried:
            found = given_to(proxy, caller, str(route.old), route.id)
            assert found is not None, route
            given, meant = parse_uri(found), route.new.without({"method"}, headers=True)
            same = equal(given, meant)
            if not dollar:  # it is escaped there, which 19.1.4 tells apart
                same = same or unescape_percent(str(given)) == unescape_percent(str(meant))
            assert same, route
        assert given_to(proxy, caller, "sip:evil@old.test", 1) is None


def test_htable_survives_a_restart_with_every_breakout(start_kamailio: StartKamailio) -> None:
    """A table that db_text can't read would keep Kamailio from starting: it starts with all that is carried."""
    proxy = start_kamailio(Script())
    target = KamailioHtable()
    rendered = target.render([item.route for item in breakouts()], None)
    _install(proxy.htable_file, rendered.content)

    proxy.restart()

    with_binrpc = open_channel(f"binrpc:unix:{proxy.ctl_socket}", timeout=10)
    assert doubts_of(with_binrpc, target, rendered, list(rendered.entries)) == []


def test_htable_questions_catch_a_reload_that_only_says_ok(start_kamailio: StartKamailio) -> None:
    """A file whose mtime is not later in whole seconds is not read again, and the sentinel tells."""
    proxy = start_kamailio(Script())
    target = KamailioHtable()
    first = target.render([_route(1, "sip:a@old.test", "sip:a@new.test")], None)
    second = target.render([_route(1, "sip:a@old.test", "sip:b@new.test")], None)
    channel = open_channel(f"jsonrpc:unix:{proxy.rpc_socket}", timeout=10)
    _install(proxy.htable_file, first.content)
    reload_all(channel, target.reload())
    seen = proxy.htable_file.stat()
    proxy.htable_file.write_bytes(second.content)
    os.utime(proxy.htable_file, (seen.st_atime, seen.st_mtime))
    reload_all(channel, target.reload())

    assert len(doubts_of(channel, target, second, ["sip:a@old.test:;"])) == 2
    _install(proxy.htable_file, second.content)
    reload_all(channel, target.reload())
    assert doubts_of(channel, target, second, ["sip:a@old.test:;"]) == []
    emptied = target.render([], None)
    assert any("still there" in doubt for doubt in doubts_of(channel, target, emptied, ["sip:a@old.test:;"]))
    _install(proxy.htable_file, emptied.content)
    reload_all(channel, target.reload())
    assert doubts_of(channel, target, emptied, ["sip:a@old.test:;"]) == []
    assert target.mtime_step


NO_RELOAD_PAUSE = 'modparam("dispatcher", "reload_delta", 0)'

BASE = b"""# gateways of the lab\r
1 sip:127.0.0.21:5060 8 10 weight=60;duid=one # first\r
1\tsip:127.0.0.22;transport=tcp
2 sip:127.0.0.21
2   sip:127.0.0.23:5080;lr 0 0 duid=two #x
"""


def test_dispatcher_breakouts(start_kamailio: StartKamailio) -> None:
    """R16, R24: whatever a gateway move holds, the only destinations that change are the two it is about.

    A host name that does not resolve is skipped by Kamailio with an Ok, and the questions tell.
    """
    proxy = start_kamailio(Script(), dispatcher="9 sip:127.0.0.99\n", modules=NO_RELOAD_PAUSE)
    target = KamailioDispatcher(base="/etc/kamailio/base.list")
    channel = open_channel(f"jsonrpc:unix:{proxy.rpc_socket}", timeout=10)
    old = SipUri("sip", None, None, "127.0.0.21", 5060)
    files: dict[bytes, Rendered] = {}
    table, all_rendered = breakouts("gateway"), []
    for item in table:
        route = item.route if item.name.endswith("old host") else item.route._replace(old=old)
        rendered = target.render([route], BASE)
        changed = rendered.content.partition(b"\n")[2] != BASE
        assert [refusal.id for refusal in rendered.refused] == ([] if changed else [route.id]), item.name
        files[rendered.content] = rendered
        all_rendered.append(rendered)
    resolved = 0
    for rendered in files.values():
        proxy.dispatcher_file.write_bytes(rendered.content)
        reload_all(channel, target.reload())
        held, wanted = destinations_of(channel), wanted_of(rendered)
        assert held - wanted == Counter()
        assert Counter({text: 1 for text in wanted if "127.0.0.2" in text and "127.0.0.21" not in text}) <= held
        assert (held == wanted) == (doubts_of(channel, target, rendered, []) == [])
        resolved += held == wanted
    list_fates(target.kind, table, *all_rendered)
    assert resolved == 2  # the base itself, and the move to an address


def test_dispatcher_moves_all_lines_of_a_gateway_and_nothing_else(start_kamailio: StartKamailio) -> None:
    """Two sets with one gateway are both moved, flags, priority and attrs stay, and Kamailio shows exactly that."""
    proxy = start_kamailio(Script(), dispatcher="9 sip:127.0.0.99\n", modules=NO_RELOAD_PAUSE)
    target = KamailioDispatcher(base="/etc/kamailio/base.list")
    rendered = target.render([_route(1, "sip:127.0.0.21:5060", "sip:127.0.0.31:5070;transport=tcp", "gateway")], BASE)
    assert rendered.content.partition(b"\n")[2] == BASE.replace(
        b"sip:127.0.0.21:5060", b"sip:127.0.0.31:5070;transport=tcp"
    ).replace(b"2 sip:127.0.0.21\n", b"2 sip:127.0.0.31:5070;transport=tcp\n")
    for spec in (
        f"jsonrpc:unix:{proxy.rpc_socket}",
        f"binrpc:unix:{proxy.ctl_socket}",
        f"kamcmd:unixs:{proxy.ctl_socket}",
    ):
        proxy.dispatcher_file.write_bytes(rendered.content)
        channel = open_channel(spec, timeout=10)
        assert doubts_of(channel, target, rendered, []) != []
        reload_all(channel, target.reload())
        assert doubts_of(channel, target, rendered, []) == []
        proxy.dispatcher_file.write_bytes(b"1 sip:127.0.0.31:5070;transport=tcp\n")
        reload_all(channel, target.reload())
        assert doubts_of(channel, target, rendered, []) != []


def test_dispatcher_reader_agrees_with_kamailio(start_kamailio: StartKamailio) -> None:
    """Bases with odd layout are read by redirectd as Kamailio reads them, long lines and comments included."""
    odd = b"\n".join(
        [
            b"1 sip:127.0.0.1 junk 7 x=1",
            b"  2\tsip:127.0.0.2#comment",
            b"sip:127.0.0.3 4 5",
            b"3sip:127.0.0.4 8 9 weight=1 2 3",
            b"4 sip:127.0.0.5 12abc",
            b"# " + b"c" * 1021 + b"5 sip:127.0.0.6",
            b"6 sip:127.0.0.7;x=%41 0 0 a#b",
            b"7 sip:user@127.0.0.8;lr",
            b"8 sip:127.0.0.9 0 3\r",
            b"9 sip:127.0.0.10 0 2 " + b"d=" + b"d" * 400,
            b"10 sip:127.0.0.11",
        ]
    )
    proxy = start_kamailio(Script(), dispatcher="99 sip:127.0.0.99\n")
    target = KamailioDispatcher()
    rendered = target.render([], odd)
    proxy.dispatcher_file.write_bytes(rendered.content)
    channel = open_channel(f"jsonrpc:unix:{proxy.rpc_socket}", timeout=10)
    reload_all(channel, target.reload())

    assert doubts_of(channel, target, rendered, []) == []
    assert len(rendered.entries) == 11
    assert destinations_of(channel) == wanted_of(rendered)
