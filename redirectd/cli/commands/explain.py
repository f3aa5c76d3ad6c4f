"""`redirectd explain`: what a log was read as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.output import emit_json, json_option, rfc3339, say
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.collect.batch import Batch
    from redirectd.collect.verdict import Verdict


@click.command("explain")
@click.argument("file")
@click.option("--dialect", help="How the log writes SIP down; found out by itself where not given.")
@json_option
@pass_app
def explain_command(app: App, file: str, dialect: str | None, *, as_json: bool) -> None:
    """Show what each 301 and 183 in FILE is read as, by which dialect and rule, and why not; - is standard input.

    Nothing is written to the database, and none is needed. What makes no remap shows the rule that says so.
    """
    from redirectd.cli.reading import reading_of
    from redirectd.collect.capture import searchable
    from redirectd.collect.batch import Batch
    from redirectd.collect.reader import Reader
    from redirectd.sources.file import open_log

    with open_log(file) as opened:
        log = searchable(opened)
        reading = reading_of(log, app.config, dialect=dialect, session_progress="each")
        reader = Reader(log, reading, clock=app.now)
        batch = Batch(reading.source)
        while reader.read(batch, final=True):
            pass
    answers = sorted(_answers(batch), key=lambda answer: answer["position"] or 0)
    document = {
        "file": file,
        "bytes": batch.read,
        "dialects": [one.name for one in reading.dialects],
        "answers": answers,
        "losses": dict(batch.losses),
    }
    if as_json:
        emit_json(document)
        return
    _show(document)


def _answers(batch: Batch) -> Iterator[dict[str, Any]]:
    for verdict in batch.verdicts.values():
        yield _verdict(verdict)
    for one in batch.quarantined:
        yield {"position": one.position, "status": 301, "read_as": "unreadable", "dialect": one.dialect} | {
            "rule": None,
            "reason": printable(one.why),
            "seen_at": rfc3339(one.seen_at) if one.seen_at else None,
        }
    for progress in batch.progress:
        yield {
            "position": None,
            "status": 183,
            "read_as": "session progress",
            "rule": "R3",
            "old_uri": progress.request_uri,
            "call_id": progress.call_id,
            "peer": progress.peer,
            "sdp": progress.sdp,
            "reliable": progress.reliable,
            "seen_at": rfc3339(progress.seen_at) if progress.seen_at else None,
        }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    from redirectd.collect.verdict import Learnt

    answer = verdict.answer
    common = {
        "position": answer.position,
        "status": answer.status,
        "dialect": answer.dialect,
        "method": printable(answer.method, 40),
        "call_id": printable(answer.call_id, 300),
        "peer": str(answer.peer) if answer.peer else "",
        "seen_at": rfc3339(answer.seen_at) if answer.seen_at else None,
        "old_uri": printable(verdict.old_uri),
        "contacts": [printable(contact) for contact in answer.contacts],
    }
    if isinstance(verdict, Learnt):
        flags = {name: printable(reason) for name, reason in verdict.flags.items()}
        dropped = [printable(one.dropped) for one in verdict.candidates if one.dropped]
        return common | {
            "read_as": f"{verdict.kind} remap",
            "rule": "R1",
            "new_uris": [printable(one.uri) for one in verdict.candidates],
            "flags": flags,
            "facts": {name: printable(text) for name, text in verdict.facts.items()},
            "dropped": dropped,
        }
    return common | {
        "read_as": "unreadable" if verdict.unparsed else "unpaired" if verdict.rule == "R7" else "refused",
        "rule": verdict.rule,
        "reason": printable(verdict.reason),
        "hint": printable(answer.to_hint, 300) if verdict.rule == "R7" else "",
    }


def _show(document: dict[str, Any]) -> None:
    for answer in document["answers"]:
        _show_one(answer)
    count = len(document["answers"])
    say(f"{count} answers in {document['bytes']:,} bytes; dialects tried: {', '.join(document['dialects'])}")
    for kind, number in document["losses"].items():
        say(f"lost: {number} x {printable(kind)}")
    if not count:
        say("nothing was found: see 'redirectd snippet kamailio' and 'redirectd snippet asterisk' for what to log")


def _show_one(answer: dict[str, Any]) -> None:
    place = "" if answer["position"] is None else f" at byte {answer['position']:,}"
    say(f"{answer['status']} {answer['read_as']}{place} {answer.get('dialect', '')} {answer['seen_at'] or ''}".rstrip())
    lines = {
        "old": answer.get("old_uri"),
        "new": "  or  ".join(answer.get("new_uris", [])),
        "contact": "" if "new_uris" in answer else ", ".join(answer.get("contacts", [])),
        "peer": answer.get("peer"),
        "Call-ID": answer.get("call_id"),
        "why not": f"{answer['rule']}: {answer['reason']}" if answer.get("reason") and answer["rule"] else "",
        "why": answer["reason"] if answer.get("reason") and not answer["rule"] else "",
        "To (hint)": answer.get("hint"),
        "dropped": ", ".join(answer.get("dropped", [])),
    }
    for name, text in lines.items():
        if text:
            say(f"    {name:<9} {text}")
    for name, reason in {**answer.get("flags", {}), **answer.get("facts", {})}.items():
        say(f"    {name:<9} {reason}")
