"""`redirectd explain`: what a log was read as."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import emit_json, json_option, rfc3339, say
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.collect.explanation import Explanation
    from redirectd.collect.log_reader import LogReader
    from redirectd.collect.loops import Way

_STEP_WEIGHT = 2_000
_WIDEST = 500
"""Characters of one value that people are shown; JSON has all of it."""
_SUMMARY = {
    "sightings": "301s, each counted once",
    "learnt": "of them make remaps",
    "refused": "of them can be no remap",
    "unpaired": "of them without their request",
    "unparsed": "look like a 301 and could not be read",
    "session_progress": "183s, each counted once",
    "copies": "repetitions and other copies (R8)",
    "sent": "sent by this host (R8)",
    "ignored": "no answers, though they look like some",
}


@click.command("explain")
@click.argument("file")
@click.option("--dialect", help="How the log writes SIP down; found out by itself where not given.")
@json_option
@pass_app
def explain_command(app: App, file: str, dialect: str | None, *, as_json: bool) -> None:
    """Show what each 301 and 183 in FILE is read as, by which dialect and rule, and why not; - is standard input.

    Nothing is written to the database, and none is needed. What makes no remap shows the rule that says so. Of many
    places that come to the same the first ten are shown. At the end stands what this log could not tell, and the
    setting of Kamailio or Asterisk that would mend it.
    """
    from redirectd.cli.log_reading import reading_of
    from redirectd.collect.capture import searchable
    from redirectd.collect.explanation import Explanation
    from redirectd.collect.linecount import LineCount
    from redirectd.collect.log_reader import LogReader
    from redirectd.dialects.hints import literals
    from redirectd.sources.file import open_log

    with open_log(file) as opened:
        log = searchable(opened)
        reading = reading_of(log, app.config, dialect=dialect, session_progress="each")
        explanation = Explanation(LineCount(log) if log is opened else None)
        reader = LogReader(log, replace(reading, counted=literals()), clock=app.now, observer=explanation)
        read, losses = _read(reader)
    document = {
        "file": file,
        "bytes": read,
        "dialects": [one.name for one in reading.dialects],
        "summary": explanation.summary(),
        "answers": [_shown(entry, in_place=log is opened) for entry in explanation.entries],
        **_ways(explanation),
        "losses": losses,
        "hints": [asdict(hint) for hint in explanation.hints()],
    }
    if as_json:
        emit_json(document)
    else:
        _show(document)


def _read(reader: LogReader) -> tuple[int, dict[str, int]]:
    """The bytes read and what was lost in them; batches are dropped, since nothing is stored."""
    from redirectd.collect.batch import Batch

    read, losses = 0, Counter[str]()
    more = True
    while more:
        batch = Batch(reader.reading.source)
        while more and batch.weight + len(batch.progress) < _STEP_WEIGHT:
            more = reader.read(batch, final=True)
        reader.confirm()
        read += batch.read
        losses.update(batch.losses)
    return read, dict(losses)


def _shown(entry: dict[str, Any], *, in_place: bool) -> dict[str, Any]:
    """The entry for JSON; offsets in a capture that was unpacked to read it are none of the file."""
    at = entry.get("seen_at")
    shown = entry | {"seen_at": rfc3339(at) if at else None}
    if not in_place:
        shown["position"] = None
        if shown["request"]:
            shown["request"] = shown["request"] | {"position": None}
    return shown


def _ways(explanation: Explanation) -> dict[str, Any]:
    from redirectd.collect.loops import MAX_SHOWN

    loops, chains = explanation.ways()

    def each(found: list[Way]) -> list[dict[str, Any]]:
        return [{"uris": list(way.uris), "calls": list(way.calls)} for way in found[:MAX_SHOWN]]

    return {"loops": each(loops), "loops_total": len(loops), "chains": each(chains), "chains_total": len(chains)}


def _show(document: dict[str, Any]) -> None:
    for answer in document["answers"]:
        _show_one(answer)
    for text, more in _more(document["answers"]):
        say(f"{more:,} more like this: {text}")
    say(f"{document['bytes']:,} bytes; dialects tried: {', '.join(document['dialects'])}")
    for name, text in _SUMMARY.items():
        if document["summary"][name] or name == "sightings":
            say(f"{document['summary'][name]:>9,}  {text}")
    for loop in document["loops"]:
        steps = [f"{uri} ({calls:,} calls)" for uri, calls in zip(loop["uris"], loop["calls"], strict=True)]
        say(f"redirect loop (R34): {' -> '.join([*steps, loop['uris'][0]])}: it never reaches a routing file")
    for chain in document["chains"]:
        say(f"chain (R33): {' -> '.join(chain['uris'])}: routing goes to the last")
    for kind, number in document["losses"].items():
        say(f"lost: {number:,} x {printable(kind)}")
    for hint in document["hints"]:
        say(f"this log could not tell: {hint['says']} ({hint['count']:,} places)")
        say(f"    what to do  {hint['setting']}")
    if not document["answers"]:
        say("nothing was found: see 'redirectd snippet kamailio' and 'redirectd snippet asterisk' for what to log")


def _more(answers: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """How many places are not shown, by what they came to."""
    shown: Counter[int] = Counter(answer["group"] for answer in answers)
    last = {answer["group"]: answer for answer in answers}
    return [
        (f"{answer['status']} {answer['read_as']} {answer['rule'] or ''} {answer.get('old_uri', '')}".strip(), number)
        for group, answer in last.items()
        if (number := answer["like_this"] - shown[group]) > 0
    ]


def _show_one(answer: dict[str, Any]) -> None:
    place = "" if answer["line"] is None else f"line {answer['line']:,}"
    place += "" if answer["position"] is None else f" (byte {answer['position']:,})"
    say(f"{place} {answer['status']} {answer['read_as']} {answer['dialect']} {answer['seen_at'] or ''}".strip())
    rule, reason = answer["rule"] or "", answer["reason"] or ""
    is_remap = "new_uris" in answer and answer["read_as"].endswith("remap")
    lines = {
        "old": answer.get("old_uri"),
        "new": "  or  ".join(answer.get("new_uris", [])),
        "contact": "" if "new_uris" in answer else ", ".join(answer.get("contacts", [])),
        "request": _request(answer["request"]),
        "peer": answer.get("peer"),
        "Call-ID": answer.get("call_id"),
        "why": "R1: 301 Moved Permanently with a Contact" if is_remap else "" if rule else reason,
        "why not": f"{rule}: {reason}" if reason and rule else "",
        "To (hint)": answer.get("hint"),
        "dropped": ", ".join(answer.get("dropped", [])),
    }
    for name, text in lines.items():
        if text:
            say(f"    {name:<9} {text[:_WIDEST]}")
    for name, text in {**answer.get("flags", {}), **answer.get("facts", {})}.items():
        say(f"    {name:<9} {text}")


def _request(request: dict[str, Any] | None) -> str:
    if request is None:
        return ""
    if request["line"] is None:
        where = "in a file before this one" if request["position"] is None else f"at byte {request['position']:,}"
    else:
        where = f"on line {request['line']:,}"
    return f"{where}, by {request['by']} ({request['rule']})"
