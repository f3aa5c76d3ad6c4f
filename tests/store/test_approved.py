"""The approved remaps as the plan takes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from redirectd.plan.route import Approved
from redirectd.sip.uri import SipUri
from redirectd.store.approved import _groups, _in_force, approved
from redirectd.store.database import Database
from redirectd.store.schema import metadata, remap, remap_incoming
from tests.targets.uris import PROPER

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PLAIN = st.from_regex(r"sip:[A-Za-z0-9_.+\-]{1,12}@[a-z]{1,5}\.test(:5080)?(;transport=tcp)?", fullmatch=True)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """A database in memory: what is written in a test is rolled back."""
    found = Database("sqlite://")
    metadata.create_all(found.engine)
    yield found
    found.close()


def _row(number: int, old: str, new: str | None, **extra: object) -> dict[str, object]:
    row: dict[str, object] = {
        "id": number,
        "identity": f"i{number}",
        "old_hash": f"o{number}",
        "state": "approved",
        "kind": "user",
        "old_key": old,
        "old_uri": old,
        "new_uri": new,
        "contacts": "[]",
        "flags": "{}",
        "facts": "{}",
        "authenticity": 2,
        "calls": 1,
        "first_seen": NOW,
        "last_seen": NOW,
        "note": "",
    }
    return row | extra


def _put(connection: Connection, number: int, old: str, new: str | None, **extra: object) -> None:
    connection.execute(insert(remap).values(**_row(number, old, new, **extra)))


@given(st.lists(st.tuples(st.one_of(PLAIN, PROPER.map(str)), st.one_of(PLAIN, PROPER.map(str))), max_size=5))
def test_uris_are_read_as_they_were_written(database: Database, pairs: list[tuple[str, str]]) -> None:
    """Whatever the grammar allows comes back spelled as it is stored, part by part."""
    with database.read() as connection:
        for number, (old, new) in enumerate(pairs, 1):
            _put(connection, number, old, new)
        found = sorted(approved(connection, now=NOW), key=lambda each: each.id)
        connection.rollback()
    assert [(each.id, str(each.old), str(each.new)) for each in found] == [
        (i, *pair) for i, pair in enumerate(pairs, 1)
    ]
    for each in found:
        for uri in (each.old, each.new):
            assert uri.port is None or f":{uri.port}" in str(uri)
            assert "@" not in uri.host
            assert all("@" not in (value or "") for _, value in uri.params)


def test_r18_r5_only_what_routes_is_given_with_what_it_was_asked_as(database: Database) -> None:
    """R18, R5: pending, run out, chosen by nobody and registrars stay out; incoming URIs come sorted, forks told."""
    with database.read() as connection:
        _put(connection, 1, "sip:a@h", "sip:b@h")
        _put(connection, 2, "sip:c@h", "sip:d@h", state="pending")
        _put(connection, 3, "sip:e@h", "sip:f@h", expires_at=NOW - timedelta(seconds=1))
        _put(connection, 4, "sip:g@h", None)
        _put(connection, 5, "sip:h@h", "sip:i@h", kind="registrar")
        _put(connection, 6, "sip:192.0.2.1", "sip:192.0.2.2:5070", kind="gateway", expires_at=NOW + timedelta(days=1))
        for name, forked in (("z", False), ("y", True)):
            row = {"remap_id": 1, "hash": name, "uri": f"sip:{name}@own", "forked": forked, "calls": 1}
            connection.execute(insert(remap_incoming).values(**row))
        found = sorted(approved(connection, now=NOW), key=lambda each: each.id)
        connection.rollback()
    assert found == [
        Approved(1, "user", _user("a"), _user("b"), (_user("y", "own"), _user("z", "own")), incoming_forked=True),
        Approved(
            6,
            "gateway",
            SipUri("sip", None, None, "192.0.2.1", None),
            SipUri("sip", None, None, "192.0.2.2", 5070),
        ),
    ]


def _asked(connection: Connection, number: int, *names: str) -> None:
    for name in names:
        row = {"remap_id": number, "hash": name, "uri": f"sip:{name}@own", "forked": False, "calls": 1}
        connection.execute(insert(remap_incoming).values(**row))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({}, ("gw2",)),
        ({"state": "rejected"}, ("gw2",)),
        ({"state": "approved"}, ("gw2",)),
        ({"state": "superseded"}, ()),
        ({"authenticity": 1}, ()),
        ({"authenticity": 1, "state": "approved"}, ("gw2",)),
        ({"kind": "registrar"}, ()),
        ({"old_hash": "o1"}, ()),  # the same old URI, with another target
        ({"old_hash": "n1"}, ()),  # a proxy that follows its 301 asks there next
    ],
)
def test_r5_an_incoming_uri_that_led_to_other_old_uris_is_told(
    database: Database, other: dict[str, object], told: tuple[str, ...]
) -> None:
    """R5, R39: by any remap that nobody has put an end to, also one that waits, unless the 301 itself leads there; by
    one that waits and is unkeyed never: it takes nothing out of the routing."""
    with database.read() as connection:
        _put(connection, 1, "sip:gw1@h", "sip:n@h", new_hash="n1")
        _put(connection, 2, "sip:gw2@h", "sip:m@h", **{"state": "pending"} | other)
        _put(connection, 3, "sip:gw3@h", "sip:o@h")
        _asked(connection, 1, "alone", "pub")
        _asked(connection, 2, "pub")
        _asked(connection, 3, "elsewhere")
        found = {one.id: one.also_asked for one in approved(connection, now=NOW)}
        connection.rollback()
    assert found[1] == tuple(map(_user, told))
    assert found[3] == ()


def _user(name: str, host: str = "h") -> SipUri:
    return SipUri("sip", name, None, host, None)


@pytest.mark.parametrize("pending", [40, 4_000])
def test_r5_what_is_read_of_one_incoming_uri_does_not_grow_with_what_waits(database: Database, pending: int) -> None:
    """R5: of thousands of remaps of one incoming URI a bounded sample is read, and each approved one is still held."""
    with database.read() as connection:
        rows = [_row(number, f"sip:gw{number}@h", "sip:n@h", state="pending") for number in range(1, pending + 1)]
        rows[0]["state"] = rows[1]["state"] = "approved"
        connection.execute(insert(remap), rows)
        asked = {"hash": "pub", "uri": "sip:pub@own", "forked": False, "calls": 1}
        connection.execute(insert(remap_incoming), [asked | {"remap_id": row["id"]} for row in rows])
        groups = _groups(connection, _in_force())
        found = {one.id: one.also_asked for one in approved(connection, now=NOW)}
        connection.rollback()
    assert [len(group.uris) for group in groups.values()] == [min(pending, 65)]
    assert {number: len(told) for number, told in found.items()} == {1: 7, 2: 7}
    assert all(_user(f"gw{number}") not in told for number, told in found.items())
