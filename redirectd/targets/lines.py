"""Files of lines of printable ASCII, written and read in parts: a million lines are not held twice."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import islice

from redirectd.plan.target import TargetError

_PRINTABLE = bytes(range(0x20, 0x7F))
_AT_ONCE = 4096


def write_lines(head: str, lines: Iterable[str]) -> bytes:
    """Put lines behind a head line; ValueError for anything but printable ASCII in one, a line feed above all."""
    content = io.BytesIO()
    content.write(_encoded([head]))
    rest = iter(lines)
    while some := list(islice(rest, _AT_ONCE)):
        content.write(_encoded(some))
    return content.getvalue()


def _encoded(lines: list[str]) -> bytes:
    raw = ("\n".join(lines) + "\n").encode("ascii")
    if raw.translate(None, _PRINTABLE) != b"\n" * len(lines):
        raise ValueError("a line holds something else than printable ASCII")
    return raw


def text_lines(content: bytes) -> Iterator[str]:
    """Give a file's lines; TargetError, before the first, names the line of a byte that is not printable ASCII."""
    if not content.endswith(b"\n"):
        raise TargetError("the last line is not complete")
    if content.translate(None, _PRINTABLE).strip(b"\n"):
        for number, line in enumerate(content.split(b"\n"), 1):
            if line.translate(None, _PRINTABLE):
                raise TargetError(f"line {number}: a byte that is not printable ASCII")
    for line in io.BytesIO(content):
        yield line[:-1].decode("ascii")
