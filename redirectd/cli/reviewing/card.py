"""The card of one remap: what moved marked with carets, sections that give way where the screen is too low for all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
from rich.cells import cell_len, chop_cells, set_cell_size

from redirectd.cli.output import short_time, with_local_times, zone
from redirectd.plan.effective_table import Lookup
from redirectd.review.case import Case
from redirectd.review.four_eyes import approvals_text
from redirectd.review.holds import LOOKS
from redirectd.review.proposals import Proposal
from redirectd.sip.compare import Piece, pieces
from redirectd.sip.text import elided, shown
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.store.audit import AuditEntry
from redirectd.store.remap import Remap, State
from redirectd.store.remaps import Evidence

LABEL = 9
"""Columns of a label, before its text."""


@dataclass(slots=True)
class LineGroup:
    """Lines that belong together. The lowest `rank` gives way first, down to `least` lines."""

    lines: list[str]
    least: int
    rank: int


def labelled(label: str, text: str, width: int) -> list[str]:
    """A text behind its label, wrapped and harmless; nothing for an empty one."""
    lines = wrapped(shown(text, 8192), width - LABEL - 2)
    return [f"  {label if number == 0 else '':<{LABEL}}{line}" for number, line in enumerate(lines)]


def more(count: int) -> str:
    """The line in place of those that had no room."""
    return f"  {'':<{LABEL}}... {count} more line{'' if count == 1 else 's'}: e"


def fitted(sections: Sequence[LineGroup], room: int | None) -> list[str]:
    """The lines of all sections, at most `room` where their least lines allow it; each cut is marked in its place."""
    if room is not None:
        for section in sorted(sections, key=lambda one: one.rank):
            excess = sum(len(one.lines) for one in sections) - room
            if excess <= 0:
                break
            kept = max(section.least, len(section.lines) - excess) - 1  # one line says what is left out
            if 0 <= kept < len(section.lines) - 1:
                section.lines[kept:] = [more(len(section.lines) - kept)]
    lines = [line for section in sections for line in section.lines]
    if room is not None and len(lines) > room:
        lines[room - 1 :] = [more(len(lines) - room + 1)]
    return lines


def chopped(text: str, room: int) -> list[str]:
    """The text in parts of at most `room` columns, wherever they end; none for no text."""
    return chop_cells(text, room) if cell_len(text) > room else [text] if text else []


def wrapped(text: str, room: int) -> list[str]:
    """The text in lines of at most `room` columns, between words where a line has some."""
    lines = []
    for part in text.splitlines():
        indent = " " * min(len(part) - len(part.lstrip(" ")), room // 2)
        lines += [f"{indent}{line}" for line in _words(part, room - len(indent))]
    return lines


def _words(text: str, room: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        both = f"{line} {word}" if line else word
        if cell_len(both) <= room:
            line = both
            continue
        if line:
            yield line
        *whole, line = chopped(word, room)
        yield from whole
    if line:
        yield line


def cut(text: str, room: int) -> str:
    """The text in at most `room` columns; dots say that there was more."""
    return text if cell_len(text) <= room else f"{set_cell_size(text, room - 3).rstrip()}..."


@dataclass(frozen=True, slots=True)
class Ink:
    """Colours, or none: what they say is in the text too."""

    is_on: bool = False

    def title(self, text: str) -> str:
        """What the lines below are about."""
        return click.style(text, bold=True) if self.is_on else text

    def old(self, text: str) -> str:
        """A part of the old URI that the new one does not have."""
        return click.style(text, fg="red", bold=True) if self.is_on else text

    def new(self, text: str) -> str:
        """A part of the new URI that the old one does not have."""
        return click.style(text, fg="green", bold=True) if self.is_on else text

    def warn(self, text: str) -> str:
        """What holds a remap, or asks for a look."""
        return click.style(text, fg="yellow") if self.is_on else text

    def quiet(self, text: str) -> str:
        """What is there to be looked up."""
        return click.style(text, dim=True) if self.is_on else text


MOST_PEERS = 6
LEAST_LOG = 3
WHOLE = 8192


def marked(label: str, found: Sequence[Piece], width: int, ink: Ink, *, whole: bool) -> list[str]:
    """A URI behind its label, wrapped, with carets below what differs; long parts in short unless `whole`."""
    colour = ink.old if label == "old" else ink.new
    lines, below, column = [f"  {label:<{LABEL}}"], [""], 0
    room = width - LABEL - 2
    for text, differs in found:
        rest = shown(text, WHOLE) if whole else elided(shown(text, WHOLE))
        while rest:
            part = next(iter(chopped(rest, room - column)), "") if column < room else ""
            if not part or cell_len(part) > room - column:  # not even one wide character is left
                lines.append(" " * (LABEL + 2))
                below.append("")
                column = 0
                continue
            lines[-1] += colour(part) if differs else part
            below[-1] += ("^" if differs else " ") * cell_len(part)
            column += cell_len(part)
            rest = rest[len(part) :]
    both = zip(lines, below, strict=True)
    return [line for text, marks in both for line in (text, f"{'':<{LABEL + 2}}{marks.rstrip()}") if line.strip()]


def card(case: Case, width: int = 80, room: int | None = None, ink: Ink | None = None) -> list[str]:
    """The card as lines of at most `width` columns, safe to print; at most `room` of them, or all there is to say."""
    remap, pen, whole = case.remap, ink or Ink(), room is None
    old, news = _uris(remap, width, pen, whole=whole)
    sections = [
        LineGroup(old, least=3, rank=6),
        LineGroup(news, least=5, rank=4),
        LineGroup(list(_seen(remap, width)), least=3, rank=3),
        LineGroup(list(_held(remap, width, pen)), least=4, rank=6),
        LineGroup([line for fact in remap.facts.items() for line in labelled("fact", ": ".join(fact), width)], 1, 2),
        LineGroup(labelled("note", remap.note, width), least=1, rank=3),
        LineGroup(labelled("today", _routing(case.today, remap.old_uri, whole=whole), width), least=2, rank=5),
        LineGroup(labelled("after", _routing(case.after, remap.old_uri, whole=whole), width), least=2, rank=5),
        LineGroup([line for text in case.touches for line in labelled("touches", text, width)], least=2, rank=4),
        LineGroup(list(_decided(case.entries if whole else case.entries[-3:], width)), least=1, rank=1),
    ]
    taken = sum(len(section.lines) for section in sections)
    log = excerpt(case, width, None if room is None else max(LEAST_LOG, room - taken))
    return fitted([*sections, LineGroup([pen.quiet(line) for line in log], LEAST_LOG, rank=0)], room)


def _uris(remap: Remap, width: int, ink: Ink, *, whole: bool) -> tuple[list[str], list[str]]:
    """The lines of the old URI, and those of the new one or of all Contacts."""
    old = parse_uri(remap.old_uri)
    assert isinstance(old, SipUri)
    choices = [remap.new_uri] if remap.new_uri else [one.uri for one in remap.contacts]
    news = [uri for text in choices if isinstance(uri := parse_uri(text), SipUri)]
    first = marked("old", pieces(old, news[0] if news else old), width, ink, whole=whole)
    others = []
    for number, new in enumerate(news, 1):
        label = "new" if remap.new_uri else f"new {number}"
        others += marked(label, pieces(new, old), width, ink, whole=whole)
    for one in remap.contacts:
        if one.dropped:
            others += labelled("dropped", f"{one.dropped} of {elided(one.uri)} (R16)", width)
    return first, others


def _seen(remap: Remap, width: int) -> Iterator[str]:
    span = f"{remap.calls}, first {short_time(remap.first_seen)}, last {short_time(remap.last_seen)} {zone()}"
    yield from labelled("calls", span, width)
    peers = [f"{peer} ({count})" for peer, count in sorted(remap.peer_calls.items())]
    more = [f"and {len(peers) - MOST_PEERS} more"] if len(peers) > MOST_PEERS else []
    yield from labelled("peers", ", ".join(peers[:MOST_PEERS] + more), width)
    yield from labelled("methods", ", ".join(remap.methods), width)
    if remap.incoming:
        forked = " (forked: no target that matches on it takes this remap)" if remap.incoming_forked else ""
        yield from labelled("incoming", f"{', '.join(map(elided, remap.incoming[:MOST_PEERS]))}{forked}", width)
    yield from labelled("approved", approvals_text(remap), width)
    if remap.expires_at:
        yield from labelled("ends", short_time(remap.expires_at), width)


def _held(remap: Remap, width: int, ink: Ink) -> Iterator[str]:
    for name, reason in sorted(remap.flags.items()):
        label = "look" if name in LOOKS else "held"
        yield from map(ink.warn, labelled(label, f"{name}: {with_local_times(reason)}", width))


def _decided(entries: Sequence[AuditEntry], width: int) -> Iterator[str]:
    for entry in entries:
        reason = f": {entry.reason}" if entry.reason else ""
        yield from labelled("decided", f"{short_time(entry.at)} {entry.actor}: {entry.action}{reason}", width)


def _routing(answer: Lookup | None, old_uri: str, *, whole: bool) -> str:
    def uri(text: str) -> str:
        return shown(text, WHOLE) if whole else elided(shown(text, WHOLE))

    if answer is None:
        return ""
    if answer.result is None:
        return f"not moved: {answer.reason}" if answer.reason else f"{uri(old_uri)} is not moved"
    hops = ", then ".join(str(hop.id) for hop in answer.hops)
    return f"goes to {uri(str(answer.result))} by remap {hops}"


def title(case: Case, left: int, width: int, ink: Ink) -> str:
    """The line above a card, across the screen: which remap, and how many are left with it."""
    remap = case.remap
    state = "" if remap.state is State.PENDING else f", {remap.state}"
    head, tail = f"-- remap {remap.id}, {remap.kind}{state} ", f" {left:,} to go --"
    return ink.title(f"{head}{'-' * max(0, width - len(head) - len(tail))}{tail}")


def proposal_lines(number: int, one: Proposal, others: Sequence[Remap], width: int, ink: Ink) -> list[str]:
    """A proposal with what it covers and what it does not; `others` are the first of its exceptions."""
    head = f"{one.users} of {one.total} users ({one.percent:.0f} %) moved so; one gateway move would cover them"
    lines = [ink.title(f"proposal {number}"), *marked("old", pieces(one.old, one.new), width, ink, whole=False)]
    lines += [*marked("new", pieces(one.new, one.old), width, ink, whole=False), *labelled("covers", head, width)]
    if not one.exceptions:
        return [*lines, *labelled("except", "no user", width)]
    for remap in others:
        state = "" if remap.state is State.PENDING else f" ({remap.state})"
        new = elided(shown(remap.new_uri, WHOLE)) if remap.new_uri else f"{len(remap.contacts)} Contacts"
        old = elided(shown(remap.old_uri, WHOLE))
        lines += labelled("except", f"remap {remap.id}{state}: {old} to {new}", width)
    rest = len(one.exceptions) - len(others)
    return lines + (labelled("", f"and {rest:,} more", width) if rest else [])


LONGEST = 16384
"""Characters of a log line that are shown."""

_TELLS = re.compile(r"(?i)^(?:SIP/2\.0 |contact[ \t]*:|m[ \t]*:|reason[ \t]*:|expires[ \t]*:)")
"""Lines of a response that say the move, whatever the others say."""

_MARGIN = "    | "


def sighting_lines(one: Evidence, width: int) -> list[str]:
    """One sighting with all its log lines, wrapped."""
    return [*_head(one, width), *(line for part in _parts(one, width) for line in part)]


def excerpt(case: Case, width: int, room: int | None) -> list[str]:
    """The newest sighting in at most `room` lines, and how much more there is; all sightings for None."""
    if not case.evidence:
        return labelled("log", "no excerpt stored", width)
    if room is None:
        return [line for one in case.evidence for line in sighting_lines(one, width)]
    newest = case.evidence[-1]
    others = len(case.evidence) - 1
    earlier = _counted(others, "earlier sighting") if others else ""
    lines = sighting_lines(newest, width)
    if len(lines) + bool(others) <= room:
        return [*lines, _rest(width, earlier)] if others else lines
    head, parts = _head(newest, width), _parts(newest, width)
    kept = _chosen(parts, room - len(head) - 1)
    left = sum(map(len, parts)) - sum(len(parts[place]) for place in kept)
    if not kept:  # one long line: what of it there is room for
        shown_part = parts[0][: max(1, room - len(head) - 1)]
        left -= len(shown_part)
        return [*head, *shown_part, _rest(width, _counted(left, "line"), earlier)]
    return [
        *head,
        *(line for place in sorted(kept) for line in parts[place]),
        _rest(width, _counted(left, "line"), earlier),
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
    return [cut(line, width) for line in labelled("log", where, width)]


def _parts(one: Evidence, width: int) -> list[list[str]]:
    """Each log line, wrapped to the width."""
    lines = [shown(line, LONGEST) for line in one.text.rstrip().splitlines()]
    return [[f"{_MARGIN}{part}" for part in chopped(line, width - len(_MARGIN)) or [""]] for line in lines]
