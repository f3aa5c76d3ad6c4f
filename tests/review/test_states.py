"""R35: one state machine moves every remap, whoever asks for it."""

from __future__ import annotations

from itertools import product

import pytest

from redirectd.errors import RedirectdError
from redirectd.review.decision import Decision
from redirectd.review.importing import run_import
from redirectd.review.portable import Portable
from redirectd.store import audit
from redirectd.store.remap import RemapTarget, State
from redirectd.store.states import BIRTHS, TRANSITIONS, Transition, move_all
from tests.review.remap_store import NOW, POLICY, RemapStore

BY = Decision(actor="alice", at=NOW, reason="known")


def row(name: str, state: State) -> Portable:
    """A remap of another redirectd."""
    new = f"sip:{name}@new.example"
    return Portable(
        old_uri=f"sip:{name}@old.example", new_uri=new, contacts=(RemapTarget(new),), state=state, kind="user"
    )


@pytest.mark.parametrize(("state", "action"), list(product(State, TRANSITIONS)))
def test_r35_no_caller_goes_another_way(store: RemapStore, state: State, action: str) -> None:
    """R35: a move that does not start in the remap's state is refused and leaves no trace, also past the commands."""
    store.sighted("sip:a@old.example", "sip:a@new.example")
    with store.database.begin() as connection:
        connection.exec_driver_sql(f"update remap set state = '{state}'")
    found = store.get(1)
    starts, end = TRANSITIONS[action]
    if state in starts:
        with store.database.begin() as connection:
            move_all(connection, [Transition(found, action, "why")], at=NOW, actor="alice")
    else:
        with pytest.raises(RedirectdError, match="does not start there"), store.database.begin() as connection:
            move_all(connection, [Transition(found, action, "why")], at=NOW, actor="alice")
    with store.database.read() as connection:
        told = [(one.action, one.old_state, one.new_state) for one in audit.entries_of(connection, 1)]
    assert (store.get(1).state, told) == ((end, [(action, state, end)]) if state in starts else (state, []))


@pytest.mark.parametrize("state", list(State))
def test_r35_an_import_begins_no_remap_as_approved(store: RemapStore, state: State) -> None:
    """R35: a row keeps what was decided elsewhere and the audit tells of it; approval alone is a step taken here."""
    run_import(store.database, [(1, row("a", state))], BY, POLICY, with_approvals=False)
    with store.database.read() as connection:
        told = [(one.action, one.old_state, one.new_state) for one in audit.entries_of(connection, 1)]
    begun = State.PENDING if state is State.APPROVED else state
    assert (store.get(1).state, told) == (begun, [("import", None, begun)])
    assert begun in BIRTHS["import"]
