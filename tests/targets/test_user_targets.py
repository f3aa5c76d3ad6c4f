"""What every target for user moves keeps to: round trip, determinism, conflicts and refusals by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.plan.route import Route
from redirectd.plan.target import Target, TargetError
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.kamailio_alias_db import KamailioAliasDb
from redirectd.targets.kamailio_dialplan import KamailioDialplan
from redirectd.targets.kamailio_htable import KamailioHtable
from redirectd.targets.listing import CsvListing, JsonListing
from tests.targets.uris import _uri, route, routes

TARGETS: dict[str, Callable[..., Target]] = {
    "kamailio-htable": KamailioHtable,
    "asterisk-dialplan": AsteriskDialplan,
    "kamailio-dialplan": KamailioDialplan,
    "kamailio-alias_db": KamailioAliasDb,
}
LISTINGS: dict[str, Callable[..., Target]] = {"csv": CsvListing, "json": JsonListing}
EVERY = {**TARGETS, **LISTINGS}
WIDE = {kind: make for kind, make in TARGETS.items() if kind not in ("kamailio-htable", "kamailio-dialplan")}
each_wide_target = pytest.mark.parametrize("make", WIDE.values(), ids=WIDE.keys())
each_exact_target = pytest.mark.parametrize("make", [KamailioHtable, KamailioDialplan])
each_target = pytest.mark.parametrize("make", TARGETS.values(), ids=TARGETS.keys())
with_sentinel = pytest.mark.parametrize("make", [make for make in TARGETS.values() if make is not KamailioAliasDb])
every_kind = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())


@every_kind
@given(found=routes())
def test_the_file_says_what_is_meant(make: Callable[..., Target], found: list[Route]) -> None:
    """For any routes, the reader of the server's grammar gets back exactly the entries, and every route has a fate."""
    target = make()
    rendered = target.render(found, None)
    assert target.parse(rendered.content) == rendered.entries
    told = {refusal.id for refusal in rendered.refused} | {i for found in rendered.conflicts for i in found.ids}
    assert len({item.id for item in found} - told) <= 2 * len(rendered.entries)
    if not rendered.entries:
        assert {item.id for item in found} <= told


@every_kind
@given(found=routes(), rand=st.randoms())
def test_bytes_do_not_depend_on_the_order_of_routes(
    make: Callable[..., Target], found: list[Route], rand: object
) -> None:
    """The same routes in another order give the same bytes."""
    shuffled = list(found)
    rand.shuffle(shuffled)  # type: ignore[attr-defined] # a random.Random
    assert make().render(shuffled, None).content == make().render(found, None).content


@with_sentinel
@given(data=st.data())
def test_a_changed_byte_is_noticed_or_means_the_same(make: Callable[..., Target], data: st.DataObject) -> None:
    """One byte flipped anywhere in a file: its reader refuses it, or gives the same entries, never others."""
    target = make()
    rendered = target.render(SOME, None)
    at = data.draw(st.integers(0, len(rendered.content) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = rendered.content[:at] + bytes([byte]) + rendered.content[at + 1 :]
    try:
        assert target.parse(changed) == rendered.entries
    except TargetError:
        return  # noticed


SOME = [
    route(1, "sip:alice@old.test", "sip:alice@new.test:5070;transport=tcp"),
    route(2, "sip:+4930111@old.test", "sip:+4930222@192.0.2.9;user=phone"),
    route(3, "sip:carol@other.test", "sips:carol@[2001:db8::1]"),
]


@each_wide_target
def test_a_key_with_two_results_is_a_conflict(make: Callable[..., Target]) -> None:
    """R24, R44: of two old URIs that differ in their port alone the later is not written, and named."""
    rendered = make().render(
        [
            route(1, "sip:bob@old.test:5060", "sip:a@new.test"),
            route(2, "sip:bob@old.test:5070", "sip:b@new.test"),
            route(3, "sip:c@old.test", "sip:c@new.test"),
        ],
        None,
    )
    assert list(rendered.entries.values()) == ["sip:a@new.test", "sip:c@new.test"]
    assert [found.ids for found in rendered.conflicts] == [(2,)]


@each_exact_target
def test_r41_what_differs_in_port_transport_or_scheme_is_apart(make: Callable[..., Target]) -> None:
    """R41: old URIs that differ in port, transport or scheme have entries of their own, and none is a conflict."""
    olds = ["sip:bob@old.test", "sip:bob@old.test:5060", "sip:bob@old.test;transport=tls", "sips:bob@old.test"]
    rendered = make().render([route(i, old, f"sip:b{i}@new.test") for i, old in enumerate(olds)], None)
    assert sorted(rendered.entries.values()) == [f"sip:b{i}@new.test" for i in range(4)]
    assert (rendered.refused, rendered.conflicts) == ((), ())


@each_wide_target
def test_a_key_with_one_result_twice_is_no_conflict(make: Callable[..., Target]) -> None:
    """R24: the same result under one key is written once."""
    rendered = make().render(
        [route(1, "sip:bob@old.test:5060", "sip:b@new"), route(2, "sip:bob@OLD.test;transport=tcp", "sip:b@NEW")], None
    )
    assert (list(rendered.entries.values()), rendered.conflicts) == (["sip:b@new"], ())


@each_wide_target
def test_a_refused_route_does_not_follow_another_one(make: Callable[..., Target]) -> None:
    """R24: where one of two routes on a key can't be written, the other would steer its calls: both are held."""
    rendered = make().render(
        [route(1, "sip:bob@old.test:5060", "sip:a:pw@new.test"), route(2, "sip:bob@old.test:5070", "sip:b@new.test")],
        None,
    )
    assert rendered.entries == {}
    assert [refusal.id for refusal in rendered.refused] == [1]
    assert [found.ids for found in rendered.conflicts] == [(1, 2)]


@each_target
def test_gateway_routes_are_not_this_targets_business(make: Callable[..., Target]) -> None:
    """A gateway move is neither written nor refused by a target for users."""
    rendered = make().render([route(1, "sip:192.0.2.1", "sip:192.0.2.2", "gateway")], None)
    assert (rendered.entries, rendered.refused, rendered.conflicts) == ({}, (), ())


@each_target
def test_incoming_uris_are_the_keys_where_the_operator_looks_up_first(make: Callable[..., Target]) -> None:
    """R5: with `match = "incoming"` the URIs this proxy was asked for are the keys; those of several are conflicts."""
    incoming = (_uri("sip:9111@own.test"),)
    rendered = make(match="incoming").render(
        [
            route(1, "sip:x@gw1", "sip:x@new", incoming=incoming),
            route(2, "sip:y@gw1", "sip:y@new", incoming=(_uri("sip:9222@own.test"),), incoming_forked=True),
            route(3, "sip:z@gw1", "sip:z@new"),
            route(4, "sip:w@gw1", "sip:w@new", incoming=(_uri("sip:9333@own.test"),), also_asked=(_uri("sip:w@gw2"),)),
        ],
        None,
    )
    assert [key.removeprefix("sip:").removeprefix("user=").partition("@")[0] for key in rendered.entries] == ["9111"]
    assert [(found.ids, "sip:w@gw2" in found.reason) for found in rendered.conflicts] == [((2,), False), ((4,), True)]
    assert [(refusal.id, "no log told" in refusal.reason) for refusal in rendered.refused] == [(3, True)]


@each_target
def test_one_incoming_uri_with_two_results_is_a_conflict(make: Callable[..., Target]) -> None:
    """R5: one incoming URI that went to two gateways, which answered differently, stays with the first (R44)."""
    incoming = (_uri("sip:9111@own.test"),)
    rendered = make(match="incoming").render(
        [
            route(1, "sip:x@gw1", "sip:x@new", incoming=incoming),
            route(2, "sip:x@gw2", "sip:y@new", incoming=incoming),
        ],
        None,
    )
    assert list(rendered.entries.values()) == ["sip:x@new"]
    assert [found.ids for found in rendered.conflicts] == [(2,)]


@each_target
def test_an_empty_result_is_a_whole_file(make: Callable[..., Target]) -> None:
    """No routes make a file that says so, and not an empty one."""
    target = make()
    rendered = target.render([], None)
    assert rendered.content
    assert target.parse(rendered.content) == {}
    with pytest.raises(TargetError):
        target.parse(b"")


@pytest.mark.parametrize("make", [KamailioHtable, KamailioDialplan])
def test_a_new_table_without_a_row_is_nobodys(make: Callable[..., Target]) -> None:
    """The empty table that an operator makes, so that Kamailio starts, has no entries: it may be written over."""
    target = make()
    columns = target.render([], None).content.splitlines(keepends=True)[0]
    assert target.parse(columns) == {}


def test_users_of_alias_db_are_one_whatever_their_case() -> None:
    """R24: the key of db_text has no case: users apart in case alone conflict, and a file with both is refused."""
    target = KamailioAliasDb()
    apart = [route(1, "sip:Bob@old.test", "sip:1@new.test"), route(2, "sip:bob@old.test", "sip:2@new.test")]
    agreeing = [route(3, "sip:Eve@old.test", "sip:3@new.test"), route(4, "sip:eve@old.test", "sip:3@new.test")]

    rendered = target.render([*apart, *agreeing], None)

    assert rendered.entries == {"bob@old.test": "sip:1@new.test", "eve@old.test": "sip:3@new.test"}
    assert [conflict.ids for conflict in rendered.conflicts] == [(2,)]
    row = rendered.content.splitlines(keepends=True)[2]
    with pytest.raises(TargetError):
        target.parse(rendered.content + row.replace(b"eve", b"Eve").replace(b"3@", b"4@"))
