"""What a log no longer has: answers that its writer cut short, and what it says itself that it lost."""

from __future__ import annotations

from collections.abc import Iterator

from redirectd.collect.scan import Block
from redirectd.dialects import hints
from redirectd.dialects.window import line_at
from redirectd.sources.log import Log

CUT_SHORT = "cut-short"
"""Answers whose writer cut them off."""

FORGED = "forged"
"""One-line records whose proof no key makes, and records beside one that is proven (R39)."""

UNKEYED = "unkeyed-refused"
"""Records without a proof in a source that has shown proven ones (R39)."""

MISTIMED = "record-mistimed"
"""Records whose time is not that of the log's entry around them (R39)."""

WITHIN_MESSAGE = "within-message"
"""Look-alikes of answers that are text of a framed message, and nothing else (R38)."""

AMBIGUOUS_FRAME = "ambiguous-frame"
"""Entries whose length, given by text, reaches over other entries of the same log that look like answers (R40)."""

_LONGEST_HEAD, _LINE = 1024, 96


def told_losses(log: Log, block: Block) -> Iterator[tuple[str, int]]:
    """Kind and number of what was lost, for each line of a block that reports a loss."""
    for literal, places in block.counted.items():
        for at in places:
            start = line_at(block.window, at, _LONGEST_HEAD).start
            yield hints.lost(literal, log.read(block.base + start, at - start + _LINE))
