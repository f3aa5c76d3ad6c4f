"""What a review says, and the filter as a person types it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from redirectd.cli.options import FILTER_KEYS, KINDS, Filters, known_flag
from redirectd.review.case import Case
from redirectd.store.remap import State

HELP = """\
  a  approve it: the next apply routes it
  r  reject it: it stays rejected on new sightings (an approved one is revoked)
  s  skip it for now
  c  choose one of several Contacts, as do 1 to 9; then a approves that one
  F  approve a suspicious one all the same, with a written reason
  k  keep an approved one that is failing or stale
  n  write a note on it
  e  show all of it: whole URIs, all evidence, all that was decided on it
  u  undo the last step, one after another; a skipped one is shown again
  f  filter by peer, domain, flag, kind or age
  b  decide on all that the filter passes at once
  p  proposals: one gateway move instead of many users' moves
  q  quit; everything decided so far stands

  Enter shows the remap again. Ctrl-C and Ctrl-D at a question leave it undone."""
NOTHING = """\
nothing waits for review.
  'redirectd ingest FILE' reads a log, 'redirectd run' follows those of the configuration,
  'redirectd list' shows what was decided, 'redirectd plan' what the next apply would change."""

FILTER_HELP = "words: peer= domain= flag= kind= older=, such as domain=old.example older=30d"

MOST_DIGITS = 9
"""Contacts that a key of their own chooses; any of them can be chosen with c."""


def keys_for(case: Case, *, can_undo: bool) -> str:
    """The keys that matter for a remap, on one line of 80 columns."""
    remap = case.remap
    count = len(remap.contacts)
    is_open = remap.state is State.PENDING and count > 1
    choose = f"1-{count} Contact" if count <= MOST_DIGITS else "c Contact"
    if remap.state is State.APPROVED:
        first = ["k keep", "r revoke"]
    elif remap.new_uri is None:
        first = [choose, "r reject"]
    else:
        first = ["F force" if "force" in case.needs else "a approve", "r reject", *([choose] if is_open else [])]
    undo = ["u undo"] if can_undo else []
    return "  ".join([*first, "s skip", "n note", "e all of it", *undo, "? keys:"])


def few(numbers: Sequence[int]) -> str:
    """One remap by its id, several by their number."""
    if len(numbers) == 1:
        return f"remap {numbers[0]} is"
    return f"{len(numbers):,} remaps are"


def read_filter(text: str) -> Filters | None:
    """A filter as a person types it: `domain=old.example flag=untrusted`, `-` for none; None where it reads as none.

    Raises UsageError for an unknown flag.
    """
    chosen = Filters()
    for word in re.split(r"[\s,]+", text.strip().removeprefix("-")):
        if not word:
            continue
        name, equals, value = word.partition("=")
        if not equals or not value or name not in FILTER_KEYS or (name == "kind" and value not in KINDS):
            return None
        chosen = replace(chosen, **{FILTER_KEYS[name]: value})
    if chosen.flag:
        known_flag(chosen.flag)
    return chosen
