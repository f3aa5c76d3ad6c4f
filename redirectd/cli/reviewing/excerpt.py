"""The evidence on a card: the newest sighting as far as there is room, the lines that say the move first."""

from __future__ import annotations

import re

from redirectd.cli.output import short_time
from redirectd.cli.reviewing.columns import chopped, cut, shown
from redirectd.cli.reviewing.layout import LABEL, told
from redirectd.review.case import Case
from redirectd.store.remaps import Evidence

LONGEST = 16384
"""Characters of a log line that are shown."""

_TELLS = re.compile(r"(?i)^(?:SIP/2\.0 |contact[ \t]*:|m[ \t]*:|reason[ \t]*:|expires[ \t]*:)")
"""Lines of a response that say the move, whatever the others say."""

_MARGIN = "    | "


def telling(one: Evidence, width: int) -> list[str]:
    """One sighting with all its log lines, wrapped."""
    return [*_head(one, width), *(line for part in _parts(one, width) for line in part)]


def excerpt(case: Case, width: int, room: int | None) -> list[str]:
    """The newest sighting in at most `room` lines, and how much more there is; all sightings for None."""
    if not case.evidence:
        return told("log", "no telling is kept", width)
    if room is None:
        return [line for one in case.evidence for line in telling(one, width)]
    newest = case.evidence[-1]
    others = len(case.evidence) - 1
    tellings = _counted(others, "older telling") if others else ""
    lines = telling(newest, width)
    if len(lines) + bool(others) <= room:
        return [*lines, _rest(width, tellings)] if others else lines
    head, parts = _head(newest, width), _parts(newest, width)
    kept = _chosen(parts, room - len(head) - 1)
    left = sum(map(len, parts)) - sum(len(parts[place]) for place in kept)
    if not kept:  # one long line: what of it there is room for
        shown_part = parts[0][: max(1, room - len(head) - 1)]
        left -= len(shown_part)
        return [*head, *shown_part, _rest(width, _counted(left, "line"), tellings)]
    return [
        *head,
        *(line for place in sorted(kept) for line in parts[place]),
        _rest(width, _counted(left, "line"), tellings),
    ]


def _chosen(parts: list[list[str]], room: int) -> list[int]:
    """The places of the log lines that are shown: those that say the move, then from the first on."""
    order = sorted(range(len(parts)), key=lambda place: not _TELLS.match(parts[place][0][len(_MARGIN) :]))
    kept = []
    for place in order:
        if len(parts[place]) <= room:
            kept.append(place)
            room -= len(parts[place])
    return kept


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _rest(width: int, *what: str) -> str:
    return cut(f"  {'':<{LABEL}}... and {' and '.join(filter(None, what))} more: e", width)


def _head(one: Evidence, width: int) -> list[str]:
    where = f"{short_time(one.seen_at)} {one.source} at byte {one.position:,}, {one.dialect}"
    return [cut(line, width) for line in told("log", where, width)]


def _parts(one: Evidence, width: int) -> list[list[str]]:
    """Each log line, wrapped to the width."""
    lines = [shown(line, LONGEST) for line in one.text.rstrip().splitlines()]
    return [[f"{_MARGIN}{part}" for part in chopped(line, width - len(_MARGIN)) or [""]] for line in lines]
