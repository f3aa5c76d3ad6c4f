"""The key that takes back what the one before it did."""

from __future__ import annotations

from redirectd.cli.reviewing.desk import NOTED, Deed, Desk, Turn
from redirectd.cli.reviewing.words import few
from redirectd.errors import RedirectdError
from redirectd.review.batches import BATCH
from redirectd.review.undo import undo_all
from redirectd.store.upsert import chunks

SHOWN = 5


def undo_last(desk: Desk, current: int | None) -> Turn:
    """Takes the last deed back, as far as nobody else has decided since, and shows its remaps again."""
    if not desk.deeds:
        return desk.say("there is nothing to undo")
    deed = desk.deeds[-1]
    refused = _undo_steps(desk, deed)
    desk.deeds.pop()
    for one, error in list(refused.items())[:SHOWN]:
        desk.say(f"  remap {one}: {error.why}")
    back = [one for one in deed.remaps if one not in refused]
    if deed.word == NOTED:
        return desk.say(f"the note on {few(back)} again what it was" if back else "nothing was taken back", Turn.CARD)
    desk.counts[deed.word] -= len(back)
    if not back:
        return desk.say("nothing was taken back")
    desk.queue.put_back([*back, *([] if current is None else [current])])
    what = {"skipped": "shown", "kept": "to be looked at", "revoked": "approved"}.get(deed.word, "pending")
    return desk.say(f"undone: {few(back)} {what} again", Turn.NEXT)


def _undo_steps(desk: Desk, deed: Deed) -> dict[int, RedirectdError]:
    """In transactions of a batch; what one of them could not do stays to be undone by the next key."""
    refused: dict[int, RedirectdError] = {}
    decision = desk.decision("")
    total = len(deed.steps)
    for part in chunks(list(reversed(deed.steps)), BATCH):
        with desk.database.begin() as connection:
            refused |= undo_all(connection, list(reversed(part)), decision, desk.policy)
        deed.steps = deed.steps[: -len(part)]
        if total > BATCH:
            desk.screen.progress(total - len(deed.steps), total, "taken back")
    return refused
