"""A table's rows as a target's text: the same bytes as the file has, and nothing of a foreign row lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.plan.effective_table import effective
from redirectd.plan.route import Approved
from redirectd.plan.target import TargetError, TargetOptions
from redirectd.targets import kamailio_alias_db, kamailio_gateway_table, kamailio_htable
from redirectd.targets.kamailio_gateway_table import listed
from redirectd.targets.sqltable import SqlTable
from redirectd.targets.target_kinds import build, sql_table
from tests.apply.apply_host import approved, sip

WANTED = {
    "sip:zoe@old.test": "sip:z@new.test:5080;transport=tcp",
    "sip:Al@old.test": "sip:a:b@new.test",
    "sip:b-o@old.test:6": "sip:b@new.test",
    "sip:b@old.test": "sip:c@new.test",
}
_value = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
_number = st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))


@pytest.mark.parametrize("kind", ["kamailio-htable", "kamailio-alias_db"])
def test_a_table_has_the_text_of_the_file(kind: str) -> None:
    """Rows read back in any order give the bytes that the target rendered: an unchanged table is not a change."""
    usual = sql_table(kind)
    assert usual is not None
    extra = {} if kind == "kamailio-htable" else {"width": "user@host"}
    target = build(kind, TargetOptions("t", extra=extra), usual.name)
    rendered = target.render(effective(approved(WANTED)).routes, None)
    rows = list(usual.form.values(rendered.content))
    assert len(rows) >= 3
    assert usual.text(reversed(rows)) == rendered.content
    assert target.parse(rendered.content) == rendered.entries


@given(st.lists(st.tuples(_value, _number, _number, _value, _number), min_size=1, max_size=6))
def test_whatever_a_table_holds_comes_back(rows: list[tuple[str | int | None, ...]]) -> None:
    """NULLs, escapes, line feeds, other letters and duplicates: the text gives back just these rows."""
    content = kamailio_htable.SQL.text(rows)
    assert content is not None
    assert sorted(map(repr, kamailio_htable.SQL.form.values(content))) == sorted(map(repr, rows))


@pytest.mark.parametrize(
    "odd", [("k", 1, 0, "v", 0), ("k", 0, 0, None, 0), ("", 0, 0, "v", 0), ("k", 0, 0, "\r\nX: y", 0)]
)
def test_foreign_rows_are_no_entries(odd: tuple[object, ...]) -> None:
    """A row that Kamailio would not read as a plain text is named as a fault, not taken for an entry."""
    target = kamailio_htable.KamailioHtable()
    content = kamailio_htable.SQL.text([odd])
    assert content is not None
    with pytest.raises(TargetError):
        target.parse(content)


def test_no_rows_are_no_file() -> None:
    """A table without rows is like a file that is not there, or, without a sentinel, like one without entries."""
    assert kamailio_htable.SQL.text([]) is None
    target = build("kamailio-alias_db", TargetOptions("t", extra={"width": "user@host"}), "redirectd_aliases")
    assert kamailio_alias_db.SQL.text([]) == target.render((), None).content


@pytest.mark.parametrize("table", [kamailio_htable.SQL, kamailio_alias_db.SQL])
def test_the_printed_sql_gives_the_least_rights(table: SqlTable) -> None:
    """The table is exact in case and spaces on MariaDB; the writer may not alter it, and the reader only reads."""
    own = replace(table, name="moved")
    create, writer, reader = own.setup("mysql", "red'd", "kam", "10.0.0.%", str)
    assert create.count("ascii_nopad_bin") == len(table.lengths)
    assert writer == "GRANT SELECT, INSERT, DELETE ON moved TO 'red''d'@'10.0.0.%'"
    assert reader == "GRANT SELECT ON moved TO 'kam'@'10.0.0.%'"
    create, writer, _ = own.setup("postgresql", 'red"d', "kam", "", str)
    assert "GENERATED ALWAYS AS IDENTITY" in create
    assert writer == 'GRANT SELECT, INSERT, DELETE ON moved TO "red""d"'


def test_an_alias_keeps_its_case_in_a_database() -> None:
    """R41: the database compares exactly, so `Al` and `al` are two aliases there, and one in db_text."""
    moved = {"sip:Al@old.test": "sip:1@new.test", "sip:al@old.test": "sip:2@new.test"}
    routes = effective(approved(moved)).routes
    options = TargetOptions("t", extra={"width": "user@host"})
    table = build("kamailio-alias_db", options, "redirectd_aliases").render(routes, None)
    file = build("kamailio-alias_db", options).render(routes, None)
    assert table.entries == {"Al@old.test": "sip:1@new.test", "al@old.test": "sip:2@new.test"}
    assert len(file.conflicts) == 1


GATEWAYS = [
    (1, "sip:192.0.2.1:5060", 8, 0, "duid=a"),
    (1, "sip:192.0.2.1", 0, 5, ""),
    (2, "sip:gw.old.test;x=y", None, None, None),
]
GATEWAY_MOVE = Approved(7, "gateway", sip("sip:192.0.2.1"), sip("sip:198.51.100.9:5070"))


def _view(rows: Iterable[tuple[Any, ...]], moved: Mapping[str, str]) -> bytes | None:
    return listed((row[0], moved.get(row[1], row[1]), *row[2:]) for row in rows)


def test_moved_gateways_are_rows_and_the_view_is_what_is_proven() -> None:
    """Each spelling of the gateway in the operator's rows has its own row; what is read back is what was rendered."""
    target = kamailio_gateway_table.KamailioGatewayTable()
    rendered = target.render(effective([GATEWAY_MOVE]).routes, listed(GATEWAYS))
    rows = target.rows(rendered.content)
    moved = {str(old): str(new) for old, new in rows if old != "__gen__"}
    assert moved == {"sip:192.0.2.1": "sip:198.51.100.9:5070", "sip:192.0.2.1:5060": "sip:198.51.100.9:5070"}
    assert target.text(rows, _view(GATEWAYS, moved) or b"") == rendered.content
    assert list(rendered.entries.values())[2] == "sip:gw.old.test;x=y 0 0"


def test_the_operators_changes_are_his_and_foreign_moves_are_shown() -> None:
    """His rows may change without it being a change by hand; a row of somebody else's in our table is one."""
    target = kamailio_gateway_table.KamailioGatewayTable()
    routes = effective([GATEWAY_MOVE]).routes
    rows = target.rows(target.render(routes, listed(GATEWAYS)).content)
    moved = {str(old): str(new) for old, new in rows if old != "__gen__"}
    later = [*GATEWAYS[1:], (3, "sip:192.0.2.3", 0, 9, "")]
    shown = target.text(rows, _view(later, moved) or b"")
    assert target.is_own(shown)
    assert target.rebased(target.render(routes, listed(GATEWAYS)).content, listed(later)) == shown
    foreign = target.text([*rows, ("sip:192.0.2.3", "sip:evil.test")], _view(later, moved) or b"")
    assert not target.is_own(foreign)
    assert b"#moved sip:192.0.2.3 sip:evil.test" in foreign


@pytest.mark.parametrize("odd", ["", None, "sip:a b", "sip:a\nsip:b", "http://x", "sip:#x"])
def test_a_row_that_kamailio_skips_is_named(odd: str | None) -> None:
    """A destination that is not a SIP URI, or has a blank, has the plan refused with its line."""
    target = kamailio_gateway_table.KamailioGatewayTable()
    with pytest.raises(TargetError, match="line 4"):
        target.render((), listed([*GATEWAYS, (1, odd, 0, 0, "")]))
