"""What the keys do: decide on the remap on the screen, on all that pass the filter or on a host, and take it back."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from types import FrameType

from redirectd.cli.reviewing.card import proposal_lines
from redirectd.cli.reviewing.session import NOTED, WHY, Deed, ReviewSession, Turn
from redirectd.cli.reviewing.strings import few
from redirectd.errors import RedirectdError
from redirectd.review.approvals import ContradictionError
from redirectd.review.attention import with_attention
from redirectd.review.case import Case
from redirectd.review.decide import BATCH, decide_in_batches
from redirectd.review.decision import Decision, DecisionOutcome
from redirectd.review.four_eyes import AGREE
from redirectd.review.holds import with_holds
from redirectd.review.proposals import accept, decline, is_quick, proposals
from redirectd.review.undo import do_approve, do_confirm, do_reject, do_revoke, set_note, undo_all
from redirectd.sip.text import elided, printable, shown
from redirectd.store.remap import State
from redirectd.store.remaps import of_ids
from redirectd.store.statements import chunks

AGREED = "approved by one"
WHY_FORCE = "why it is right all the same (Enter: leave it):"


def approve(session: ReviewSession, case: Case, contact: int | None, *, force: bool) -> Turn:
    """Approves it: what is held with a written reason only, and the worst of it only by `force` (`holds.needs`)."""
    remap = case.remap
    if remap.state is State.APPROVED:
        return session.say("it is approved already: k keeps it so, r revokes it")
    if remap.new_uri is None:
        return session.say(f"it has {len(remap.contacts)} Contacts: choose one with its number or c, then a")
    if "force" in case.needs and not force:
        return session.say("it is held for a reason: F approves it all the same, and asks you why")
    reason = ""
    if force or case.needs:
        answer = session.screen.ask(WHY_FORCE)
        if not answer:
            return Turn.KEY
        reason = answer
    decision = session.decision(reason, contact=contact, force=force)
    try:
        return _approve(session, remap.id, decision)
    except ContradictionError as error:
        named = _replaced(session, error)
    return Turn.KEY if named is None else _approve(session, remap.id, replace(decision, replace=named))


def _approve(session: ReviewSession, number: int, decision: Decision) -> Turn:
    with session.database.begin() as connection:
        made, step = do_approve(connection, number, decision, session.policy)
    if step.action == AGREE:
        return session.done(AGREED, f"remap {number} has your approval, and waits for that of another person", step)
    gone = f"; superseded: {', '.join(str(one.id) for one in step.replaced)}" if step.replaced else ""
    return session.done(
        "approved", f"remap {number} is approved: to {elided(shown(made.new_uri or '', 8192))}{gone}", step
    )


def _replaced(session: ReviewSession, error: ContradictionError) -> frozenset[int] | None:
    """The approved remaps that the person lets this one take the place of (R44); None for none."""
    session.screen.line(f"not done: {error.why}")
    if not error.against:
        return None
    named = " ".join(map(str, error.against))
    answer = session.screen.ask(
        f"type {named} to approve this one instead (Enter: leave it):"
        if len(error.against) == 1
        else f"type those of {named} that it is to take the place of (Enter: leave it):"
    )
    words = (answer or "").replace(",", " ").split()
    if not words:
        return None
    if not all(word.isdecimal() and int(word) in error.against for word in words):
        session.say("none of these: nothing was done")
        return None
    return frozenset(map(int, words))


def reject(session: ReviewSession, case: Case) -> Turn:
    """Rejects what is pending, revokes what is approved."""
    number = case.remap.id
    reason = session.screen.ask(WHY)
    if reason is None:
        return Turn.KEY
    with session.database.begin() as connection:
        if case.remap.state is State.APPROVED:
            _, step = do_revoke(connection, number, session.decision(reason))
        else:
            _, step = do_reject(connection, number, session.decision(reason))
    if step.action == "revoke":
        return session.done("revoked", f"remap {number} is revoked: the next apply no longer routes it", step)
    return session.done("rejected", f"remap {number} is rejected", step)


def keep(session: ReviewSession, case: Case) -> Turn:
    """Says again that an approved one is right."""
    if case.remap.state is not State.APPROVED:
        return session.say("only an approved one can be kept; s skips")
    reason = session.screen.ask(WHY)
    if reason is None:
        return Turn.KEY
    with session.database.begin() as connection:
        _, step = do_confirm(connection, case.remap.id, session.decision(reason), session.policy)
    return session.done("kept", f"remap {case.remap.id} is kept", step)


def skip(session: ReviewSession, case: Case) -> Turn:
    """Leaves it as it is; u comes back to it."""
    session.counts["skipped"] += 1
    session.deeds.append(Deed("skipped", [case.remap.id]))
    return Turn.NEXT


def note(session: ReviewSession, case: Case) -> Turn:
    """Writes a note; an empty line takes the one it has away."""
    had = " (Enter: none)" if case.remap.note else ""
    text = session.screen.ask(f"note{had}:")
    if text is None or (not text and not case.remap.note):
        return Turn.KEY
    with session.database.begin() as connection:
        _, step = set_note(connection, case.remap.id, printable(text, 500), session.decision(""))
    session.deeds.append(Deed(NOTED, [case.remap.id], [step]))
    return session.say("noted" if text else "the note is gone", Turn.CARD)


def choice(session: ReviewSession, case: Case, key: str) -> int | None:
    """The Contact that a number key, or c and a line, chooses (R15); None for none."""
    contacts = case.remap.contacts
    if case.remap.state is not State.PENDING or len(contacts) < 2:
        session.say("this remap has only one Contact")
        return None
    if key == "c":
        listed = [f"  {place:2} q={one.q:g} {elided(shown(one.uri, 8192))}" for place, one in enumerate(contacts, 1)]
        session.screen.pages([part for line in listed for part in session.screen.fold(line)], wait=False)
        answer = session.screen.ask(f"Contact 1 to {len(contacts)} (Enter: none):")
        if answer is None:
            return None
        key = answer
    if not key.isascii() or not key.isdecimal() or not 1 <= int(key[:9]) <= len(contacts):
        session.say(f"none is chosen: there are Contacts 1 to {len(contacts)}" if key else "none is chosen")
        return None
    return int(key)


COUNTED = 2_000
"""Remaps whose holds are counted before a decision on them: more would let a person wait."""

MOST_REFUSED = 5


def decide_on_all(session: ReviewSession, current: int) -> Turn:
    """Asks what to do with all that passes the filter, and does it."""
    wanted = session.queue.pending()
    if not wanted:
        return session.say("no pending remap matches the filter")
    passing = session.queue.filters.text or "no filter is set: that is all"
    session.screen.line(f"{len(wanted):,} pending ({passing}){_holds(session, wanted)}")
    action = {"a": "approve", "r": "reject"}.get(
        session.screen.key("a: approve them all, r: reject them all, any other key: neither")
    )
    if action is None:
        return session.say("nothing was done")
    typed = session.screen.ask(f"type {len(wanted)} to {action} them:")
    if typed is None:
        return Turn.KEY
    if typed.replace(",", "") != str(len(wanted)):
        return session.say("that is not the number: nothing was done")
    reason = session.screen.ask(WHY)
    if reason is None:
        return Turn.KEY
    return _decide(session, action, wanted, reason, current)


def _decide(session: ReviewSession, action: str, wanted: Sequence[int], reason: str, current: int) -> Turn:
    word = "approved" if action == "approve" else "rejected"
    outcome, stopped = DecisionOutcome(), ""
    try:
        with held_back() as interrupted:
            for part in decide_in_batches(session.database, action, wanted, session.decision(reason), session.policy):
                outcome.steps += part.steps
                outcome.refused |= part.refused
                if len(wanted) > BATCH:
                    session.screen.progress(len(outcome.steps) + len(outcome.refused), len(wanted), "decided")
                if interrupted.is_set():
                    stopped = "stopped by you"
                    break
    except KeyboardInterrupt:
        stopped = "stopped by you"
    except RedirectdError as error:
        stopped = f"stopped: {error.why}"
    done = [step.before.id for step in outcome.steps]
    noted = sum(step.action == AGREE for step in outcome.steps)
    session.counts[word] += len(done) - noted
    session.counts[AGREED] += noted
    if done:
        session.deeds.append(Deed(word, done, outcome.steps))
    session.queue.drop(done)
    left = len(wanted) - len(done) - len(outcome.refused)
    rest = f", {left:,} not looked at ({stopped})" if stopped else ""
    session.screen.line(
        f"{len(done) - noted:,} {word}, {f'{noted:,} wait for another person, ' if noted else ''}"
        f"{len(outcome.refused):,} refused{rest}{'; u takes all of it back' if done else ''}"
    )
    _show_refused(session, outcome)
    return Turn.NEXT if current in done else Turn.KEY


def _holds(session: ReviewSession, wanted: Sequence[int]) -> str:
    """How many of them are held, by what."""
    if len(wanted) > COUNTED:
        return ""
    with session.database.read() as connection:
        held = [with_holds(one, session.policy) for one in of_ids(connection, wanted)]
        found = with_attention(connection, held, now=session.clock())
    flags = Counter(name for one in found for name in one.flags)
    named = ", ".join(f"{count:,} {printable(name, 40)}" for name, count in flags.most_common())
    return f"; {sum(not one.flags for one in found):,} without a flag{', ' + named if named else ''}"


def _show_refused(session: ReviewSession, outcome: DecisionOutcome) -> None:
    lines = [f"  remap {one}: {error.why}" for one, error in outcome.refused.items()]
    folded = [part for line in lines for part in session.screen.fold(line)]
    if len(lines) <= MOST_REFUSED:
        session.screen.lines(folded)
    else:
        session.screen.pages(folded)


@contextmanager
def held_back() -> Iterator[Event]:
    """Gives an event that the first Ctrl-C sets; the second, for who can't wait, is a KeyboardInterrupt again.

    For the main thread, where Python handles signals.
    """
    asked = Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


MOST_PROPOSALS = 9
MOST_EXCEPTIONS = 5


def proposals_told(session: ReviewSession) -> str:
    """That there are some, for who would never look for them; where that takes long, the key alone."""
    with session.database.read() as connection:
        if not is_quick(connection):
            return "; p looks for hosts that moved as a whole"
        count = len(proposals(connection, session.policy))
    return f"; {count} host{'' if count == 1 else 's'} may have moved as a whole: p" if count else ""


def choose_proposal(session: ReviewSession) -> Turn:
    """Lists the proposals, and approves or rejects one for good."""
    screen = session.screen
    with session.database.read() as connection:
        found = proposals(connection, session.policy)
        others = [of_ids(connection, one.exceptions[:MOST_EXCEPTIONS]) for one in found[:MOST_PROPOSALS]]
    if not found:
        return session.say("there is nothing to propose: no host of which most users moved alike")
    last = min(MOST_PROPOSALS, len(found))
    both = zip(found, others, strict=False)
    listed = [proposal_lines(number, *one, screen.width, screen.ink) for number, one in enumerate(both, 1)]
    screen.pages([line for lines in listed for line in lines], wait=False)
    if len(found) > last:
        screen.line(f"and {len(found) - last} more, behind these")
    key = screen.ask(f"a or r with a number, such as a1 (1 to {last}, Enter: none):")
    if key is None:
        return Turn.KEY
    if len(key) != 2 or key[0] not in "ar" or key[1] not in "123456789"[:last]:
        return session.say("nothing was done")
    chosen = found[int(key[1]) - 1]
    reason = screen.ask(WHY)
    if reason is None:
        return Turn.KEY
    decide, word = (accept, "approved") if key[0] == "a" else (decline, "rejected")
    with session.database.begin() as connection:
        made, step = decide(connection, chosen, session.decision(reason), session.policy)
    word = AGREED if step.action == AGREE else word
    session.counts[word] += 1
    session.deeds.append(Deed(word, [made.id], [step]))
    session.queue.drop([made.id])
    screen.line(f"gateway remap {made.id} is {word}: {made.old_uri} to {made.new_uri}")
    if key[0] == "a":
        screen.line(
            f"{len(chosen.covered)} remaps say the same of single users: redundant where a dispatcher routes this "
            "host, still needed in tables of users (f flag=redundant, then b, decides on them)"
        )
    return Turn.KEY


def undo_last(session: ReviewSession, current: int | None) -> Turn:
    """Takes the last deed back, as far as nobody else has decided since, and shows its remaps again."""
    if not session.deeds:
        return session.say("there is nothing to undo")
    deed = session.deeds[-1]
    refused = _undo_steps(session, deed)
    session.deeds.pop()
    for one, error in list(refused.items())[:MOST_REFUSED]:
        session.say(f"  remap {one}: {error.why}")
    back = [one for one in deed.remaps if one not in refused]
    if deed.word == NOTED:
        return session.say(
            f"the note on {few(back)} again what it was" if back else "nothing was taken back", Turn.CARD
        )
    session.counts[deed.word] -= len(back)
    if not back:
        return session.say("nothing was taken back")
    session.queue.put_back([*back, *([] if current is None else [current])])
    what = {"skipped": "shown", "kept": "to be looked at", "revoked": "approved"}.get(deed.word, "pending")
    return session.say(f"undone: {few(back)} {what} again", Turn.NEXT)


def _undo_steps(session: ReviewSession, deed: Deed) -> dict[int, RedirectdError]:
    """In transactions of a batch; what one of them could not do stays to be undone by the next key."""
    refused: dict[int, RedirectdError] = {}
    decision = session.decision("")
    total = len(deed.steps)
    for part in chunks(list(reversed(deed.steps)), BATCH):
        with session.database.begin() as connection:
            refused |= undo_all(connection, list(reversed(part)), decision, session.policy)
        deed.steps = deed.steps[: -len(part)]
        if total > BATCH:
            session.screen.progress(total - len(deed.steps), total, "taken back")
    return refused
