"""The keys that decide on the remap on the screen."""

from __future__ import annotations

from dataclasses import replace

from redirectd.cli.reviewing.columns import elided, shown
from redirectd.cli.reviewing.desk import NOTED, WHY, Deed, Desk, Turn
from redirectd.review.approvals import ContradictionError
from redirectd.review.case import Case
from redirectd.review.decision import Decision
from redirectd.review.undo import do_approve, do_confirm, do_reject, do_revoke, set_note
from redirectd.sip.text import printable
from redirectd.store.remap import State

WHY_FORCE = "why it is right all the same (Enter: leave it):"


def approve(desk: Desk, case: Case, contact: int | None, *, force: bool) -> Turn:
    """Approves it: what is held with a written reason only, and the worst of it only by `force` (`holds.needs`)."""
    remap = case.remap
    if remap.state is State.APPROVED:
        return desk.say("it is approved already: k keeps it so, r revokes it")
    if remap.new_uri is None:
        return desk.say(f"it has {len(remap.contacts)} Contacts: choose one with its number or c, then a")
    if "force" in case.needs and not force:
        return desk.say("it is held for a reason: F approves it all the same, and asks you why")
    reason = ""
    if force or case.needs:
        answer = desk.screen.ask(WHY_FORCE)
        if not answer:
            return Turn.KEY
        reason = answer
    decision = desk.decision(reason, contact=contact, force=force)
    try:
        return _approve(desk, remap.id, decision)
    except ContradictionError as error:
        named = _replaced(desk, error)
    return Turn.KEY if named is None else _approve(desk, remap.id, replace(decision, replace=named))


def _approve(desk: Desk, number: int, decision: Decision) -> Turn:
    with desk.database.begin() as connection:
        made, step = do_approve(connection, number, decision, desk.policy)
    gone = f"; superseded: {', '.join(str(one.id) for one in step.replaced)}" if step.replaced else ""
    return desk.done(
        "approved", f"remap {number} is approved: to {elided(shown(made.new_uri or '', 8192))}{gone}", step
    )


def _replaced(desk: Desk, error: ContradictionError) -> frozenset[int] | None:
    """The approved remaps that the person lets this one take the place of (R44); None for none."""
    desk.screen.line(f"not done: {error.why}")
    if not error.against:
        return None
    told = " ".join(map(str, error.against))
    answer = desk.screen.ask(
        f"type {told} to approve this one instead (Enter: leave it):"
        if len(error.against) == 1
        else f"type those of {told} that it is to take the place of (Enter: leave it):"
    )
    words = (answer or "").replace(",", " ").split()
    if not words:
        return None
    if not all(word.isdecimal() and int(word) in error.against for word in words):
        desk.say("none of these: nothing was done")
        return None
    return frozenset(map(int, words))


def reject(desk: Desk, case: Case) -> Turn:
    """Rejects what is pending, revokes what is approved."""
    number = case.remap.id
    reason = desk.screen.ask(WHY)
    if reason is None:
        return Turn.KEY
    with desk.database.begin() as connection:
        if case.remap.state is State.APPROVED:
            _, step = do_revoke(connection, number, desk.decision(reason))
        else:
            _, step = do_reject(connection, number, desk.decision(reason))
    if step.action == "revoke":
        return desk.done("revoked", f"remap {number} is revoked: the next apply no longer routes it", step)
    return desk.done("rejected", f"remap {number} is rejected", step)


def keep(desk: Desk, case: Case) -> Turn:
    """Says again that an approved one is right."""
    if case.remap.state is not State.APPROVED:
        return desk.say("only an approved one can be kept; s skips")
    reason = desk.screen.ask(WHY)
    if reason is None:
        return Turn.KEY
    with desk.database.begin() as connection:
        _, step = do_confirm(connection, case.remap.id, desk.decision(reason), desk.policy)
    return desk.done("kept", f"remap {case.remap.id} is kept", step)


def skip(desk: Desk, case: Case) -> Turn:
    """Leaves it as it is; u comes back to it."""
    desk.counts["skipped"] += 1
    desk.deeds.append(Deed("skipped", [case.remap.id]))
    return Turn.NEXT


def note(desk: Desk, case: Case) -> Turn:
    """Writes a note; an empty line takes the one it has away."""
    had = " (Enter: none)" if case.remap.note else ""
    text = desk.screen.ask(f"note{had}:")
    if text is None or (not text and not case.remap.note):
        return Turn.KEY
    with desk.database.begin() as connection:
        _, step = set_note(connection, case.remap.id, printable(text, 500), desk.decision(""))
    desk.deeds.append(Deed(NOTED, [case.remap.id], [step]))
    return desk.say("noted" if text else "the note is gone", Turn.CARD)


def choice(desk: Desk, case: Case, key: str) -> int | None:
    """The Contact that a number key, or c and a line, chooses (R15); None for none."""
    contacts = case.remap.contacts
    if case.remap.state is not State.PENDING or len(contacts) < 2:
        desk.say("there is no choice of Contacts")
        return None
    if key == "c":
        listed = [f"  {place:2} q={one.q:g} {elided(shown(one.uri, 8192))}" for place, one in enumerate(contacts, 1)]
        desk.screen.pages([part for line in listed for part in desk.screen.fold(line)], wait=False)
        answer = desk.screen.ask(f"Contact 1 to {len(contacts)} (Enter: none):")
        if answer is None:
            return None
        key = answer
    if not key.isascii() or not key.isdecimal() or not 1 <= int(key[:9]) <= len(contacts):
        desk.say(f"none is chosen: there are Contacts 1 to {len(contacts)}" if key else "none is chosen")
        return None
    return int(key)
