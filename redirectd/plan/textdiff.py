"""A unified diff of two files' bytes as text that is safe to print, in bounded time and size.

Not `difflib` alone: its time is quadratic where many lines differ, and these files have up to a million.
What is equal is passed over as bytes. Where lines differ, a window of lines that grows until it holds lines which
appear once on both sides is paired by those, and only the short gaps between them are left to `difflib`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from io import BytesIO
from itertools import accumulate, islice

from redirectd.sip.text import printable, to_text

MAX_LINES = 2000
"""Lines of a diff that are shown."""

MAX_LINE = 400
"""Characters of one line that are shown."""

_CONTEXT = 3
_SMALL_GAP = 250
_WINDOWS = (64, 1024, 16_384)
_SAMPLE = 64

_Block = tuple[int, int, int, int]
"""A difference: old lines [a, b) became new lines [c, d)."""


class _Lines:
    """The lines of a file, each cut out when it is asked for: a million of them would take 100 MB."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content or b""
        self.starts = array("Q", accumulate(map(len, BytesIO(self.content)), initial=0))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, at: int) -> bytes:
        return self.content[self.starts[at] : self.starts[at + 1]]

    @property
    def is_cut(self) -> bool:
        """Say if the last line has no end."""
        return not self.content.endswith(b"\n")

    def some(self, start: int, end: int) -> list[bytes]:
        """Give the lines [start, end)."""
        return [self[at] for at in range(start, min(end, len(self)))]

    def onward(self, start: int) -> Iterator[bytes]:
        """Give all lines from `start` on."""
        rest = BytesIO(self.content)
        rest.seek(self.starts[start])
        return iter(rest)


def unified_diff(old: bytes | None, new: bytes | None, path: str) -> str:
    """Give the unified diff from `old` to `new` (None: no file); empty where they are the same.

    Control characters and bytes that are not UTF-8 are escaped, long lines cut, and of a long diff
    the first `MAX_LINES` lines are given with the number of those left out.
    """
    if old == new:
        return ""
    before, after = _Lines(old), _Lines(new)
    name = printable(path, MAX_LINE)
    head = [f"--- {name if old is not None else '/dev/null'}", f"+++ {name if new is not None else '/dev/null'}"]
    shown: list[str] = []
    left_out = 0
    for hunk in _hunks(_joined(_differences(before, after))):
        some = list(islice(_hunk_lines(before, after, hunk), MAX_LINES - len(shown)))
        left_out += _length(before, after, hunk) - len(some)
        shown += some
    if left_out:
        shown.append(f"... {left_out} more lines of difference are not shown")
    return "\n".join([*head, *shown]) + "\n"


def _differences(old: _Lines, new: _Lines) -> Iterator[_Block]:
    """Give the blocks that differ, in order."""
    a = c = 0
    while True:
        same = _same(old, new, a, c)
        a, c = a + same, c + same
        if a == len(old) and c == len(new):
            return
        x = y = 0
        for x, y in _meetings(old, new, a, c):
            yield from _gap(old, new, (a, x, c, y))
            a, c = x + 1, y + 1
        a, c = x, y


def _joined(blocks: Iterable[_Block]) -> Iterator[_Block]:
    """Make one of blocks that touch."""
    last: _Block | None = None
    for block in blocks:
        if last is not None and (last[1], last[3]) == (block[0], block[2]):
            last = (last[0], block[1], last[2], block[3])
        else:
            if last is not None:
                yield last
            last = block
    if last is not None:
        yield last


def _same(old: _Lines, new: _Lines, a: int, c: int) -> int:
    """Count the equal lines from old line `a` and new line `c` on, by comparing ever larger pieces of bytes."""
    start, other = old.starts[a], new.starts[c]
    found, size = 0, 256
    while (piece := old.content[start + found : start + found + size]) and piece == new.content[
        other + found : other + found + size
    ]:
        found += len(piece)
        size = min(2 * size, 1 << 16)
    while size:  # of the piece that differs, by halves, what is equal yet
        piece = old.content[start + found : start + found + size]
        if piece == new.content[other + found : other + found + size]:
            found += len(piece)
        size //= 2
    return min(
        bisect_right(old.starts, start + found, a) - 1 - a,
        bisect_right(new.starts, other + found, c) - 1 - c,
    )


def _meetings(old: _Lines, new: _Lines, a: int, c: int) -> list[tuple[int, int]]:
    """Pair the next equal lines behind old line `a` and new line `c`, in rising order; the ends, where there are none.

    The end of both files counts as equal.
    """
    ends = len(old), len(new)
    for size in _WINDOWS:
        pairs = _unique_pairs(old.some(a, a + size), new.some(c, c + size))
        found = [(a + x, c + y) for x, y in pairs]
        if a + size >= ends[0] and c + size >= ends[1]:
            return [*found, ends]
        if found:
            return found
    samples = {old[at]: at for at in reversed(range(a, len(old), _SAMPLE))}
    for y, line in enumerate(new.onward(c), c):
        if line in samples:
            return [_first_of_run(old, new, (a, samples[line], c, y))]
    return [ends]


def _first_of_run(old: _Lines, new: _Lines, gap: _Block) -> tuple[int, int]:
    """Go back from equal lines, the ends of a gap, to the first ones of their run."""
    a, x, c, y = gap
    while x > a and y > c and old[x - 1] == new[y - 1]:
        x, y = x - 1, y - 1
    return x, y


def _unique_pairs(old: Sequence[bytes], new: Sequence[bytes]) -> list[tuple[int, int]]:
    """Pair the lines that appear once on both sides."""
    old_counts, new_counts = Counter(old), Counter(new)
    places = {line: y for y, line in enumerate(new) if new_counts[line] == 1}
    return _longest_rising(
        [(x, places[line]) for x, line in enumerate(old) if old_counts[line] == 1 and line in places]
    )


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


def _gap(old: _Lines, new: _Lines, gap: _Block) -> Iterator[_Block]:
    a, b, c, d = gap
    if a == b and c == d:
        return
    if a == b or c == d or b - a > _SMALL_GAP or d - c > _SMALL_GAP:
        yield gap
        return
    matcher = SequenceMatcher(None, old.some(a, b), new.some(c, d), autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag != "equal":
            yield a + i, a + j, c + k, c + m


def _hunks(blocks: Iterable[_Block]) -> Iterator[list[_Block]]:
    """Group differences whose context would meet."""
    group: list[_Block] = []
    for block in blocks:
        if group and block[0] - group[-1][1] > 2 * _CONTEXT:
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def _span(old: _Lines, hunk: list[_Block]) -> _Block:
    """Give the old and the new lines of a hunk with its context."""
    first, last = hunk[0], hunk[-1]
    lead = min(_CONTEXT, first[0])
    trail = min(_CONTEXT, len(old) - last[1])
    return first[0] - lead, last[1] + trail, first[2] - lead, last[3] + trail


def _hunk_lines(old: _Lines, new: _Lines, hunk: list[_Block]) -> Iterator[str]:
    a, b, c, d = _span(old, hunk)
    yield f"@@ -{_range(a, b)} +{_range(c, d)} @@"
    at = a
    for start, end, new_start, new_end in hunk:
        yield from _marked(" ", old, at, start)
        yield from _marked("-", old, start, end)
        yield from _marked("+", new, new_start, new_end)
        at = end
    yield from _marked(" ", old, at, b)


def _length(old: _Lines, new: _Lines, hunk: list[_Block]) -> int:
    """Count what `_hunk_lines` gives."""
    a, b, _, _ = _span(old, hunk)
    added = sum(new_end - new_start for _, _, new_start, new_end in hunk)
    _, _, new_start, new_end = hunk[-1]
    ends = (b == len(old) > 0 and old.is_cut) + (new_start < new_end == len(new) and new.is_cut)
    return 1 + b - a + added + ends


def _range(start: int, end: int) -> str:
    """Number lines from 1; an empty range names the line before it, as diff -u does."""
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _marked(mark: str, lines: _Lines, start: int, end: int) -> Iterator[str]:
    for index in range(start, end):
        yield mark + printable(to_text(lines[index].removesuffix(b"\n")), MAX_LINE)
    if start < end == len(lines) and lines.is_cut:
        yield "\\ No newline at end of file"
