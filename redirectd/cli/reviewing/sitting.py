"""One sitting of the review: one remap after another, a key for each decision, and the way back from it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from redirectd.cli.filters import Filters
from redirectd.cli.ladder import moved_ladder, pen_of
from redirectd.cli.reviewing.card import card, title
from redirectd.cli.reviewing.decide_all import decide_on_all
from redirectd.cli.reviewing.deciding import approve, choice, keep, note, reject, skip
from redirectd.cli.reviewing.desk import Desk, Turn
from redirectd.cli.reviewing.keys import QUIT, REDRAW
from redirectd.cli.reviewing.proposing import choose_proposal, proposals_told
from redirectd.cli.reviewing.undoing import undo_last
from redirectd.cli.reviewing.words import FILTER_HELP, HELP, NOTHING, keys_for, read_filter
from redirectd.errors import RedirectdError, StoreError, UsageError
from redirectd.review.case import Case
from redirectd.sip.text import printable
from redirectd.store import simulations

DECIDES = frozenset("aFrk")
"""Keys that act on what the card says: it is read once more before."""

MAX_NODES = 3
"""Nodes whose last simulation is shown."""

USUAL_ROWS = 24
"""Rows that a card is made for where the output is not a terminal."""


def sit(desk: Desk) -> None:
    """Until nothing is left or the person quits. What was decided is kept, whatever ends it."""
    total = desk.queue.begin()
    if not total:
        _say_nothing(desk)
        return
    desk.say(f"{total:,} waiting{proposals_told(desk)}")
    for text in _simulated(desk):
        desk.say(text)
    while True:
        number = desk.queue.next()
        if (_one(desk, number) if number is not None else _at_end(desk)) is Turn.END:
            return


def _simulated(desk: Desk) -> list[str]:
    """The last simulation of each node, in a sentence."""
    with desk.database.read() as connection:
        found = simulations.last(connection)
    return [
        f"simulated {one['at'][:10]} against the {one['against']}: {one['moved']:,} of {one['coverage']['requests']:,} "
        f"requests would go elsewhere, {one['answered_at_old_place']:,} of them answered at the old place"
        for one in found[:MAX_NODES]
    ]


def _say_nothing(desk: Desk) -> None:
    chosen = desk.queue.filters.text
    others = replace(desk.queue, filters=Filters()).begin() if chosen else 0
    if others:
        desk.say(f"no waiting remap matches {chosen} ({others:,} without the filter): redirectd review")
    else:
        desk.say(NOTHING)


def _at_end(desk: Desk) -> Turn:
    """Nothing is left to show: the last decision can still be taken back."""
    desk.say("that was all")
    if not desk.deeds:
        return Turn.END
    key = REDRAW
    while key == REDRAW:
        key = desk.screen.key("u undo  f filter  p proposals  any other key: quit")
    actions: dict[str, Callable[[], Turn]] = {
        "u": lambda: undo_last(desk, None),
        "f": lambda: _filter(desk),
        "p": lambda: choose_proposal(desk),
    }
    if key not in actions:
        return Turn.END
    try:
        return actions[key]()
    except RedirectdError as error:
        desk.screen.error(error)
        return Turn.NEXT


def _one(desk: Desk, number: int) -> Turn:
    """Shows a remap and asks until it is dealt with."""
    desk.screen.keys.forget()
    contact: int | None = None
    case: Case | None = None
    while True:
        if case is None:
            case = _look(desk, number, contact)
            if case is None:
                return Turn.NEXT
            _show(desk, case)
        key = desk.screen.key(keys_for(case, can_undo=bool(desk.deeds)))
        if key.isdecimal() or key == "c":
            chosen = choice(desk, case, key)
            if chosen is not None:
                contact, case = chosen, None
            continue
        turn = _act(desk, key, case, contact)
        if turn in {Turn.NEXT, Turn.END}:
            return turn
        if turn is Turn.CARD:
            case = None


def _look(desk: Desk, number: int, contact: int | None) -> Case | None:
    """The case as it is now; None where it is gone, or where the person gives up a database that does not answer."""
    while True:
        try:
            return desk.case(number, contact)
        except StoreError as error:
            desk.screen.error(error)
            if desk.screen.key("Enter: try again, q: quit") == QUIT:
                raise
        except RedirectdError as error:  # pruned or merged meanwhile
            desk.screen.error(error)
            return None


def _show(desk: Desk, case: Case) -> None:
    """The card in what the screen has room for, its title, the keys and what was said before it."""
    screen = desk.screen
    keys = screen.fold(keys_for(case, can_undo=bool(desk.deeds)))
    room = (screen.rows or USUAL_ROWS) - 2 - len(keys)
    head = title(case, len(desk.queue) + 1, screen.width, screen.ink)
    screen.lines([head, *card(case, screen.width, room, screen.ink)])


def _act(desk: Desk, key: str, case: Case, contact: int | None) -> Turn:
    """What a key does."""
    actions: dict[str, Callable[[], Turn]] = {
        "a": lambda: approve(desk, case, contact, force=False),
        "F": lambda: approve(desk, case, contact, force=True),
        "r": lambda: reject(desk, case),
        "k": lambda: keep(desk, case),
        "s": lambda: skip(desk, case),
        "n": lambda: note(desk, case),
        "e": lambda: _pages(desk, _all_evidence(desk, case)),
        "u": lambda: undo_last(desk, case.remap.id),
        "f": lambda: _filter(desk),
        "b": lambda: decide_on_all(desk, case.remap.id),
        "p": lambda: choose_proposal(desk),
        "?": lambda: _pages(desk, HELP.splitlines()),
        QUIT: lambda: Turn.END,
    }
    if key == REDRAW or key.isspace():
        return Turn.CARD
    if key not in actions:
        return desk.say(f"the key {printable(key, 8)} does nothing here; ? shows all")
    try:
        return (_overtaken(desk, case, contact) if key in DECIDES else None) or actions[key]()
    except RedirectdError as error:
        desk.screen.error(error)
        return Turn.KEY


def _overtaken(desk: Desk, case: Case, contact: int | None) -> Turn | None:
    """What to do if the remap differs from what the person sees; None if it does not."""
    now = desk.case(case.remap.id, contact)
    if now.remap.state is not case.remap.state:
        by = f"{printable(now.remap.decided_by)} has" if now.remap.decided_by else "somebody has"
        return desk.say(f"{by} decided meanwhile: remap {case.remap.id} is {now.remap.state}", Turn.NEXT)
    if _seen(now) != _seen(case):
        return desk.say("it has changed since it was shown: look again", Turn.CARD)
    return None


def _seen(case: Case) -> tuple[object, ...]:
    """What a decision rests on."""
    routing = [answer and (answer.result, answer.reason) for answer in (case.today, case.after)]
    return case.remap.new_uri, case.remap.contacts, set(case.remap.flags), routing


def _all_evidence(desk: Desk, case: Case) -> list[str]:
    """The whole card behind the newest sighting as a ladder."""
    width = desk.screen.width
    drawn = moved_ladder(case.remap, case.evidence, width, pen_of(sys.stdout)) if case.evidence else []
    return [*drawn, *([""] if drawn else []), *card(case, width, None, desk.screen.ink)]


def _pages(desk: Desk, lines: list[str]) -> Turn:
    desk.screen.pages(lines)
    return Turn.CARD


def _filter(desk: Desk) -> Turn:
    """Takes another filter, and begins with the first that passes it."""
    queue = desk.queue
    desk.say(f"filter: {queue.filters.text or 'none'}. {FILTER_HELP}")
    text = desk.screen.ask("filter (Enter: leave it, -: none):")
    if not text:
        return Turn.KEY
    try:
        chosen = read_filter(text)
    except UsageError as error:
        desk.screen.error(error)
        return Turn.KEY
    if chosen is None:
        return desk.say(f"no filter reads so; {FILTER_HELP}")
    found = replace(queue, filters=chosen)
    total = found.begin()
    if not total:
        return desk.say("no waiting remap matches this filter; the one before is kept")
    desk.queue = found
    return desk.say(f"{total:,} waiting", Turn.NEXT)
