"""The key that lists what could be one gateway move, and decides on one of them."""

from __future__ import annotations

from redirectd.cli.reviewing.card import proposal_lines
from redirectd.cli.reviewing.desk import WHY, Deed, Desk, Turn
from redirectd.review.proposals import accept, decline, is_quick, proposals
from redirectd.store.remaps import of_ids

SHOWN = 9
MOST_EXCEPTIONS = 5


def proposals_told(desk: Desk) -> str:
    """That there are some, for who would never look for them; where that takes long, the key alone."""
    with desk.database.read() as connection:
        if not is_quick(connection):
            return "; p looks for hosts that moved as a whole"
        count = len(proposals(connection, desk.policy))
    return f"; {count} host{'' if count == 1 else 's'} may have moved as a whole: p" if count else ""


def choose_proposal(desk: Desk) -> Turn:
    """Lists the proposals, and approves or rejects one for good."""
    screen = desk.screen
    with desk.database.read() as connection:
        found = proposals(connection, desk.policy)
        others = [of_ids(connection, one.exceptions[:MOST_EXCEPTIONS]) for one in found[:SHOWN]]
    if not found:
        return desk.say("there is nothing to propose: no host of which most users moved alike")
    last = min(SHOWN, len(found))
    both = zip(found, others, strict=False)
    told = [proposal_lines(number, *one, screen.width, screen.ink) for number, one in enumerate(both, 1)]
    screen.pages([line for lines in told for line in lines], wait=False)
    if len(found) > last:
        screen.line(f"and {len(found) - last} more, behind these")
    key = screen.ask(f"a or r with a number, such as a1 (1 to {last}, Enter: none):")
    if key is None:
        return Turn.KEY
    if len(key) != 2 or key[0] not in "ar" or key[1] not in "123456789"[:last]:
        return desk.say("nothing was done")
    chosen = found[int(key[1]) - 1]
    reason = screen.ask(WHY)
    if reason is None:
        return Turn.KEY
    decide, word = (accept, "approved") if key[0] == "a" else (decline, "rejected")
    with desk.database.begin() as connection:
        made, step = decide(connection, chosen, desk.decision(reason), desk.policy)
    desk.counts[word] += 1
    desk.deeds.append(Deed(word, [made.id], [step]))
    desk.queue.drop([made.id])
    screen.line(f"gateway remap {made.id} is {word}: {made.old_uri} to {made.new_uri}")
    if key[0] == "a":
        screen.line(
            f"{len(chosen.covered)} remaps say the same of single users: redundant where a dispatcher routes this "
            "host, still needed in tables of users (f flag=redundant, then b, decides on them)"
        )
    return Turn.KEY
