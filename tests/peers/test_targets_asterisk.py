"""Breakouts against a real Asterisk: each is refused by name or carried with exactly its meaning (R16, R24)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

import pytest

from redirectd.apply.control import open_channel, prove
from redirectd.apply.control.channel import Channel, Pipelined
from redirectd.plan.route import Route
from redirectd.plan.target import Rendered, Target, token_of
from redirectd.sip.compare import route_key
from redirectd.sip.text import unescape_percent
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.asterisk_astdb import AsteriskAstdb
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.asterisk_name import EXACT, shard
from redirectd.targets.asterisk_pjsip_aor import AsteriskPjsipAor
from tests.peers.breakouts import breakouts, list_fates
from tests.peers.conftest import Answer, StartAsterisk
from tests.peers.lab.asterisk import AMI_SECRET, AMI_USER, LOOK_UP, LOOK_UP_ASTDB, Asterisk, Setup, dial_plan
from tests.peers.lab.process import wait_until
from tests.peers.lab.sip_peers import RINGS_AND_ANSWERS, moved_to, place_call

pytestmark = pytest.mark.peer("asterisk")

# Looks an extension up as the operator does, and writes what came back into the log.
TELL = f"""
[tell]
exten => h,1,Hangup()
exten => _.,1,Set(REDIRECTD_USER=${{EXTEN}})
 same => n,Gosub(redirectd-lookup,s,1)
 same => n,Log(NOTICE,TOLD ${{CHANNEL(pjsip,call-id)}} <${{GOSUB_RETVAL}}>)
 same => n,Hangup()
{LOOK_UP}"""

# The lookup of earlier versions.
OLD_LOOK_UP = """
[redirectd-lookup]
exten => s,1,GotoIf($[${FIELDQTY(REDIRECTD_USER,:)} != 1]?none)
 same => n,Set(LOCAL(user)=${FILTER(-+0-9A-Za-z.~_*#,${REDIRECTD_USER})})
 same => n,Set(LOCAL(md5)=${MD5(${REDIRECTD_USER})})
 same => n,GotoIf($["${MD5(${user})}" != "${md5}"]?none)
 same => n,Set(LOCAL(ctx)=redirectd-map-${md5:0:2})
 same => n,GotoIf(${DIALPLAN_EXISTS(${ctx},${user},1)}?${ctx},${user},1)
 same => n(none),Return()
"""

BROKEN = Path("/tmp/broken")  # what the payloads would create if anything ran them


def _route(number: int, old: str, new: str) -> Route:
    old_uri, new_uri = parse_uri(old), parse_uri(new)
    assert isinstance(old_uri, SipUri)
    assert isinstance(new_uri, SipUri)
    return Route((number,), "user", old_uri, new_uri)


def _cli(server: Asterisk) -> Channel:
    return open_channel(f"asterisk -C {server.config_file} -rx", timeout=20)


def _ami(server: Asterisk) -> Channel:
    return open_channel(f"ami://{AMI_USER}@{server.address}:{server.ami_port}", timeout=20, password=AMI_SECRET)


def _apply(server: Asterisk, channel: Channel, target: AsteriskDialplan, rendered: Rendered) -> None:
    server.dialplan_file.write_bytes(rendered.content)
    for command in target.reload():
        channel.ask(command)


def _doubts(channel: Channel, target: Target, rendered: Rendered, changed: Sequence[str]) -> list[str]:
    questions = [
        question
        for begin in range(0, max(len(changed), 1), 200)
        for question in target.questions(rendered, changed[begin : begin + 200])
    ]
    return [fault for question in questions if (fault := prove(channel, question)) is not None]


def _foreign_rows(server: Asterisk) -> list[str]:
    """Give all that the dialplan shows outside of the contexts of redirectd."""
    shown = server.rx("dialplan show")
    blocks = re.split(r"(?m)^\[ Context ", shown.partition("\n-=")[0])
    return sorted(block for block in blocks if not block.startswith("'redirectd-map"))


def test_dialplan_breakouts(start_asterisk: StartAsterisk) -> None:
    """R16, R24: every breakout is refused, or Asterisk's lookup gives the approved URI and nothing else is changed."""
    server = start_asterisk(Setup(TELL))
    target = AsteriskDialplan()
    before = _foreign_rows(server)
    table = breakouts()
    routes = [item.route for item in table]

    rendered = target.render(routes, None)

    assert target.parse(rendered.content) == rendered.entries
    channel = _ami(server)
    _apply(server, channel, target, rendered)
    assert _doubts(channel, target, rendered, list(rendered.entries)) == []
    assert _foreign_rows(server) == before
    counted = re.search(r"-= (\d+) extensions? ", server.rx("dialplan show"))
    own = len(rendered.entries) + 1
    assert counted
    assert int(counted[1]) == own + sum(block.count("' =>") for block in before)
    refused = {refusal.id for refusal in rendered.refused}
    conflicting = {number for conflict in rendered.conflicts for number in conflict.ids}
    carried = [route for route in routes if route.id not in refused | conflicting]
    for route in carried:
        [key] = target.keys(route.old)
        found = parse_uri(rendered.entries[key])
        assert isinstance(found, SipUri)
        meant = route.new.without({"method"}, headers=True)
        assert unescape_percent(found.user or "") == unescape_percent(meant.user or "")
        assert route_key(found).host == route_key(meant).host
        assert [(unescape_percent(name), value and unescape_percent(value)) for name, value in found.params] == [
            (unescape_percent(name), value and unescape_percent(value)) for name, value in meant.params
        ]
    assert not BROKEN.exists()
    list_fates(target.kind, table, rendered)


def test_astdb_breakouts(start_asterisk: StartAsterisk, loopback_address: str) -> None:
    """R16, R24: every breakout is refused, or AstDB and a lookup in a call give the approved URI; no other family."""
    server = start_asterisk(Setup(TELL.replace(LOOK_UP, LOOK_UP_ASTDB), context="tell"))
    target = AsteriskAstdb()
    channel = _ami(server)
    assert isinstance(channel, Pipelined)
    others, dialplan = _other_families(server), _foreign_rows(server)
    table = breakouts()

    rendered = target.render([item.route for item in table], None)

    assert target.parse(rendered.content) == rendered.entries
    channel.act(target.replace(rendered.entries, channel.ask(target.listing())))
    assert _doubts(channel, target, rendered, list(rendered.entries)) == []
    assert (_other_families(server), _foreign_rows(server)) == (others, dialplan)
    counted = re.search(r"(\d+) results? found", server.rx("database show redirectd"))
    assert counted
    assert int(counted[1]) == len(rendered.entries) + 1
    asked = [key for key in rendered.entries if key != "user=h"][:: len(rendered.entries) // 150]
    assert _told(server, loopback_address, map(_name, asked)) == {_name(key): rendered.entries[key] for key in asked}
    assert not BROKEN.exists()
    list_fates(target.kind, table, rendered)


def _other_families(server: Asterisk) -> list[str]:
    shown = server.rx("database show").splitlines()
    return [line for line in shown if line.startswith("/") and not line.startswith("/redirectd/")]


_calls = count(1)


def _name(key: str) -> str:
    """Give the user of an entry's key, escaped as it is dialled."""
    return key.removeprefix(EXACT)


def _told(server: Asterisk, caller: str, users: Iterable[str]) -> dict[str, str]:
    """Call each user, and give what the operator's lookup had in GOSUB_RETVAL."""
    calls = {f"told-{next(_calls)}": user for user in users}
    for call_id, user in calls.items():
        place_call(caller, (server.address, server.port), f"sip:{user}@old.test", call_id=call_id)

    def told() -> dict[str, str]:
        log = server.full_log.read_text(errors="replace")
        return {calls[call]: value for call, value in re.findall(r"TOLD (\S+) <(.*)>", log) if call in calls}

    wait_until(lambda: len(told()) == len(calls), "all lookups are logged")
    return told()


def test_dialplan_gives_exactly_the_entries_when_it_runs(start_asterisk: StartAsterisk, loopback_address: str) -> None:
    """The value that GOSUB_RETVAL has in a running dialplan is the entry, with nothing evaluated on the way."""
    server = start_asterisk(Setup(TELL, context="tell"))
    target = AsteriskDialplan()
    table = [item for item in breakouts() if "new" in item.name or "raw" in item.name]
    rendered = target.render([item.route for item in table], None)
    _apply(server, _ami(server), target, rendered)
    asked = [key for key in rendered.entries if key != "user=h"]
    assert len(asked) > 60

    told = _told(server, loopback_address, map(_name, asked))

    assert told == {_name(key): rendered.entries[key] for key in asked}
    assert not BROKEN.exists()


def test_dialplan_values_reach_the_wire(
    start_asterisk: StartAsterisk, answering_side: Answer, loopback_address: str
) -> None:
    """Escaped characters dial one target, without options, and arrive as they were approved."""
    old, new = answering_side(moved_to("<sip:x@192.0.2.1>")), answering_side(RINGS_AND_ANSWERS)
    server = start_asterisk(Setup(dial_plan((old.address, old.port))))
    target = AsteriskDialplan()
    users = [
        "+4930222",
        "a%26PJSIP%2Fcaller",
        "a%2C%2Cg",
        "%24%7BSHELL%28touch%20%2Ftmp%2Fbroken%29%7D",
        "a;x=1",
        "9" * 440,
    ]
    where = f"{new.address}:{new.port}"
    routes = [_route(i, f"sip:u{i}@lab.test", f"sip:{user}@{where};user=phone") for i, user in enumerate(users)]
    rendered = target.render(routes, None)
    assert len(rendered.entries) == len(users)
    _apply(server, _ami(server), target, rendered)

    for i in range(len(users)):
        assert place_call(loopback_address, (server.address, server.port), f"sip:u{i}@lab.test").status == 200

    assert old.invites() == []
    arrived = [parse_uri(uri) for uri in new.invites()]
    assert [unescape_percent(uri.user or "") for uri in arrived if isinstance(uri, SipUri)] == [
        unescape_percent(user) for user in users
    ]
    assert not BROKEN.exists()


def test_dialplan_questions_catch_a_file_that_was_cut_short(start_asterisk: StartAsterisk) -> None:
    """A file that Asterisk reads only in part is told by the sentinel at its end, though the reload says Ok."""
    server = start_asterisk(Setup(TELL))
    target = AsteriskDialplan()
    rendered = target.render([_route(1, "sip:alice@old.test", "sip:alice@new.test")], None)
    channel = _cli(server)
    server.dialplan_file.write_bytes(b"[unclosed\n" + rendered.content)
    for command in target.reload():
        channel.ask(command)
    assert len(_doubts(channel, target, rendered, ["user=alice"])) == 2

    _apply(server, channel, target, rendered)
    assert _doubts(channel, target, rendered, ["user=alice"]) == []
    emptied = target.render([], None)
    assert any("still there" in doubt for doubt in _doubts(channel, target, emptied, ["user=alice"]))
    _apply(server, channel, target, emptied)
    assert _doubts(channel, target, emptied, ["user=alice"]) == []


def test_a_call_is_looked_up_by_its_own_name_or_not_at_all(
    start_asterisk: StartAsterisk, loopback_address: str
) -> None:
    """R41: every name finds its own row, dashes, case and # as they are, and a name that is close finds nobody's."""
    server = start_asterisk(Setup(TELL, context="tell"))
    target = AsteriskDialplan()
    moved = (
        "annam",
        "front-desk",
        "bob-x",
        "bobx",
        "*21%23",
        "0%23",
        "u.n_i~x",
        "alice",
        "_X.",
        "s",
        "a%2C1",
        "1-0000006",
    )
    routes = [_route(i, f"sip:{user}@old.test", f"sip:n{i}@new.test") for i, user in enumerate(moved)]
    rendered = target.render(routes, None)
    assert (len(rendered.entries), rendered.refused) == (len(moved), ())
    _apply(server, _cli(server), target, rendered)

    others = (
        "anna-m",
        "bobx-",
        "b-obx",
        "alice(",
        "alice)",
        "alice%23",
        "Alice",
        "alice!",
        "alice%22",
        "alice)%3A",
        "10000-006",
    )
    told = _told(server, loopback_address, [*moved, *others])

    assert told == {user: f"sip:n{i}@new.test" for i, user in enumerate(moved)} | dict.fromkeys(others, "")


def test_old_rows_are_found_by_old_lines_and_new_ones_by_new_lines(
    start_asterisk: StartAsterisk, loopback_address: str
) -> None:
    """R41: after an upgrade the lines pasted before find what was in service, and the new ones all that is approved."""
    target = AsteriskDialplan()
    routes = [_route(1, "sip:alice@old.test", "sip:a@new.test"), _route(2, "sip:bob@old.test", "sip:b@new.test")]
    before = f"[redirectd-map-{shard('alice')}]\nexten => alice,1,Return(sip:a@new.test)\n[redirectd-map]\n"
    token = token_of({"alice": "sip:a@new.test"})
    installed = f"{before}exten => generation,1,Return({token})\n".encode()
    rendered = target.render_over(routes, None, installed)
    for lines, found in (
        (OLD_LOOK_UP, {"alice": "sip:a@new.test", "bob": ""}),
        (LOOK_UP, {"alice": "sip:a@new.test", "bob": "sip:b@new.test"}),
    ):
        server = start_asterisk(Setup(TELL.replace(LOOK_UP, lines), context="tell"))
        channel = _cli(server)
        _apply(server, channel, target, rendered)
        assert _doubts(channel, target, rendered, list(rendered.entries)) == []
        assert _told(server, loopback_address, ["alice", "bob"]) == found
        question = target.lines().asks
        assert question is not None
        doubt = prove(channel, question)
        assert (doubt is None) is (lines == LOOK_UP)


AORS = b"""; gateways of the lab
[gw-a]
type = aor   ; static
contact = sip:127.0.0.5:5060
contact=sip:trunk@127.0.0.6\\;transport=tcp\\;lr
[gw-b]
contact => sip:127.0.0.5
qualify_frequency = 0
type=aor
"""


def _settle(channel: Channel, target: Target, rendered: Rendered) -> None:
    # The module answers the reload and goes on with it in a thread of its own.
    wait_until(lambda: not _doubts(channel, target, rendered, ["gone/1"]), "the contacts are loaded")


def test_aors_move_with_their_gateway(start_asterisk: StartAsterisk) -> None:
    """Contacts of the moved gateway change in every AOR and nothing else does, as Asterisk shows them."""
    server = start_asterisk(Setup(""))
    target = AsteriskPjsipAor(base="/etc/asterisk/aors.base.conf")
    routes = [
        _route(1, "sip:127.0.0.5", "sip:127.0.0.15:5080;transport=tcp")._replace(kind="gateway"),
        _route(2, "sip:127.0.0.6;transport=tcp", "sip:127.0.0.16")._replace(kind="gateway"),
    ]
    rendered = target.render(routes, AORS)
    assert dict(rendered.entries) == {
        "gw-a/1": "sip:127.0.0.15:5080;transport=tcp",
        "gw-a/2": "sip:trunk@127.0.0.16;lr",
        "gw-b/1": "sip:127.0.0.15:5080;transport=tcp",
    }
    for channel in (_cli(server), _ami(server)):
        server.pjsip_file.write_bytes(target.render([], AORS).content)
        for command in target.reload():
            channel.ask(command)
        _settle(channel, target, target.render([], AORS))
        assert len(_doubts(channel, target, rendered, list(rendered.entries))) == 4 - 2
        server.pjsip_file.write_bytes(rendered.content)
        for command in target.reload():
            channel.ask(command)
        _settle(channel, target, rendered)


def test_aor_breakouts_change_addresses_only(start_asterisk: StartAsterisk) -> None:
    """R16: whatever a gateway move holds, Asterisk has the same AORs with the same number of contacts."""
    server = start_asterisk(Setup(""))
    target = AsteriskPjsipAor()
    channel = _ami(server)
    old = _route(1, "sip:127.0.0.5", "sip:h").old
    files: dict[bytes, Rendered] = {}
    table, all_rendered = breakouts("gateway"), []
    for item in table:
        route = item.route if item.name.endswith("old host") else item.route._replace(old=old)
        rendered = target.render([route], AORS)
        changed = rendered.content.partition(b"\n")[2] != AORS
        assert [refusal.id for refusal in rendered.refused] == ([] if changed else [route.id]), item.name
        files[rendered.content] = rendered
        all_rendered.append(rendered)
    assert len(files) > 5
    for rendered in files.values():
        server.pjsip_file.write_bytes(rendered.content)
        for command in target.reload():
            channel.ask(command)
        _settle(channel, target, rendered)
        assert "Objects found: 2" in server.rx("pjsip show aors")
    list_fates(target.kind, table, *all_rendered)
