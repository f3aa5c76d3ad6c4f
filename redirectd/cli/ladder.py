"""A text ladder: each message from sender to receiver, in as many columns as the terminal has; and 183s by peer."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len, set_cell_size

from redirectd.cli.output import exact_time, say, zone
from redirectd.cli.reviewing.card import chopped, cut, wrapped
from redirectd.collect.early_report import EXPLAINED, EarlyCall, EarlyReport, PeerEarly
from redirectd.review.case import Arrow, move_drawn
from redirectd.sip.text import printable, shown
from redirectd.store.remap import Remap
from redirectd.store.remaps import Evidence
from redirectd.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from redirectd.collect.traffic import LoggedMessage
    from redirectd.sip.sdp import Media


MAX_ARROWS = 60
"""Messages that one ladder shows."""

LEAST_WIDTH, USUAL_WIDTH, WIDEST = 40, 80, 120
LONGEST = 400
"""Characters of one label that are shown."""

_STAMP = 9
_HEAD_LINES = 3


@dataclass(frozen=True, slots=True)
class Pen:
    """The characters that a ladder is drawn with."""

    bar: str = "|"
    line: str = "-"
    right: str = ">"
    left: str = "<"


ASCII = Pen()
BOXES = Pen("\u2502", "\u2500", "\u25b6", "\u25c0")


def pen_of(stream: TextIO) -> Pen:
    """Box drawing characters where the stream can carry them, else ASCII."""
    try:
        "".join((BOXES.bar, BOXES.line, BOXES.right, BOXES.left)).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BOXES


def width_of(stream: TextIO) -> int:
    """Columns of a terminal, up to 120; 80 for a file or a pipe."""
    return min(shutil.get_terminal_size().columns, WIDEST) if stream.isatty() else USUAL_WIDTH


def ladder(lanes: Sequence[str], arrows: Sequence[Arrow], width: int = 80, pen: Pen = ASCII) -> list[str]:
    """The lines of a ladder, none wider than `width` columns; of more than `MAX_ARROWS` the first ones."""
    width = max(width, LEAST_WIDTH)
    begin = _STAMP + 1 if any(arrow.at for arrow in arrows) else 1
    places = [begin + number * (width - 2 - begin) // (len(lanes) - 1) for number in range(len(lanes))]
    lines = _heads(lanes, places, width)
    for arrow in arrows[:MAX_ARROWS]:
        lines += _drawn(arrow, places, width, pen)
    if len(arrows) > MAX_ARROWS:
        lines.append(f"{'':{begin}}... {len(arrows) - MAX_ARROWS:,} more messages")
    return lines


def _heads(lanes: Sequence[str], places: Sequence[int], width: int) -> list[str]:
    """The lanes' names: the first from its bar on, the last up to its bar, the others around theirs."""
    gap = places[1] - places[0]
    room = gap // 2 if len(lanes) == 2 else (gap - 2) * 2 // 3
    parts = [chopped(shown(name, LONGEST), room)[:_HEAD_LINES] for name in lanes]
    lines = []
    for number in range(max(map(len, parts))):
        line = ""
        for lane, (place, part) in enumerate(zip(places, parts, strict=True)):
            text = part[number] if number < len(part) else ""
            size = cell_len(text)
            middle = place - size // 2
            at = place if not lane else min(middle, width - size) if lane < len(places) - 1 else place + 1 - size
            line = set_cell_size(line, max(at, cell_len(line))) + text
        lines.append(line.rstrip())
    return lines


def _drawn(arrow: Arrow, places: Sequence[int], width: int, pen: Pen) -> list[str]:
    """An arrow with its label in it where there is room, else above it, and its notes below it."""
    low, high = sorted((places[arrow.start], places[arrow.end]))
    label = shown(arrow.label, LONGEST)
    inside = high - low - 1
    texts = [shown(note, LONGEST) for note in arrow.notes]
    fits = cell_len(label) <= inside - 8
    above = [] if fits else _beside(label, low, places, width, pen)
    body = f"{pen.line * 2} {label} " if fits and label else ""
    if arrow.start < arrow.end:
        shaft = body + pen.line * (inside - 1 - cell_len(body)) + pen.right
    else:
        shaft = pen.left + body + pen.line * (inside - 1 - cell_len(body))
    row = _bars(places, places[0], low, pen) + pen.bar + shaft + _bars(places, high, width, pen)
    lines = [*above, f"{'':{places[0]}}{row}".rstrip()]
    if arrow.at:
        lines[0] = set_cell_size(cut(shown(arrow.at), places[0] - 1), places[0]) + lines[0][places[0] :]
    return lines + [line for text in texts for line in _beside(text, low, places, width, pen)]


def _beside(text: str, low: int, places: Sequence[int], width: int, pen: Pen) -> list[str]:
    """A text right of a lane, over the lanes behind it, in as many lines as it takes."""
    lead = f"{'':{places[0]}}{_bars(places, places[0], low, pen)}{pen.bar}  "
    parts = chopped(text, places[-1] - low - 3)
    return [f"{lead}{part}{_bars(places, low + 3 + cell_len(part), width, pen)}".rstrip() for part in parts]


def moved_ladder(remap: Remap, evidence: Sequence[Evidence], width: int = 80, pen: Pen = ASCII) -> list[str]:
    """The newest sighting of a remap: the request, its answer, and the request that routing would send instead."""
    if not evidence:
        return ["no excerpt of this remap is stored: there is nothing to draw"]
    newest = evidence[-1]
    where = f"{exact_time(newest.seen_at)} {zone()}, {newest.source} at byte {newest.position:,}, {newest.dialect}"
    others = len(evidence) - 1
    return [
        *wrapped(shown(where), max(width, LEAST_WIDTH)),
        *ladder(*move_drawn(remap, newest), width, pen),
        *([f"{others:,} earlier sighting{'' if others == 1 else 's'} stored, not drawn"] if others else []),
    ]


def _bars(places: Sequence[int], begin: int, end: int, pen: Pen) -> str:
    """The lanes from column `begin` up to `end`."""
    return "".join(pen.bar if column in places else " " for column in range(begin, end))


MAX_SHOWN = 20
"""Peers that people are shown; JSON has all."""


def early_json(messages: Iterable[LoggedMessage]) -> dict[str, Any]:
    """What a log's 183s come to, by peer; `ladder` of an example are lines of ASCII."""
    peers = _peers(messages)
    return {
        "calls": sum(one.calls for one in peers),
        "session_progress": sum(one.progress for one in peers),
        "fine": sum(one.fine for one in peers),
        "peers": [_peer_json(one) for one in peers],
    }


def show_early(messages: Iterable[LoggedMessage]) -> None:
    """The same for people, with a ladder for each kind of finding."""
    peers = _peers(messages)
    if not peers:
        say("no 183 was found: no early media to explain")
        return
    width, pen = width_of(sys.stdout), pen_of(sys.stdout)
    for one in peers[:MAX_SHOWN]:
        _show_peer(one, width)
    if len(peers) > MAX_SHOWN:
        say(f"{len(peers) - MAX_SHOWN:,} more peers: see --json")
    found = {finding: calls[0] for one in peers for finding, calls in reversed(one.examples.items())}
    for finding in EXPLAINED:
        if finding in found:
            _show_example(f"{finding}, for example", found[finding], width, pen)
    first = peers[0].first
    if not found and first is not None:
        _show_example("no fault was found; for example", first, width, pen)


def _peers(messages: Iterable[LoggedMessage]) -> Sequence[PeerEarly]:
    report = EarlyReport()
    for logged in messages:
        report.add(logged)
    return report.end()


def _peer_json(one: PeerEarly) -> dict[str, Any]:
    return {
        "peer": printable(one.peer),
        "side": "sent" if one.sent else "received",
        "calls": one.calls,
        "session_progress": one.progress,
        "with_sdp": one.with_sdp,
        "reliable": one.reliable,
        "fine": one.fine,
        "findings": {finding: one.findings[finding] for finding in EXPLAINED if one.findings[finding]},
        "directions": dict(one.directions),
        "codecs": [
            {"offered": _listed(offered), "answered": _listed(answered), "calls": calls}
            for (offered, answered), calls in one.codecs.most_common()
        ],
        "examples": [_example_json(finding, call) for finding, calls in one.examples.items() for call in calls],
    }


def _listed(names: str) -> list[str]:
    return names.split(", ") if names else []


def _example_json(finding: str, call: EarlyCall) -> dict[str, Any]:
    return {
        "finding": finding,
        "call_id": printable(call.name.call_id, 300),
        "request_uri": call.request_uri or None,
        "seen_at": rfc3339(call.seen_at) if call.seen_at else None,
        "position": call.position,
        "final": call.final,
        "offered": [_media_json(media) for media in call.offered],
        "answered": [_media_json(media) for media in call.answered],
        "ladder": _ladder(call, 80, ASCII),
    }


def _media_json(media: Media) -> dict[str, Any]:
    return {"kind": media.kind, "port": media.port, "direction": media.direction, "codecs": list(media.codecs)}


def _show_peer(one: PeerEarly, width: int) -> None:
    side = "sent to" if one.sent else "received from"
    with_sdp = f"{one.with_sdp:,} of {one.progress:,} 183s with SDP"
    reliable = f", {one.reliable:,} reliable" if one.reliable else ""
    say(f"{side} {printable(one.peer)}: {one.calls:,} call{'' if one.calls == 1 else 's'}, {with_sdp}{reliable}")
    for finding, text in EXPLAINED.items():
        if one.findings[finding]:
            _say_wrapped(f"{one.findings[finding]:>7,}  {finding:<15} {text}", width)
    if one.fine:
        _say_wrapped(f"{one.fine:>7,}  {'fine':<15} SDP, and nothing against it in this log", width)
    for (offered, answered), calls in one.codecs.most_common(3):
        text = f"offered {offered or 'not shown'}; answered {answered or 'none'}"
        _say_wrapped(f"{calls:>7,}  {'codecs':<15} {text}", width)
    if one.directions:
        text = ", ".join(f"{count:,} x {name}" for name, count in sorted(one.directions.items()))
        _say_wrapped(f"{'':>7}  {'direction':<15} {text}", width)


def _say_wrapped(text: str, width: int) -> None:
    for line in textwrap.wrap(text, width, subsequent_indent=" " * 25, drop_whitespace=False, break_on_hyphens=False):
        say(line.rstrip())


def _show_example(title: str, call: EarlyCall, width: int, pen: Pen) -> None:
    when = f", {exact_time(call.seen_at)} {zone()}" if call.seen_at else ""
    say()
    _say_wrapped(f"{title}: Call-ID {printable(call.name.call_id, 200)}{when}", width)
    for line in _ladder(call, width, pen):
        say(line)


def _ladder(call: EarlyCall, width: int, pen: Pen) -> list[str]:
    """The transaction between this host and its peer, the caller on the left."""
    lanes = (call.peer, "this host") if call.sent else (call.caller or "this host", call.peer)
    begin = next((step.seen_at for step in call.steps if step.seen_at is not None), None)
    arrows = [
        Arrow(int(not step.from_caller), int(step.from_caller), step.label, step.notes, _after(begin, step.seen_at))
        for step in call.steps
    ]
    more = [f"... {call.more_steps:,} more messages"] if call.more_steps else []
    return [*ladder(lanes, arrows, width, pen), *more]


def _after(begin: datetime | None, at: datetime | None) -> str:
    """Seconds since the transaction's first message."""
    if begin is None or at is None:
        return ""
    return f"+{min((at - begin).total_seconds(), 9999):.3f}"
