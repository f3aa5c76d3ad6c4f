"""Header names, and the two headers that name a transaction: CSeq and Via (RFC 3261 17.1.3)."""

import re
from functools import lru_cache
from typing import NamedTuple

from redirectd.sip.address import header_params, split_commas
from redirectd.sip.uri import Params

COMPACT_NAMES = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
"""Compact header names (RFC 3261 7.3.3 and IANA's registry) and the full names they stand for."""

_USUAL_SPELLINGS = """
    Via From To Call-ID Call-Id CSeq Contact Max-Forwards Content-Length Content-Type User-Agent
    Server Allow Supported Require Expires Record-Route Route Reason Subject Date RSeq RAck
    P-Asserted-Identity Diversion Allow-Events History-Info
"""

KNOWN_NAMES = COMPACT_NAMES | {name: name.lower() for name in _USUAL_SPELLINGS.split()}
"""Spellings met most, and the names they stand for: a fixed table, since names come from the network."""

METHOD = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]{1,64}")
"""A method: a token, bounded."""

_CSEQ_NUMBER = re.compile(r"[0-9]{1,10}")


class CSeq(NamedTuple):
    """A CSeq header: sequence number (below 2**32) and method as written."""

    number: int
    method: str


class Via(NamedTuple):
    """One Via: `transport` in upper case, `sent_by` as written without blanks, `branch` as written."""

    transport: str
    sent_by: str
    branch: str | None
    params: Params


def full_name(name: str) -> str:
    """Give a header's full name in lower case, whatever case or compact form it was written in."""
    name = name.strip().lower()
    return COMPACT_NAMES.get(name, name)


@lru_cache(maxsize=256)  # an answer is asked for it several times, and its request has the same
def parse_cseq(value: str) -> CSeq | None:
    """Read a CSeq; None where it is none."""
    words = value.split(None, 1)
    if len(words) != 2:
        return None
    number, method = words
    if not (_CSEQ_NUMBER.fullmatch(number) and METHOD.fullmatch(method)):
        return None
    sequence = int(number)
    return CSeq(sequence, method) if sequence < 2**32 else None


@lru_cache(maxsize=256)
def parse_via(entry: str) -> Via | None:
    """Read one Via (no commas), with or without blanks around ``/ : ; =``; None where it is none."""
    head, _, rest = entry.partition(";")
    protocol, _, tail = head.partition("/")
    version, slash, tail = tail.partition("/")
    if not slash or protocol.strip().upper() != "SIP" or version.strip() != "2.0":
        return None
    words = tail.split(None, 1)
    if len(words) != 2:
        return None
    params = header_params(rest)
    branch = None
    for name, value in params:
        if name == "branch":
            branch = value
            break
    return Via(words[0].upper(), "".join(words[1].split()), branch, params)


def top_entry(value: str) -> str:
    """Give the first of a header value's comma-separated entries."""
    if "," not in value:
        return value
    entries = split_commas(value)
    return entries[0] if entries else ""
