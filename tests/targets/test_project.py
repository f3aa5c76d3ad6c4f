"""Where remaps that are no cycle by themselves become one under the keys a target matches on (R24, R34)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.plan.table import effective
from redirectd.plan.target import CannotCarryError, Target
from redirectd.targets.asterisk_astdb import AsteriskAstdb
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.asterisk_pjsip_aor import AsteriskPjsipAor
from redirectd.targets.kamailio_alias_db import KamailioAliasDb
from redirectd.targets.kamailio_dialplan import KamailioDialplan
from redirectd.targets.kamailio_dispatcher import KamailioDispatcher
from redirectd.targets.kamailio_htable import KamailioHtable
from redirectd.targets.listing import CsvListing, JsonListing
from redirectd.targets.project import project
from redirectd.targets.template import Template
from tests.plan.make import remap
from tests.targets.uris import route

_TEMPLATE = b"{% for route in routes %}{{ route.old }} {{ route.new }}\n{% endfor %}"


def _template() -> Template:
    return Template(entry="^(?P<old>[^ \n]+) (?P<new>[^ \n]+)$")


USERS: dict[str, Callable[[], Target]] = {
    "kamailio-htable": KamailioHtable,
    "kamailio-dialplan": KamailioDialplan,
    "kamailio-alias_db": KamailioAliasDb,
    "asterisk-dialplan": AsteriskDialplan,
    "asterisk-astdb": AsteriskAstdb,
    "template": _template,
}
GATEWAYS: dict[str, tuple[Callable[[], Target], bytes]] = {
    "kamailio-dispatcher": (KamailioDispatcher, b"1 sip:192.0.2.1\n1 sip:192.0.2.2\n1 sip:192.0.2.3\n"),
    "asterisk-pjsip-aor": (
        AsteriskPjsipAor,
        b"[a]\ntype = aor\ncontact = sip:192.0.2.1\n[b]\ntype = aor\ncontact = sip:192.0.2.2\n",
    ),
}
each_user_target = pytest.mark.parametrize("make", USERS.values(), ids=USERS.keys())


@each_user_target
def test_r34_a_cycle_that_only_ports_break_is_held(make: Callable[[], Target]) -> None:
    """R34, R24: ann -> bob, bob:5080 -> ann is no cycle by route keys; where no port is matched on, both are held."""
    table = effective(
        [
            remap(1, "sip:ann@h.test", "sip:bob@h.test"),
            remap(2, "sip:bob@h.test:5080", "sip:ann@h.test:5080"),
            remap(3, "sip:cyd@h.test", "sip:ann@h.test:5070"),
        ]
    )
    assert (table.cycles, len(table.routes)) == ((), 3)
    rendered = make().render(table.routes, _TEMPLATE)
    assert list(rendered.entries.values()) == ["sip:ann@h.test:5070"]
    [found] = rendered.conflicts
    assert found.ids == (1, 2)
    assert "cycle" in found.reason
    assert found.reason.count(" -> ") == 2
    assert list(rendered.carried) == [3]


@pytest.mark.parametrize("make", [AsteriskDialplan, AsteriskAstdb])
def test_r34_a_cycle_that_only_hosts_break_is_held(make: Callable[..., Target]) -> None:
    """R34, R24: an extension has no host, so users who swap between two hosts are held, unless it speaks for one."""
    table = effective(
        [remap(1, "sip:ann@one.test", "sip:bob@two.test"), remap(2, "sip:bob@one.test", "sip:ann@two.test")]
    )
    rendered = make().render(table.routes, None)
    assert (dict(rendered.entries), [found.ids for found in rendered.conflicts]) == ({}, [(1, 2)])
    one = make(hosts=["one.test"]).render(table.routes, None)
    assert (dict(one.entries), one.conflicts) == ({"ann": "sip:bob@two.test", "bob": "sip:ann@two.test"}, ())


@pytest.mark.parametrize(("make", "base"), GATEWAYS.values(), ids=GATEWAYS.keys())
def test_r34_gateways_that_swap_by_rfc_3263_are_held(make: Callable[[], Target], base: bytes) -> None:
    """R34, R24: with and without the default port are two route keys and one gateway: a swap is held, not written."""
    table = effective(
        [
            remap(1, "sip:192.0.2.1", "sip:192.0.2.2:5060", "gateway"),
            remap(2, "sip:192.0.2.2", "sip:192.0.2.1:5060", "gateway"),
        ]
    )
    assert table.cycles == ()
    rendered = make().render(table.routes, base)
    assert rendered.content.endswith(base)
    assert [found.ids for found in rendered.conflicts] == [(1, 2)]
    assert not rendered.carried


@pytest.mark.parametrize("make", [CsvListing, JsonListing])
def test_r34_a_listing_has_whole_keys_and_thus_no_cycle_of_its_own(make: Callable[[], Target]) -> None:
    """R34: csv and json tell ports apart, so what is no cycle by route keys is none there."""
    table = effective(
        [remap(1, "sip:ann@h.test", "sip:bob@h.test"), remap(2, "sip:bob@h.test:5080", "sip:ann@h.test:5080")]
    )
    rendered = make().render(table.routes, None)
    assert (len(rendered.entries), rendered.conflicts) == (2, ())


@each_user_target
def test_r17_the_same_user_elsewhere_is_no_cycle(make: Callable[[], Target]) -> None:
    """R17: a user who moved to another port is a move, though the new URI has the old one's key in a target."""
    rendered = make().render([route(1, "sip:ann@h.test", "sip:ann@h.test:5080")], _TEMPLATE)
    assert (list(rendered.entries.values()), rendered.conflicts) == (["sip:ann@h.test:5080"], ())


def test_r34_a_long_cycle_is_told_in_short() -> None:
    """R34: of a cycle of many keys all ids are given, and the first few keys."""
    moves = [route(i, f"sip:u{i:03}@h.test:5{i:03}", f"sip:u{(i + 1) % 200:03}@h.test") for i in range(200)]
    rendered = KamailioHtable().render(moves, None)
    [found] = rendered.conflicts
    assert found.ids == tuple(range(200))
    assert found.where == "u000@h.test"
    assert len(found.reason) < 300
    assert not rendered.entries


_NAMES = st.sampled_from("abcdefgh")


@given(st.dictionaries(_NAMES, _NAMES, max_size=8), st.sets(_NAMES), st.randoms(use_true_random=False))
def test_r34_no_call_goes_round_whatever_is_projected(moves: dict[str, str], bad: set[str], random: object) -> None:
    """R34: walking the written entries by hand comes back to no other key; all that is in no circle is written."""
    found = [route(i, f"sip:{old}@h.test:5{i:03}", f"sip:{new}@h.test") for i, (old, new) in enumerate(moves.items())]
    random.shuffle(found)  # type: ignore[attr-defined]

    def value(uri: object) -> str:
        text = str(uri).partition(":")[2].partition("@")[0]
        if text in bad:
            raise CannotCarryError("bad")
        return text

    projection = project(found, "user", "request-uri", lambda uri: (str(uri.user),), value)
    writable = {old: new for old, new in moves.items() if new not in bad}
    assert projection.entries == {old: new for old, new in writable.items() if not _comes_back(writable, old)}
    circling = {old for old in writable if _comes_back(writable, old)}
    numbers = {old: i for i, old in enumerate(moves)}
    assert {i for conflict in projection.conflicts for i in conflict.ids} == {numbers[old] for old in circling}


def _comes_back(moves: dict[str, str], start: str) -> bool:
    at = moves[start]
    for _ in moves:
        if at == start:
            return moves[start] != start
        if at not in moves:
            return False
        at = moves[at]
    return False
