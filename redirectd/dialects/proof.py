"""The proof of a one-line record `v=2`: 40 hex digits of SHA-512 over an installation's key and the record (R39)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha512
from itertools import pairwise

MARK = b"REDIRECTD v=2 "
_RECORD = re.compile(rb"REDIRECTD (v=2 [!-~ ]*?) mac=([0-9a-f]{40}) end=1(?=[\s\"\x1b]|$)")


@dataclass(frozen=True, slots=True)
class RecordSpan:
    """One `REDIRECTD v=2` of a text: its bounds there, and its fields where the proof is right (None where not)."""

    start: int
    end: int
    proven: bytes | None


def is_proof(fields: bytes, mac: bytes, keys: Sequence[bytes]) -> bool:
    """Whether `mac` is what one of the `keys` makes of the record's text from `v=2` to its last field."""
    made = [sha512(key + fields).hexdigest()[:40].encode() for key in keys]
    return any([hmac.compare_digest(one, mac) for one in made])  # noqa: C419 - all of them, whichever is right


def places(text: bytes, keys: Sequence[bytes]) -> list[RecordSpan]:
    """Every `REDIRECTD v=2` in a text, in order.

    A true record's values are percent-encoded, so that none holds the mark: each ends before the next mark, which
    keeps the cost of a line made of marks linear.
    """
    starts: list[int] = []
    at = text.find(MARK)
    while at >= 0:
        starts.append(at)
        at = text.find(MARK, at + len(MARK))
    return [_place(text, start, end, keys) for start, end in pairwise([*starts, len(text)])]


def _place(text: bytes, start: int, end: int, keys: Sequence[bytes]) -> RecordSpan:
    match = _RECORD.match(text, start, end)
    if match is None or not is_proof(match[1], match[2], keys):
        return RecordSpan(start, end, None)
    return RecordSpan(start, match.end(), match[1])
