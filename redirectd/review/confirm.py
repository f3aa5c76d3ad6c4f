"""Saying again that an approved remap is right: past its review date (R36), or although its target failed."""

from __future__ import annotations

from sqlalchemy import Connection, update

from redirectd.collect.policy import Policy
from redirectd.errors import RedirectdError
from redirectd.review.decide import load
from redirectd.review.decision import Decision
from redirectd.store import audit
from redirectd.store.remap import Remap, State
from redirectd.store.schema import remap as table
from redirectd.store.turns import take_turn


def confirm(connection: Connection, number: int, decision: Decision, policy: Policy) -> Remap:
    """Sets the review date anew and forgets failures until now; routing does not change. Audited (R35).

    Raises RedirectdError where it is not approved, UsageError where there is none of that id.
    """
    take_turn(connection, audit.TURN)
    found = load(connection, number)
    if found.state is not State.APPROVED:
        raise RedirectdError(
            f"remap {number}", f"it is {found.state}, and only approved ones can be kept", f"redirectd show {number}"
        )
    review = decision.at + policy.revalidate_after if policy.revalidate_after else None
    connection.execute(
        update(table)
        .where(table.c.id == number, table.c.state == State.APPROVED)
        .values(revalidate_after=review, decided_at=decision.at, decided_by=decision.actor)
    )
    entry = audit.AuditEntry(
        at=decision.at,
        actor=decision.actor,
        action="confirm",
        remap_id=number,
        old_state=State.APPROVED,
        new_state=State.APPROVED,
        reason=decision.reason,
    )
    audit.append(connection, entry)
    return load(connection, number)
