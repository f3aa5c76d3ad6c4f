"""One decision on many remaps, in transactions of a few hundred: quick, and no lock is held for minutes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from redirectd.collect.policy import Policy
from redirectd.review.decide import decide_all
from redirectd.review.decision import Decision, DecisionOutcome
from redirectd.store.database import Database
from redirectd.store.upsert import chunks

BATCH = 500
"""Remaps of one transaction: a few tenths of a second."""


def decide_in_batches(
    database: Database, action: str, numbers: Iterable[int], decision: Decision, policy: Policy
) -> Iterator[DecisionOutcome]:
    """Decides as `decide_all` does, and gives what each batch came to once it is committed.

    Whoever stops iterating stops the work; batches already yielded stay decided. Raises StoreError, and RedirectdError
    where somebody decided at the same moment: the batch it happens in is taken back.
    """
    for part in chunks(dict.fromkeys(numbers), BATCH):
        yield database.run(partial(decide_all, action=action, numbers=part, decision=decision, policy=policy))
