"""The card of one remap: what moved marked with carets, so that it shows without colour and at 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from redirectd.cli.output import short_time
from redirectd.plan.lookup import Lookup
from redirectd.review.case import Case
from redirectd.review.proposals import Proposal
from redirectd.sip.host import canonical_host
from redirectd.sip.text import normalize_escapes, printable
from redirectd.sip.uri import SipUri, params_text, parse_uri
from redirectd.store.remaps import Evidence

LABEL = 9
EXCERPT = 8
"""Lines of the newest telling that stand on a card; `e` shows all of all."""

MOST_PEERS = 6
MOST_EXCEPTIONS = 12

Piece = tuple[str, bool]


def pieces(uri: SipUri, other: SipUri) -> list[Piece]:
    """The parts of a URI, each with whether it differs from the same part of `other`."""
    user = "" if uri.user is None else f"{uri.user}{'' if uri.password is None else ':' + uri.password}"
    same_user = normalize_escapes(uri.user or "") == normalize_escapes(other.user or "")
    found = [(f"{uri.scheme}:", uri.scheme != other.scheme)]
    if uri.user is not None:
        found += [(user, not same_user or uri.password != other.password), ("@", other.user is None)]
    found.append((uri.host, canonical_host(uri.host) != canonical_host(other.host)))
    if uri.port is not None:
        found.append((f":{uri.port}", uri.port != other.port))
    theirs = {(name.lower(), value) for name, value in other.params}
    found += [(params_text(((name, value),)), (name.lower(), value) not in theirs) for name, value in uri.params]
    if uri.headers is not None:
        found.append((f"?{uri.headers}", uri.headers != other.headers))
    return found


def marked(label: str, found: Sequence[Piece], width: int) -> list[str]:
    """A URI behind its label, wrapped, with carets below what differs."""
    text = "".join(printable(part, 8192) for part, _ in found)
    marks = "".join(("^" if differs else " ") * len(printable(part, 8192)) for part, differs in found)
    room = width - LABEL - 2
    lines = []
    for start in range(0, len(text), room):
        head = label if start == 0 else ""
        lines.append(f"  {head:<{LABEL}}{text[start : start + room]}")
        below = marks[start : start + room].rstrip()
        if below:
            lines.append(f"  {'':<{LABEL}}{below}")
    return lines


def told(label: str, text: str, width: int) -> list[str]:
    """A text behind its label, wrapped; nothing for an empty one."""
    if not text:
        return []
    lines = textwrap.wrap(text, width - LABEL - 2, break_on_hyphens=False)
    return [f"  {label if number == 0 else '':<{LABEL}}{line}" for number, line in enumerate(lines)]


def card(case: Case, place: str, now: datetime, width: int = 80) -> list[str]:
    """The whole card as lines of at most `width` columns, safe to print."""
    remap = case.remap
    lines = [f"remap {remap.id}, {remap.kind}{place}"[:width], *_uris(case, width)]
    span = f"{short_time(remap.first_seen)} to {short_time(remap.last_seen)} UTC"
    lines += told("calls", f"{remap.calls}, {span}", width)
    peers = [f"{printable(peer)} ({count})" for peer, count in sorted(remap.peer_calls.items())]
    more = [f"and {len(peers) - MOST_PEERS} more"] if len(peers) > MOST_PEERS else []
    lines += told("peers", ", ".join(peers[:MOST_PEERS] + more), width)
    lines += told("methods", ", ".join(map(printable, remap.methods)), width)
    if remap.expires_at:
        lines += told("ends", f"{short_time(remap.expires_at)} UTC", width)
    for name, reason in sorted(remap.flags.items()):
        lines += told("held", f"{name}: {printable(reason)}", width)
    for name, text in sorted(remap.facts.items()):
        lines += told("fact", f"{name}: {printable(text)}", width)
    lines += told("note", printable(remap.note), width)
    lines += told("today", _routing(case.today, remap.old_uri), width)
    lines += told("after", _routing(case.after, remap.old_uri), width)
    for sentence in case.touches:
        lines += told("touches", printable(sentence), width)
    for entry in case.entries[-3:]:
        reason = f": {printable(entry.reason)}" if entry.reason else ""
        lines += told("decided", f"{short_time(entry.at)} {printable(entry.actor)}: {entry.action}{reason}", width)
    return lines + _excerpt(case.evidence, width)


def _uris(case: Case, width: int) -> Iterator[str]:
    remap = case.remap
    old = parse_uri(remap.old_uri)
    assert isinstance(old, SipUri)
    choices = [remap.new_uri] if remap.new_uri else [one.uri for one in remap.contacts]
    news = [uri for text in choices if isinstance(uri := parse_uri(text), SipUri)]
    yield from marked("old", pieces(old, news[0]), width) if news else told("old", printable(remap.old_uri), width)
    for number, new in enumerate(news, 1):
        yield from marked("new" if remap.new_uri else f"new {number}", pieces(new, old), width)
    dropped = [one for one in remap.contacts if one.dropped]
    for one in dropped:
        yield from told("dropped", f"{printable(one.dropped)} of {printable(one.uri)} (R16)", width)


def _routing(answer: Lookup | None, old_uri: str) -> str:
    if answer is None:
        return ""
    if answer.result is None:
        return f"not moved: {printable(answer.reason)}" if answer.reason else f"{printable(old_uri)} is not moved"
    hops = " and ".join(str(hop.id) for hop in answer.hops)
    return f"goes to {printable(str(answer.result))} by remap {hops}"


def _excerpt(evidence: Sequence[Evidence], width: int) -> list[str]:
    if not evidence:
        return told("log", "no telling is kept", width)
    lines = telling(evidence[-1], width)
    shown = lines[: EXCERPT + 1]
    rest = [f"{len(lines) - len(shown)} lines"] if len(lines) > len(shown) else []
    rest += [f"{len(evidence) - 1} tellings"] if len(evidence) > 1 else []
    return [*shown, f"    ... and {' and '.join(rest)} more: e"] if rest else shown


def telling(one: Evidence, width: int) -> list[str]:
    """One telling with its log lines; what is too wide is cut, `redirectd show` has it whole."""
    head = f"{short_time(one.seen_at)} {printable(one.source)} at byte {one.position:,}, {one.dialect}"
    body = [f"    | {printable(line, 4000)}" for line in one.text.rstrip().splitlines()]
    return told("log", head, width) + [line if len(line) <= width else f"{line[: width - 3]}..." for line in body]


def proposal_lines(number: int, one: Proposal, width: int) -> list[str]:
    """A proposal with what it covers and what it does not."""
    head = f"{one.users} of {one.total} users ({one.percent:.0f} %) moved so; one gateway move would cover them"
    lines = [f"proposal {number}", *marked("old", pieces(one.old, one.new), width)]
    lines += [*marked("new", pieces(one.new, one.old), width), *told("covers", head, width)]
    rest = len(one.exceptions) - MOST_EXCEPTIONS
    shown = ", ".join(map(str, one.exceptions[:MOST_EXCEPTIONS])) + (f" and {rest} more" if rest > 0 else "")
    return lines + told("except", f"remaps {shown}" if one.exceptions else "no user", width)
