"""Where remaps that are no cycle by themselves become one under the keys a target matches on (R24, R34)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.plan.effective_table import effective
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
    """R34, R44: ann -> bob, bob:5080 -> ann is a cycle without ports alone: there the first is kept."""
    table = effective(
        [
            remap(1, "sip:ann@h.test", "sip:bob@h.test"),
            remap(2, "sip:bob@h.test:5080", "sip:ann@h.test:5080"),
            remap(3, "sip:cyd@h.test", "sip:ann@h.test:5070"),
        ]
    )
    assert (table.cycles, len(table.routes)) == ((), 3)
    rendered = make().render(table.routes, _TEMPLATE)
    assert sorted(rendered.entries.values()) == ["sip:ann@h.test:5070", "sip:bob@h.test"]
    [found] = rendered.conflicts
    assert found.ids == (2,)
    assert "cycle" in found.reason
    assert "remap 2 is not written, approved after remap 1" in found.reason
    assert found.reason.count(" -> ") == 2
    assert list(rendered.carried) == [1, 3]


@pytest.mark.parametrize("make", [AsteriskDialplan, AsteriskAstdb])
def test_r34_a_cycle_that_only_hosts_break_is_held(make: Callable[..., Target]) -> None:
    """R34, R44: an extension has no host, so of users who swap between hosts the first moves; with one host, both."""
    table = effective(
        [remap(1, "sip:ann@one.test", "sip:bob@two.test"), remap(2, "sip:bob@one.test", "sip:ann@two.test")]
    )
    rendered = make().render(table.routes, None)
    assert (dict(rendered.entries), [found.ids for found in rendered.conflicts]) == (
        {"user=ann": "sip:bob@two.test"},
        [(2,)],
    )
    one = make(hosts=["one.test"]).render(table.routes, None)
    assert (dict(one.entries), one.conflicts) == ({"user=ann": "sip:bob@two.test", "user=bob": "sip:ann@two.test"}, ())


@pytest.mark.parametrize(("make", "base"), GATEWAYS.values(), ids=GATEWAYS.keys())
def test_r34_gateways_that_swap_by_rfc_3263_are_held(make: Callable[[], Target], base: bytes) -> None:
    """R34, R44: with and without the default port are two keys and one gateway: of a swap the first is written."""
    table = effective(
        [
            remap(1, "sip:192.0.2.1", "sip:192.0.2.2:5060", "gateway"),
            remap(2, "sip:192.0.2.2", "sip:192.0.2.1:5060", "gateway"),
        ]
    )
    assert table.cycles == ()
    rendered = make().render(table.routes, base)
    assert list(rendered.entries.values()).count("sip:192.0.2.1:5060") == 0
    assert [found.ids for found in rendered.conflicts] == [(2,)]
    assert list(rendered.carried) == [1]


@pytest.mark.parametrize("make", [CsvListing, JsonListing])
def test_r34_a_listing_has_whole_keys_and_thus_no_cycle_of_its_own(make: Callable[[], Target]) -> None:
    """R34: csv and json tell ports apart, so what is not a cycle by route keys is none there."""
    table = effective(
        [remap(1, "sip:ann@h.test", "sip:bob@h.test"), remap(2, "sip:bob@h.test:5080", "sip:ann@h.test:5080")]
    )
    rendered = make().render(table.routes, None)
    assert (len(rendered.entries), rendered.conflicts) == (2, ())


@pytest.mark.parametrize("make", [KamailioHtable, KamailioDialplan])
def test_r41_ports_break_a_cycle_where_they_are_matched_on(make: Callable[[], Target]) -> None:
    """R34, R41: a target with whole route keys tells ports apart, so what is not a cycle by them is written."""
    moves = [route(1, "sip:ann@h.test", "sip:bob@h.test"), route(2, "sip:bob@h.test:5080", "sip:ann@h.test:5080")]
    rendered = make().render(moves, None)
    assert (len(rendered.entries), rendered.conflicts) == (2, ())


@each_user_target
def test_r17_the_same_user_elsewhere_is_no_cycle(make: Callable[[], Target]) -> None:
    """R17: a user who moved to another port is a move, though the new URI has the old one's key in a target."""
    rendered = make().render([route(1, "sip:ann@h.test", "sip:ann@h.test:5080")], _TEMPLATE)
    assert (list(rendered.entries.values()), rendered.conflicts) == (["sip:ann@h.test:5080"], ())


def test_r34_a_long_cycle_is_told_in_short() -> None:
    """R34: of a cycle of many keys the first few are given, and the remap that is kept out."""
    moves = [route(i, f"sip:u{i:03}@h.test:5{i:03}", f"sip:u{(i + 1) % 200:03}@h.test") for i in range(200)]
    rendered = KamailioAliasDb().render(moves, None)
    [found] = rendered.conflicts
    assert found.ids == (199,)
    assert found.where == "u199@h.test"
    assert len(found.reason) < 400
    assert len(rendered.entries) == 199


_NAMES = st.sampled_from("abcdefgh")


@given(st.dictionaries(_NAMES, _NAMES, max_size=8), st.sets(_NAMES), st.randoms(use_true_random=False))
def test_r34_no_call_goes_round_whatever_is_projected(moves: dict[str, str], bad: set[str], random: object) -> None:
    """R34: walking the written entries by hand comes back to no other key; of a circle all but the last is written."""
    found = [route(i, f"sip:{old}@h.test:5{i:03}", f"sip:{new}@h.test") for i, (old, new) in enumerate(moves.items())]
    random.shuffle(found)  # type: ignore[attr-defined]

    def value(uri: object) -> str:
        text = str(uri).partition(":")[2].partition("@")[0]
        if text in bad:
            raise CannotCarryError("bad")
        return text

    projection = project(found, "user", "request-uri", lambda uri: (str(uri.user),), value)
    writable = {old: new for old, new in moves.items() if new not in bad}
    numbers = {old: i for i, old in enumerate(moves)}
    last = {
        old for old in writable if numbers[old] == max(map(numbers.__getitem__, _circle(writable, old)), default=-1)
    }
    assert projection.entries == {old: new for old, new in writable.items() if old not in last}
    assert not any(_circle(projection.entries, old) for old in projection.entries)
    assert {i for conflict in projection.conflicts for i in conflict.ids} == {numbers[old] for old in last}


@each_user_target
def test_r44_the_earlier_approval_keeps_a_key(make: Callable[[], Target]) -> None:
    """R44: whatever the ids, the one that was approved first stays in routing, and the later is named."""
    early, late = (datetime(2026, 5, day, tzinfo=UTC) for day in (1, 2))
    found = [
        route(1, "sip:ann@h.test:6003", "sip:late@new.test", approved_at=late),
        route(2, "sip:ann@h.test:6004", "sip:early@new.test", approved_at=early),
        route(3, "sip:ann@h.test:6005", "sip:early@new.test", approved_at=late),
    ]
    rendered = make().render(found, _TEMPLATE)
    assert list(rendered.entries.values()) == ["sip:early@new.test"]
    assert list(rendered.carried) == [2, 3]
    [conflict] = rendered.conflicts
    assert conflict.ids == (1,)
    assert "remap 2, approved first, keeps it, and remap 1 is not written" in conflict.reason


def _circle(moves: Mapping[str, str], start: str) -> list[str]:
    """Give the keys of the circle that `start` is in; none where it is in none, or moves to itself."""
    met, at = [start], moves[start]
    while at in moves and at not in met:
        met.append(at)
        at = moves[at]
    return met if at == start and len(met) > 1 else []
