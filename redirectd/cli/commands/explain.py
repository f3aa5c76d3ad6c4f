"""`redirectd explain`: what a log was read as."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.options import dialect_option
from redirectd.cli.output import emit_json, json_option, say
from redirectd.sip.text import printable
from redirectd.times import rfc3339

if TYPE_CHECKING:
    from redirectd.collect.console_streams import ConsoleTraffic
    from redirectd.collect.explanation import Explanation
    from redirectd.collect.loops import Way
    from redirectd.collect.policy import Policy
    from redirectd.collect.traffic import AnswerCounts, Traffic
    from redirectd.collect.verdict import Learnt

RULES = "docs/rules.md"
"""The page that defines the rules, each under a heading of its own: `docs/rules.md#r13`."""

_ONLY: dict[str, Callable[[dict[str, Any]], bool]] = {
    "301": lambda entry: entry["status"] == 301,
    "refused": lambda entry: entry["read_as"] in {"refused", "unpaired"},
    "unreadable": lambda entry: entry["read_as"] == "unreadable",
}
_NAMED = 5
"""Dialects that are named; where more were tried, all were."""

_COLUMNS = 80
_FOR_ONE_CALL = frozenset({300, 302, 305, 380})
"""Redirections that move nothing for good (R1)."""
_WIDEST = 500
"""Characters of one value that people are shown; JSON has all of it."""
_SUMMARY = {
    "sightings": "301s, each counted once",
    "learnt": "of them make remaps",
    "refused": "of them cannot become a remap",
    "unpaired": "of them without their request",
    "unparsed": "look like a 301 and could not be read",
    "session_progress": "183s, each counted once",
    "copies": "repetitions and other copies (R8)",
    "sent": "sent by this host (R8)",
    "ignored": "no answers, though they look like some",
}


@click.command("explain")
@click.argument("file", type=click.Path(allow_dash=True))
@dialect_option
@click.option(
    "--only",
    type=click.Choice(list(_ONLY)),
    multiple=True,
    help="Show only 301s, only what is refused, or only what is unreadable; can be given several times.",
)
@click.option("--early-media", is_flag=True, help="Summarise the 183s by peer: SDP, codecs, direction, PRACK, ladders.")
@json_option
@pass_app
def explain_command(
    app: App, file: str, dialect: str | None, only: tuple[str, ...], *, early_media: bool, as_json: bool
) -> None:
    """Show what each 301 and 183 in FILE is read as, by which dialect and rule, and why not; - is standard input.

    Nothing is written to the database, and none is needed. Each answer names its rule, see rules.md in the
    documentation. Of many places that come to the same the first ten are shown. The end says how many answers of
    which code the log holds, what it does not show, and the setting of Kamailio or Asterisk that would.

    --early-media is for callers who hear nothing before the answer: which peers send 183 without SDP, without a codec
    that was offered, with port 0 or not sending, reliably without a PRACK, or with a 180 after it.
    """
    from redirectd.cli.log_reading import reading_of
    from redirectd.collect.capture import searchable
    from redirectd.collect.console_streams import traffic_of
    from redirectd.collect.explanation import explain_log
    from redirectd.sources.file import open_log

    with open_log(file) as opened:
        log = searchable(opened)
        reading = reading_of(log, app.config, dialect=dialect, session_progress="each")
        in_place = log is opened
        if early_media:
            _early_media(file, traffic_of(log, reading, app.now), as_json=as_json)
            return
        explanation = explain_log(
            log, reading, app.now, with_lines=in_place, held=partial(_held, policy=reading.policy)
        )
        if log is not opened:
            explanation.bytes_read = opened.end()  # of the file, not of what was made of it to be searched
    entries = [entry for entry in explanation.entries if not only or any(_ONLY[name](entry) for name in only)]
    document = {
        "file": file,
        "bytes": explanation.bytes_read,
        "family": reading.family or None,
        "consoles": dict(reading.consoles),
        "dialects": [one.name for one in reading.dialects],
        "summary": explanation.summary(),
        "messages": _messages(explanation.counts),
        "answers": [_shown(entry, in_place=in_place) for entry in entries],
        **_ways(explanation),
        "losses": dict(explanation.losses),
        "hints": [asdict(hint) for hint in explanation.hints()],
    }
    if as_json:
        emit_json(document)
    else:
        _show(document, is_filtered=len(entries) < len(explanation.entries))


def _early_media(file: str, messages: Traffic | ConsoleTraffic, *, as_json: bool) -> None:
    from redirectd.cli.ladder import early_json, show_early

    if as_json:
        emit_json({"file": file, "early_media": early_json(messages), "bytes": messages.offset})
    else:
        show_early(messages)


def _shown(entry: dict[str, Any], *, in_place: bool) -> dict[str, Any]:
    """The entry for JSON; offsets in a capture that was unpacked to read it are none of the file."""
    at = entry.get("seen_at")
    link = f"{RULES}#{entry['rule'].lower()}" if entry["rule"] else None
    shown = entry | {"seen_at": rfc3339(at) if at else None, "rule_link": link}
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


def _held(learnt: Learnt, policy: Policy) -> Mapping[str, str]:
    """The flags that the remap would have in `list`, with their reasons, if this answer were all its evidence."""
    from datetime import UTC, datetime

    from redirectd.review.holds import with_holds
    from redirectd.store.remap import Remap, RemapTarget, State

    seen = learnt.answer.seen_at or datetime.fromtimestamp(0, UTC)
    contacts = tuple(RemapTarget(one.uri, one.q, one.raw, one.dropped) for one in learnt.candidates)
    remap = Remap(
        id=0,
        state=State.PENDING,
        kind=learnt.kind,
        old_key=learnt.old_key,
        old_uri=learnt.old_uri,
        new_uri=contacts[0].uri if len(contacts) == 1 else None,
        contacts=contacts,
        flags=learnt.flags,
        facts=learnt.facts,
        calls=1,
        first_seen=seen,
        last_seen=seen,
        peers=(learnt.answer.peer_text,),
        methods=(learnt.answer.method,),
    )
    return with_holds(remap, policy).flags


def _messages(counts: AnswerCounts) -> dict[str, Any]:
    """By dialect, what whole messages and records the log holds; an answer counts once however often it is logged."""
    received, sent = counts.by_status(), counts.by_status(sent=True)
    return {
        dialect: {
            "requests": counts.requests[dialect],
            "received": {str(status): count for status, count in received.get(dialect, {}).items()},
            "sent": {str(status): count for status, count in sent.get(dialect, {}).items()},
        }
        for dialect in sorted(counts.dialects)
    }


def _show(document: dict[str, Any], *, is_filtered: bool) -> None:
    for answer in document["answers"]:
        _show_one(answer)
    for text, more in _more(document["answers"]):
        say(f"{more:,} more like this: {text}")
    dialects = document["dialects"]
    tried = ", ".join(dialects) if len(dialects) <= _NAMED else f"all {len(dialects)}"
    say(f"format: {_format(document)}")
    say(f"{document['bytes']:,} bytes; dialects tried: {tried}")
    for name, text in _SUMMARY.items():
        if document["summary"][name] or name == "sightings":
            say(f"{document['summary'][name]:>9,}  {text}")
    _show_messages(document["messages"])
    for loop in document["loops"]:
        steps = [f"{uri} ({calls:,} calls)" for uri, calls in zip(loop["uris"], loop["calls"], strict=True)]
        say(f"redirect loop (R34): {' -> '.join([*steps, loop['uris'][0]])}: it never reaches a routing file")
    for chain in document["chains"]:
        say(f"chain (R33): {' -> '.join(chain['uris'])}: routing goes to the last")
    for kind, number in document["losses"].items():
        say(f"lost: {number:,} x {printable(kind)}")
    for hint in document["hints"]:
        say(f"this log does not show: {hint['says']} ({hint['count']:,} places)")
        say(f"    what to do  {hint['setting']}")
    _show_end(document, is_filtered=is_filtered)


def _format(document: dict[str, Any]) -> str:
    """The family that the log was read as, with those of the consoles in it."""
    consoles = ", ".join(sorted({printable(one) for one in document["consoles"].values()}))
    return (document["family"] or "not sure") + (f" ({consoles})" if consoles else "")


def _show_messages(messages: dict[str, Any]) -> None:
    """The answers by dialect and code."""
    for dialect, found in messages.items():
        sides = [f"{side} {_by_code(found[side])}" for side in ("received", "sent") if found[side]]
        sides += [] if sides else [f"{found['requests']:,} requests and no answer"]
        text = f"answers in {dialect}: {'; '.join(sides)}"
        for line in textwrap.wrap(text, _COLUMNS, subsequent_indent=" " * 11, break_on_hyphens=False):
            say(line.replace("\xa0", " "))


def _by_code(found: dict[str, int]) -> str:
    """`12 x 200, 3 x 302 (for one call)`, with blanks that no line ends at."""
    return ", ".join(
        f"{count:,}\xa0x\xa0{status}{' (for one call)' if int(status) in _FOR_ONE_CALL else ''}"
        for status, count in found.items()
    )


def _show_end(document: dict[str, Any], *, is_filtered: bool) -> None:
    """Why nothing is learnt, and where the rules are."""
    answers, summary = document["answers"], document["summary"]
    if document["messages"]:
        if not any(summary[name] for name in ("sightings", "unparsed", "ignored")):
            say("nothing to learn: the log holds whole SIP messages, and no 301 is among the answers (R1)")
    elif not any(summary.values()) and not document["hints"]:
        say("no SIP was found: 'redirectd snippet kamailio' and 'redirectd snippet asterisk' say what to log")
    if is_filtered and not answers:
        say("no answer passes --only")
    rules = dict.fromkeys(answer["rule"] for answer in answers if answer["rule"])
    if rules:
        say(f"rules: {', '.join(f'{RULES}#{rule.lower()}' for rule in sorted(rules, key=lambda rule: int(rule[1:])))}")


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
    for name, text in answer.get("flags", {}).items():
        say(f"    held      {name}: {text}")
    for name, text in answer.get("facts", {}).items():
        say(f"    fact      {name}: {text}")


def _request(request: dict[str, Any] | None) -> str:
    if request is None:
        return ""
    if request["line"] is None:
        where = "in this log or a file before it" if request["position"] is None else f"at byte {request['position']:,}"
    else:
        where = f"on line {request['line']:,}"
    return f"{where}, by {request['by']} ({request['rule']})"
