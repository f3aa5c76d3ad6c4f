"""Queries that a person waits for go by an index, as SQLite says itself: tables of any size stay quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from redirectd.review.chain import onward
from redirectd.review.page import Query, page
from redirectd.review.target_health import failing
from redirectd.store import remaps
from redirectd.store.remap import State, stored_uri
from tests.review.remap_store import NOW, POLICY, RemapStore

QUERIES: dict[str, Callable[[Connection], object]] = {
    "a page of one state": lambda connection: page(connection, Query(states=(State.PENDING,)), POLICY, after=1),
    "an old URI": lambda connection: remaps.by_old_key(connection, "sip:a@old.example"),
    "a chain": lambda connection: onward(connection, "user", stored_uri("sip:a@old.example"), now=NOW),
    "which of a few remaps fail": lambda connection: failing(connection, range(1, 400)),
}


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_goes_through_a_whole_state_for_a_few_remaps(store: RemapStore, name: str) -> None:
    """Every table is searched by what is asked for, remaps never by their state alone, and a page by state and id."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        asked.append((statement, parameters))

    store.sighted("sip:a@old.example", "sip:a@new.example")
    event.listen(store.database.engine, "before_cursor_execute", note)
    with store.database.read() as connection:
        QUERIES[name](connection)
        event.remove(store.database.engine, "before_cursor_execute", note)
        steps = [
            step[3]
            for statement, parameters in asked
            for step in connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
        ]
    assert steps
    assert [step for step in steps if step.startswith("SCAN")] == []
    assert [step for step in steps if step.endswith("(state=?)")] == []
    if name == "a page of one state":
        assert "SEARCH remap USING INDEX remap_state_id (state=? AND id>?)" in steps
