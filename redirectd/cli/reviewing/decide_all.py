"""The key that decides on all that passes the filter, once its number was typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from redirectd.cli.reviewing.desk import WHY, Deed, Desk, Turn
from redirectd.cli.reviewing.interrupt import held_back
from redirectd.errors import RedirectdError
from redirectd.review.attention import with_attention
from redirectd.review.batches import BATCH, decide_in_batches
from redirectd.review.decision import DecisionOutcome
from redirectd.review.holds import with_holds
from redirectd.sip.text import printable
from redirectd.store.remaps import of_ids

COUNTED = 2_000
"""Remaps whose holds are counted before a decision on them: more would let a person wait."""

SHOWN = 5


def decide_on_all(desk: Desk, current: int) -> Turn:
    """Asks what to do with all that passes the filter, and does it."""
    wanted = desk.queue.pending()
    if not wanted:
        return desk.say("no pending remap matches the filter")
    passing = desk.queue.filters.text or "no filter is set: that is all"
    desk.screen.line(f"{len(wanted):,} pending ({passing}){_holds(desk, wanted)}")
    action = {"a": "approve", "r": "reject"}.get(
        desk.screen.key("a: approve them all, r: reject them all, any other key: neither")
    )
    if action is None:
        return desk.say("nothing was done")
    typed = desk.screen.ask(f"type {len(wanted)} to {action} them:")
    if typed is None:
        return Turn.KEY
    if typed.replace(",", "") != str(len(wanted)):
        return desk.say("that is not the number: nothing was done")
    reason = desk.screen.ask(WHY)
    if reason is None:
        return Turn.KEY
    return _decide(desk, action, wanted, reason, current)


def _decide(desk: Desk, action: str, wanted: Sequence[int], reason: str, current: int) -> Turn:
    word = "approved" if action == "approve" else "rejected"
    told, stopped = DecisionOutcome(), ""
    try:
        with held_back() as interrupted:
            for part in decide_in_batches(desk.database, action, wanted, desk.decision(reason), desk.policy):
                told.steps += part.steps
                told.refused |= part.refused
                if len(wanted) > BATCH:
                    desk.screen.progress(len(told.steps) + len(told.refused), len(wanted), "decided")
                if interrupted.is_set():
                    stopped = "stopped by you"
                    break
    except KeyboardInterrupt:
        stopped = "stopped by you"
    except RedirectdError as error:
        stopped = f"stopped: {error.why}"
    done = [step.before.id for step in told.steps]
    desk.counts[word] += len(done)
    if done:
        desk.deeds.append(Deed(word, done, told.steps))
    desk.queue.drop(done)
    left = len(wanted) - len(done) - len(told.refused)
    rest = f", {left:,} not looked at ({stopped})" if stopped else ""
    desk.screen.line(
        f"{len(done):,} {word}, {len(told.refused):,} refused{rest}{'; u takes all of it back' if done else ''}"
    )
    _show_refused(desk, told)
    return Turn.NEXT if current in done else Turn.KEY


def _holds(desk: Desk, wanted: Sequence[int]) -> str:
    """How many of them are held, by what."""
    if len(wanted) > COUNTED:
        return ""
    with desk.database.read() as connection:
        held = [with_holds(one, desk.policy) for one in of_ids(connection, wanted)]
        found = with_attention(connection, held, now=desk.clock())
    flags = Counter(name for one in found for name in one.flags)
    named = ", ".join(f"{count:,} {printable(name, 40)}" for name, count in flags.most_common())
    return f"; {sum(not one.flags for one in found):,} without a flag{', ' + named if named else ''}"


def _show_refused(desk: Desk, told: DecisionOutcome) -> None:
    lines = [f"  remap {one}: {error.why}" for one, error in told.refused.items()]
    folded = [part for line in lines for part in desk.screen.fold(line)]
    if len(lines) <= SHOWN:
        desk.screen.lines(folded)
    else:
        desk.screen.pages(folded)
