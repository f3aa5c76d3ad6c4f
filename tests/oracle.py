"""A second reader of logs, slow and obvious, written apart from the product.

It splits an Asterisk pjsip log by its byte counts and a Kamailio record log by its lines, and pairs a response by
looking through everything that the log holds. It knows no blocks, no windows and no search.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

_HEADER = re.compile(rb"<--- (Received|Transmitting) SIP (?:request|response) \((\d+) bytes\) (?:from|to) \S+ --->$")


@dataclass(frozen=True, order=True)
class Seen:
    """One 301, counted once: who asked what, and the URIs in the Contacts. `old` is '' where it is not paired."""

    call_id: str
    cseq: int
    old: str
    contacts: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """All 301s and the number of 183s, each once."""

    moved: tuple[Seen, ...]
    ringing: int


def messages_of_pjsip(log: bytes) -> list[tuple[bool, list[str]]]:
    """Every block of a full log as (was received, lines of the head)."""
    found = []
    at = 0
    while at < len(log):
        end = log.find(b"\n", at)
        line, at = (log[at:], len(log)) if end < 0 else (log[at:end], end + 1)
        header = _HEADER.search(line)
        if header is None or not re.search(rb"\] VERBOSE\[\d+\]", line):
            continue
        message = log[at : at + int(header[2])]
        at += int(header[2])
        head = message.split(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
        found.append((header[1] == b"Received", head.split("\r\n")))
    return found


def value(head: list[str], name: str) -> str:
    """The first header of that name."""
    return next(line.partition(":")[2].strip() for line in head[1:] if line.lower().startswith(f"{name}:"))


def transaction(head: list[str]) -> tuple[str, str, str]:
    """Call-ID, CSeq and the branch of the first Via."""
    return value(head, "call-id"), value(head, "cseq"), value(head, "via").partition("branch=")[2].partition(";")[0]


def read_pjsip(log: bytes) -> Reading:
    """All answers of an Asterisk full log."""
    messages = messages_of_pjsip(log)
    moved: dict[tuple[str, str, str], Seen] = {}
    ringing = set()
    for was_received, head in messages:
        if not was_received:
            continue
        if head[0].startswith("SIP/2.0 183 "):
            ringing.add(transaction(head))
        if head[0].startswith("SIP/2.0 301 "):
            name = transaction(head)
            contacts = tuple(re.findall(r"<([^>]*)>", " ".join(line for line in head if line.startswith("Contact:"))))
            old = ""
            for other_received, other in messages:
                method, _, rest = other[0].partition(" ")
                if not other_received and method == name[1].split()[1] and transaction(other) == name:
                    old = rest.removesuffix(" SIP/2.0")
            seen = Seen(name[0], int(name[1].split()[0]), old, contacts)
            if name not in moved or not moved[name].old:
                moved[name] = seen
    return Reading(tuple(sorted(moved.values())), len(ringing))


def read_records(log: bytes) -> Reading:
    """All answers of a log of one-line records."""
    moved: dict[tuple[str, str, str], Seen] = {}
    ringing = set()
    for line in log.split(b"\n"):
        _, mark, text = line.partition(b"<script>: REDIRECTD v=1 ")
        if not mark:
            continue
        pairs = [field.partition("=") for field in text.decode("ascii").split()]
        field = {name: unquote(content, errors="surrogateescape") for name, _, content in pairs}
        name = (field["ci"], f"{field['cseq']} {field['m']}", field["br"])
        if field["ev"] == "183":
            ringing.add(name)
        if field["ev"] == "301":
            contacts = tuple(re.findall(r"<([^>]*)>", field["ct"]))
            moved.setdefault(name, Seen(field["ci"], int(field["cseq"]), field["buri"], contacts))
    return Reading(tuple(sorted(moved.values())), len(ringing))
