"""What a Contact could say to break out of a routing file, in every place where a URI holds text."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from redirectd.plan.route import Route, RouteKind
from redirectd.plan.target import Rendered
from redirectd.sip.uri import SipUri

HARMLESS = SipUri("sip", "moved", None, "new.test", 5070, (("user", "phone"),))

PAYLOADS: dict[str, str] = {
    "newline": "a\nb",
    "newline and a row of dialplan": "a\nsame => n,System(touch /tmp/broken)",
    "newline and a context": "a\n[from-caller](+)\nexten => _X.,1,Hangup()",
    "newline and a db_text row": "a\n0:evil@old.test:0:0:sip\\:evil@192.0.2.66:0",
    "carriage return and a header": "a\r\nX-Injected: yes",
    "semicolon": "a;b",
    "escaped semicolon": "a\\;b",
    "block comment": "a;--b",
    "user parameters": "+15551234;npdi;rn=+15550000",
    "ampersand": "a&b",
    "second dial target": "a&PJSIP/caller",
    "comma": "a,b",
    "dial options": "a,,g",
    "variable": "${SHELL(touch /tmp/broken)}",
    "unterminated variable": "${",
    "unterminated function": "${SHELL(",
    "expression": "$[1+1]",
    "Kamailio variable": "$ru",
    "Kamailio transformation": "$(ru{s.len})",
    "pattern": "_X.",
    "pattern of all": "_!",
    "comment of the dispatcher": "a#b",
    "include": "#include",
    "exec": "#exec",
    "caller-id match": "a/b",
    "space": "a b",
    "tab": "a\tb",
    "double quotes": '"a"',
    "one double quote": 'a"b',
    "single quotes": "'a'",
    "one single quote": "a'b",
    "colon": "a:b",
    "backslash": "a\\b",
    "backslash at the end": "a\\",
    "backslash and zero": "\\0",
    "PCRE of all": "^.*$",
    "dot": "a.b",
    "star": "*",
    "opening parenthesis": "a(b",
    "closing parenthesis": "a)b",
    "empty parentheses": "a()b",
    "bracket": "[a-z]b",
    "braces": "a{b}c",
    "pipe": "a|b",
    "backtick": "a`b`",
    "angle brackets": "<a>",
    "equals sign": "a=b",
    "arrow": "a=>b",
    "question mark": "a?b",
    "exclamation mark": "a!b",
    "at sign": "a@b",
    "percent": "a%b",
    "dashes": "bob-x",
    "only a dash": "-",
    "plus": "+4930111",
    "tilde": "a~b",
    "over 79 characters": "x" * 80,
    "a line of Kamailio": "x" * 1100,
    "over 8 kB": "x" * 8300,
    "NUL": "a\0b",
    "byte order mark": "\ufeffa",
    "non-ASCII": "b\u00fcro",
    "undecodable byte": "a\udcffb",
    "escape character": "a\x1b[2Jb",
    "delete": "a\x7fb",
    "line separator": "a\u2028b",
    "bidi override": "a\u202eb",
    "vertical tab": "a\vb",
    "form feed": "a\fb",
    "next line": "a\u0085b",
    "zero-width space": "a\u200bb",
    "full-width letters": "\uff41\uff42",
    "line break escaped twice": "a%250d%250ab",
    "half an escape": "a%2",
    "escape of no digits": "a%zzb",
    "action of the manager": "a\r\nAction: Command\r\nCommand: database deltree redirectd\r\n\r\n",
    "variable of the manager": "a\r\nVariable: X=1",
    "family of AstDB": "../a/b",
    "attributes of the dispatcher": "a;weight=100;duid=other;socket=udp:127.0.0.1:5060",
    "flags and a second destination": "192.0.2.66 0 0\n1 sip:192.0.2.67",
    "end of the Return": "a)\n same => n,System(true",
    "template of Asterisk": "a](!)",
    "object of Asterisk": "a=>b,1,Hangup()",
    "function with quotes": '${EVAL("${SHELL(true)}")}',
    "hint": "hint",
    "format of printf": "%s%n",
    "sentinel of the htable": "__gen__",
    "sentinel of the dialplan": "generation",
    **{f"special extension {name}": name for name in "ihtsoaeT"},
}


@dataclass(frozen=True)
class Breakout:
    """One payload at one place: the route an approval of it would make."""

    name: str
    route: Route


def breakouts(kind: RouteKind = "user") -> list[Breakout]:
    """Give every payload, raw and with all of it percent-escaped, in every place of the old and the new URI."""
    found: list[Breakout] = []
    for name, payload in PAYLOADS.items():
        forms = [("raw", payload), ("escaped", "".join(f"%{byte:02x}" for byte in _bytes(payload)))]
        for form, text in forms:
            for place, old, new in _places(kind, text, 20 * len(found)):
                number = len(found) + 1
                found.append(Breakout(f"{name}, {form}, {place}", Route((number,), kind, old, new)))
    return found


def _bytes(payload: str) -> bytes:
    return payload.encode("utf-8", "surrogateescape")


def _places(kind: RouteKind, text: str, first: int) -> Iterator[tuple[str, SipUri, SipUri]]:
    if kind == "gateway":
        yield "old host", SipUri("sip", None, None, text, None), SipUri("sip", None, None, "192.0.2.251", None)
    else:
        yield "old user", SipUri("sip", text, None, "old.test", None), HARMLESS
        yield "old host", SipUri("sip", "victim", None, text, None), HARMLESS
    host = "127.0.0.1"
    news = {
        "new user": SipUri("sip", text, None, "new.test", None),
        "new password": SipUri("sip", "n", text, host, None),
        "new host": SipUri("sip", None, None, text, None),
        "new transport": SipUri("sip", "n", None, host, None, (("transport", text),)),
        "new parameter's name": SipUri("sip", "n", None, host, None, ((text, "1"),)),
        "new parameter's value": SipUri("sip", "n", None, host, None, (("p", text),)),
        "new headers": SipUri("sip", "n", None, host, None, (), text),
    }
    for number, (place, new) in enumerate(news.items(), first):
        old = SipUri("sip", f"victim{number}", None, "old.test", None)
        yield place, old if kind == "user" else SipUri("sip", None, None, "192.0.2.1", number % 60000 + 1), new


def fates(found: Sequence[Breakout], rendered: Sequence[Rendered]) -> dict[str, str]:
    """Give what became of each breakout, by all that was rendered of them."""
    refused = {refusal.id for each in rendered for refusal in each.refused}
    conflicting = {number for each in rendered for conflict in each.conflicts for number in conflict.ids}
    return {
        item.name: "refused" if item.route.id in refused else "conflict" if item.route.id in conflicting else "carried"
        for item in found
    }


def list_fates(kind: str, found: Sequence[Breakout], *rendered: Rendered) -> None:
    """Print the fate of each breakout at a target: a line for each payload and form, with the places it was tried in.

    The running server was asked by then for what is carried. pytest shows it with -s or -rP.
    """
    became = fates(found, rendered)
    lines: dict[str, dict[str, list[str]]] = {}
    for name, fate in became.items():
        line, _, place = name.rpartition(", ")
        lines.setdefault(line, {}).setdefault(fate, []).append(place)
    sys.stdout.write(f"\nbreakouts at {kind}: {len(found)} tried, {dict(Counter(became.values()))}\n")
    for line, by_fate in lines.items():
        told = "; ".join(f"{fate}: {', '.join(places)}" for fate, places in by_fate.items())
        sys.stdout.write(f"  {line}: {told}\n")
