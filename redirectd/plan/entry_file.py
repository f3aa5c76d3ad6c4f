"""A file of one entry a line, in key order: read where it is asked for, and changed without reading the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class LineForm:
    """How a target writes its entries: one a line, in key order, between what `around` gives for the token.

    `line` writes an entry and `entry` reads one, without the line feed; `plain` makes lines of entries into what their
    token is the hash of, None for lines of which it can't. All of it is ASCII.
    """

    around: Callable[[str], tuple[bytes, bytes]]
    line: Callable[[str, str], bytes]
    entry: Callable[[bytes], tuple[str, str]]
    plain: Callable[[bytes], bytes | None]


class EntryFile(Mapping[str, str]):
    """The entries of a file as its target wrote it; each is read when it is asked for.

    Raises ValueError for a content that its token does not name. A `token` that is given is known to.
    """

    def __init__(self, content: bytes, form: LineForm, token: str = "") -> None:
        self.content = content
        self._form = form
        before, after = map(len, form.around("0" * 16))
        self._start, self._end = before, len(content) - after
        self.token = token or _token(form, content[before : self._end])
        if self._start > self._end or form.around(self.token) != (content[:before], content[self._end :]):
            raise ValueError("its token does not name this content")
        self._count = content.count(b"\n", self._start, self._end)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: str) -> str:
        start, end = self._place(key)
        if start == end:
            raise KeyError(key)
        return self._form.entry(self.content[start : end - 1])[1]

    def __iter__(self) -> Iterator[str]:
        at = self._start
        while at < self._end:
            end = self.content.index(b"\n", at)
            yield self._form.entry(self.content[at:end])[0]
            at = end + 1

    def spliced(self, edits: Mapping[str, str | None]) -> EntryFile:
        """The file with other entries for these keys; None for one that goes."""
        return self._of(self._lines(edits))

    def only(self, keys: Collection[str]) -> EntryFile:
        """A file of those of the keys that are in this one."""
        places = (self._place(key) for key in sorted(keys))
        return self._of(b"".join(self.content[start:end] for start, end in places))

    def without(self, keys: Collection[str]) -> bytes:
        """The lines of all other keys."""
        return self._lines(dict.fromkeys(keys))

    def _lines(self, edits: Mapping[str, str | None]) -> bytes:
        parts, at = [], self._start
        for key in sorted(edits):
            start, end = self._place(key)
            value = edits[key]
            parts += [self.content[at:start], b"" if value is None else self._form.line(key, value) + b"\n"]
            at = end
        return b"".join([*parts, self.content[at : self._end]])

    def _of(self, lines: bytes) -> EntryFile:
        token = _token(self._form, lines)
        before, after = self._form.around(token)
        return EntryFile(b"".join((before, lines, after)), self._form, token)

    def _place(self, key: str) -> tuple[int, int]:
        """Where the line of a key begins and ends; the same place twice, where it would be, if there is none."""
        low, high = self._start, self._end
        while low < high:
            middle = (low + high) // 2
            start = self.content.rfind(b"\n", low, middle) + 1 or low
            end = self.content.index(b"\n", middle) + 1
            found = self._form.entry(self.content[start : end - 1])[0]
            if found == key:
                return start, end
            low, high = (end, high) if found < key else (low, start)
        return low, low


def _token(form: LineForm, lines: bytes) -> str:
    """As `redirectd.plan.target.token_of` of the entries."""
    plain = form.plain(lines)
    if plain is None:
        raise ValueError("its lines are not plain entries")
    return sha256(plain).hexdigest()[:16]
