"""`redirectd explain --early-media`: the summary of a log's 183s by peer, as JSON and for people."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

from redirectd.cli.ladder import ASCII, Arrow, Pen, ladder, pen_of, width_of
from redirectd.cli.output import exact_time, say, zone
from redirectd.collect.early_report import EXPLAINED, EarlyCall, EarlyReport, PeerEarly
from redirectd.sip.text import printable
from redirectd.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from redirectd.collect.traffic import LoggedMessage
    from redirectd.sip.sdp import Media

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
