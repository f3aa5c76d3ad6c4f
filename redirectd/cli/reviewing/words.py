"""What a sitting says, and the filter as a person types it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from redirectd.cli.filters import Filters
from redirectd.sip.text import printable

KEYS = "a approve  r reject  s skip  c Contact  n note  e evidence  u undo  ? more keys"
KEYS_APPROVED = "k keep  r revoke  s skip  n note  e evidence  u undo  ? more keys"
HELP = """\
  a  approve it: the next apply routes it
  r  reject it: it stays rejected on new sightings (an approved one is revoked)
  s  skip it for now
  c  choose one of several Contacts, as do 1 to 9; then a approves that one
  F  approve a suspicious one all the same, with a written reason
  k  keep an approved one that is failing or stale
  n  write a note on it
  e  show all its evidence
  u  undo the last decision, one after another
  f  filter by peer, domain, flag, kind or age
  b  decide on all that the filter passes at once
  p  proposals: one gateway move instead of many users' moves
  q  quit; everything decided so far stands"""
NOTHING = """\
nothing waits for review.
  'redirectd ingest FILE' reads a log, 'redirectd run' follows those of the configuration,
  'redirectd list' shows what was decided, 'redirectd plan' what the next apply would change."""

FILTER_HELP = "filter, such as: domain=old.example flag=untrusted older=30d (Enter for none): "
FILTER_KEYS = {"peer": "peer", "domain": "domain", "flag": "flag", "kind": "kind", "older": "older_than"}


def few(numbers: Sequence[int]) -> str:
    """One remap by its id, several by their number."""
    if len(numbers) == 1:
        return f"remap {numbers[0]} is"
    return f"{len(numbers)} remaps are"


def read_filter(text: str) -> Filters | None:
    """A filter as a person types it: `domain=old.example flag=untrusted`; None where it does not read so."""
    chosen = Filters()
    for word in re.split(r"[\s,]+", text.strip()):
        if not word:
            continue
        name, equals, value = word.partition("=")
        if not equals or not value or name not in FILTER_KEYS:
            return None
        chosen = replace(chosen, **{FILTER_KEYS[name]: value})
    return chosen


def filter_text(filters: Filters) -> str:
    """The same the other way round; empty for no filter."""
    values = {name: getattr(filters, key) for name, key in FILTER_KEYS.items()}
    return " ".join(f"{name}={printable(value, 60)}" for name, value in values.items() if value)
