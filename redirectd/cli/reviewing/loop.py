"""The review, one remap after another, a key for each decision, and the way back from it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from redirectd.cli.ladder import moved_ladder, pen_of
from redirectd.cli.options import Filters
from redirectd.cli.reviewing.actions import (
    approve,
    choice,
    choose_proposal,
    decide_on_all,
    keep,
    note,
    proposals_told,
    reject,
    skip,
    undo_last,
)
from redirectd.cli.reviewing.card import card, title
from redirectd.cli.reviewing.screen import QUIT, REDRAW
from redirectd.cli.reviewing.session import ReviewSession, Turn
from redirectd.cli.reviewing.strings import FILTER_HELP, HELP, NOTHING, keys_for, read_filter
from redirectd.errors import RedirectdError, StoreError, UsageError
from redirectd.review.case import Case
from redirectd.sip.text import printable
from redirectd.store import approved

DECIDES = frozenset("aFrk")
"""Keys that act on what the card says: it is read once more before."""

MAX_NODES = 3
"""Nodes whose last simulation is shown."""

USUAL_ROWS = 24
"""Rows that a card is made for where the output is not a terminal."""


def sit(session: ReviewSession) -> None:
    """Until nothing is left or the person quits. What was decided is kept, whatever ends it."""
    total = session.queue.begin()
    if not total:
        _say_nothing(session)
        return
    session.say(f"{total:,} waiting{proposals_told(session)}")
    for text in _simulated(session):
        session.say(text)
    while True:
        number = session.queue.next()
        if (_one(session, number) if number is not None else _at_end(session)) is Turn.END:
            return


def _simulated(session: ReviewSession) -> list[str]:
    """The last simulation of each node, in a sentence."""
    with session.database.read() as connection:
        found = approved.last_simulations(connection)
    return [
        f"simulated {one['at'][:10]} against the {one['against']}: {one['moved']:,} of {one['coverage']['requests']:,} "
        f"requests would go elsewhere, {one['answered_at_old_place']:,} of them answered at the old place"
        for one in found[:MAX_NODES]
    ]


def _say_nothing(session: ReviewSession) -> None:
    chosen = session.queue.filters.text
    others = replace(session.queue, filters=Filters()).begin() if chosen else 0
    if others:
        session.say(f"no waiting remap matches {chosen} ({others:,} without the filter): redirectd review")
    else:
        session.say(NOTHING)


def _at_end(session: ReviewSession) -> Turn:
    """Nothing is left to show: the last decision can still be taken back."""
    session.say("that was all")
    if not session.deeds:
        return Turn.END
    key = REDRAW
    while key == REDRAW:
        key = session.screen.key("u undo  f filter  p proposals  any other key: quit")
    actions: dict[str, Callable[[], Turn]] = {
        "u": lambda: undo_last(session, None),
        "f": lambda: _filter(session),
        "p": lambda: choose_proposal(session),
    }
    if key not in actions:
        return Turn.END
    try:
        return actions[key]()
    except RedirectdError as error:
        session.screen.error(error)
        return Turn.NEXT


def _one(session: ReviewSession, number: int) -> Turn:
    """Shows a remap and asks until it is dealt with."""
    session.screen.keys.forget()
    contact: int | None = None
    case: Case | None = None
    while True:
        if case is None:
            case = _look(session, number, contact)
            if case is None:
                return Turn.NEXT
            _show(session, case)
        key = session.screen.key(keys_for(case, can_undo=bool(session.deeds)))
        if key.isdecimal() or key == "c":
            chosen = choice(session, case, key)
            if chosen is not None:
                contact, case = chosen, None
            continue
        turn = _act(session, key, case, contact)
        if turn in {Turn.NEXT, Turn.END}:
            return turn
        if turn is Turn.CARD:
            case = None


def _look(session: ReviewSession, number: int, contact: int | None) -> Case | None:
    """The case as it is now; None where it is gone, or where the person gives up a database that does not answer."""
    while True:
        try:
            return session.case(number, contact)
        except StoreError as error:
            session.screen.error(error)
            if session.screen.key("Enter: try again, q: quit") == QUIT:
                raise
        except RedirectdError as error:  # pruned or merged meanwhile
            session.screen.error(error)
            return None


def _show(session: ReviewSession, case: Case) -> None:
    """The card in what the screen has room for, its title, the keys and what was said before it."""
    screen = session.screen
    keys = screen.fold(keys_for(case, can_undo=bool(session.deeds)))
    room = (screen.rows or USUAL_ROWS) - 2 - len(keys)
    head = title(case, len(session.queue) + 1, screen.width, screen.ink)
    screen.lines([head, *card(case, screen.width, room, screen.ink)])


def _act(session: ReviewSession, key: str, case: Case, contact: int | None) -> Turn:
    """What a key does."""
    actions: dict[str, Callable[[], Turn]] = {
        "a": lambda: approve(session, case, contact, force=False),
        "F": lambda: approve(session, case, contact, force=True),
        "r": lambda: reject(session, case),
        "k": lambda: keep(session, case),
        "s": lambda: skip(session, case),
        "n": lambda: note(session, case),
        "e": lambda: _pages(session, _all_evidence(session, case)),
        "u": lambda: undo_last(session, case.remap.id),
        "f": lambda: _filter(session),
        "b": lambda: decide_on_all(session, case.remap.id),
        "p": lambda: choose_proposal(session),
        "?": lambda: _pages(session, HELP.splitlines()),
        QUIT: lambda: Turn.END,
    }
    if key == REDRAW or key.isspace():
        return Turn.CARD
    if key not in actions:
        return session.say(f"the key {printable(key, 8)} does nothing here; ? shows all")
    try:
        return (_overtaken(session, case, contact) if key in DECIDES else None) or actions[key]()
    except RedirectdError as error:
        session.screen.error(error)
        return Turn.KEY


def _overtaken(session: ReviewSession, case: Case, contact: int | None) -> Turn | None:
    """What to do if the remap differs from what the person sees; None if it does not."""
    now = session.case(case.remap.id, contact)
    if now.remap.state is not case.remap.state:
        by = f"{printable(now.remap.decided_by)} has" if now.remap.decided_by else "somebody has"
        return session.say(f"{by} decided meanwhile: remap {case.remap.id} is {now.remap.state}", Turn.NEXT)
    if _seen(now) != _seen(case):
        return session.say("it has changed since it was shown: look again", Turn.CARD)
    return None


def _seen(case: Case) -> tuple[object, ...]:
    """What a decision rests on."""
    routing = [answer and (answer.result, answer.reason) for answer in (case.today, case.after)]
    return case.remap.new_uri, case.remap.contacts, set(case.remap.flags), routing


def _all_evidence(session: ReviewSession, case: Case) -> list[str]:
    """The whole card behind the newest sighting as a ladder."""
    width = session.screen.width
    drawn = moved_ladder(case.remap, case.evidence, width, pen_of(sys.stdout)) if case.evidence else []
    return [*drawn, *([""] if drawn else []), *card(case, width, None, session.screen.ink)]


def _pages(session: ReviewSession, lines: list[str]) -> Turn:
    session.screen.pages(lines)
    return Turn.CARD


def _filter(session: ReviewSession) -> Turn:
    """Takes another filter, and begins with the first that passes it."""
    queue = session.queue
    session.say(f"filter: {queue.filters.text or 'none'}. {FILTER_HELP}")
    text = session.screen.ask("filter (Enter: leave it, -: none):")
    if not text:
        return Turn.KEY
    try:
        chosen = read_filter(text)
    except UsageError as error:
        session.screen.error(error)
        return Turn.KEY
    if chosen is None:
        return session.say(f"no filter reads so; {FILTER_HELP}")
    found = replace(queue, filters=chosen)
    total = found.begin()
    if not total:
        return session.say("no waiting remap matches this filter; the one before is kept")
    session.queue = found
    return session.say(f"{total:,} waiting", Turn.NEXT)
