"""A unified diff of two files' bytes as text that is safe to print, in bounded time and size.

Not `difflib` alone: its time is quadratic where many lines differ, and these files have up to a million.
Lines that stand once on both sides are paired first (they are nearly all of a routing file),
and only the short gaps between them are left to `difflib`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from redirectd.sip.text import printable, to_text

MAX_LINES = 2000
"""Lines of a diff that are shown."""

MAX_LINE = 400
"""Characters of one line that are shown."""

_CONTEXT = 3
_SMALL_GAP = 250

_Block = tuple[int, int, int, int]
"""A difference: old lines [a, b) became new lines [c, d)."""


@dataclass(frozen=True, slots=True)
class _Texts:
    old: list[bytes]
    new: list[bytes]


def unified_diff(old: bytes | None, new: bytes | None, path: str) -> str:
    """Give the unified diff from `old` to `new` (None: no file); empty where they are the same.

    Control characters and bytes that are not UTF-8 are escaped, long lines cut, and of a long diff
    the first `MAX_LINES` lines are given with the number of those left out.
    """
    if old == new:
        return ""
    texts = _Texts(_lines(old), _lines(new))
    name = printable(path, MAX_LINE)
    head = [f"--- {name if old is not None else '/dev/null'}", f"+++ {name if new is not None else '/dev/null'}"]
    shown: list[str] = []
    left_out = 0
    for hunk in _hunks(_differences(texts.old, texts.new)):
        for line in _hunk_lines(texts, hunk):
            if len(shown) < MAX_LINES:
                shown.append(line)
            else:
                left_out += 1
    if left_out:
        shown.append(f"... {left_out} more lines of difference are not shown")
    return "\n".join([*head, *shown]) + "\n"


def _lines(content: bytes | None) -> list[bytes]:
    if not content:
        return []
    lines = content.split(b"\n")
    last = lines.pop()
    lines = [line + b"\n" for line in lines]
    return [*lines, last] if last else lines


def _differences(old: list[bytes], new: list[bytes]) -> list[_Block]:
    """Give the blocks that differ, in order, none touching another."""
    blocks: list[_Block] = []
    a = c = 0
    for x, y in [*_anchors(old, new), (len(old), len(new))]:
        for block in _gap(old, new, (a, x, c, y)):
            if blocks and blocks[-1][1] == block[0] and blocks[-1][3] == block[2]:
                blocks[-1] = (blocks[-1][0], block[1], blocks[-1][2], block[3])
            else:
                blocks.append(block)
        a, c = x + 1, y + 1
    return blocks


def _anchors(old: list[bytes], new: list[bytes]) -> list[tuple[int, int]]:
    """Pair equal lines in rising order: the equal ends, and between them what is unique on both sides."""
    shorter = min(len(old), len(new))
    head = 0
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    middle = _unique_pairs(old, new, head, tail)
    ends = ((len(old) - back, len(new) - back) for back in range(tail, 0, -1))
    return [*((index, index) for index in range(head)), *middle, *ends]


def _unique_pairs(old: list[bytes], new: list[bytes], head: int, tail: int) -> list[tuple[int, int]]:
    old_counts = Counter(old[head : len(old) - tail])
    new_counts = Counter(new[head : len(new) - tail])
    places = {new[y]: y for y in range(head, len(new) - tail) if new_counts[new[y]] == 1}
    pairs = [(x, places[old[x]]) for x in range(head, len(old) - tail) if old_counts[old[x]] == 1 and old[x] in places]
    return _longest_rising(pairs)


def _longest_rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Keep the longest run whose second numbers rise (the first ones do): patience sorting."""
    tops: list[int] = []
    top_index: list[int] = []
    before: list[int] = []
    for index, (_, y) in enumerate(pairs):
        pile = bisect_left(tops, y)
        before.append(top_index[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(y)
            top_index.append(index)
        else:
            tops[pile] = y
            top_index[pile] = index
    kept = []
    index = top_index[-1] if top_index else -1
    while index != -1:
        kept.append(pairs[index])
        index = before[index]
    return kept[::-1]


def _gap(old: list[bytes], new: list[bytes], gap: _Block) -> Iterator[_Block]:
    a, b, c, d = gap
    if a == b and c == d:
        return
    if a == b or c == d or b - a > _SMALL_GAP or d - c > _SMALL_GAP:
        yield gap
        return
    matcher = SequenceMatcher(None, old[a:b], new[c:d], autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag != "equal":
            yield a + i, a + j, c + k, c + m


def _hunks(blocks: list[_Block]) -> Iterator[list[_Block]]:
    """Group differences whose context would meet."""
    group: list[_Block] = []
    for block in blocks:
        if group and block[0] - group[-1][1] > 2 * _CONTEXT:
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def _hunk_lines(texts: _Texts, hunk: list[_Block]) -> Iterator[str]:
    first, last = hunk[0], hunk[-1]
    lead = min(_CONTEXT, first[0])
    trail = min(_CONTEXT, len(texts.old) - last[1])
    a, b = first[0] - lead, last[1] + trail
    c, d = first[2] - lead, last[3] + trail
    yield f"@@ -{_range(a, b)} +{_range(c, d)} @@"
    at = a
    for start, end, new_start, new_end in hunk:
        yield from _marked(" ", texts.old, at, start)
        yield from _marked("-", texts.old, start, end)
        yield from _marked("+", texts.new, new_start, new_end)
        at = end
    yield from _marked(" ", texts.old, at, b)


def _range(start: int, end: int) -> str:
    """Number lines from 1; an empty range names the line before it, as diff -u does."""
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _marked(mark: str, lines: list[bytes], start: int, end: int) -> Iterator[str]:
    for index in range(start, end):
        line = lines[index]
        yield mark + printable(to_text(line.removesuffix(b"\n")), MAX_LINE)
        if not line.endswith(b"\n"):
            yield "\\ No newline at end of file"
