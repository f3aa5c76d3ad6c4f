"""Finding the few records of interest in a log: blocks, a search for literals, a frame around each hit.

Nearly all bytes say nothing to us, so no loop here walks over lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redirectd.collect.places import Places
from redirectd.collect.unframed import looks_like_answer
from redirectd.dialects.asterisk_console import AsteriskConsole
from redirectd.dialects.envelope import line_quiet_until
from redirectd.dialects.family import is_foreign
from redirectd.dialects.frame import (
    Authenticity,
    Dialect,
    Frame,
    Framed,
    Glimpse,
    Glimpsing,
    Incomplete,
    Record,
    Unreadable,
)
from redirectd.dialects.framing import Grammar, Stretch, Walking, doubt_at, walk_to
from redirectd.dialects.sip_text import SipText
from redirectd.dialects.window import REACH
from redirectd.sources.log import Log

BLOCK = 1 << 20
"""Bytes read at a time."""

LEAD = 3 * REACH
"""Bytes before a block from which the entries around its first places are walked to."""

STEP_WORK = 512
"""What one step takes: a place that a dialect has to look at counts `_HARD`, one that is passed over 1."""

_HARD = 32

_DEEPEST = 4
"""Entries within entries of other grammars that are looked at."""

_START_LINE = re.compile(
    rb"[ \t]{0,8}(?:SIP/2\.0 [1-6]\d\d |[A-Z]{3,16} [a-zA-Z][a-zA-Z0-9+.-]{1,31}:[^ \r\n]{1,2048} SIP/2\.0[\r\n])"
)
LoggedEntry = Frame | Record | Unreadable


@dataclass(frozen=True, slots=True)
class Block:
    """What one step saw: the window, where it begins in the log, what was found, and how far the log is dealt with.

    `window` holds until the next step, which reads into the same memory.
    `counted` are the places of each counted literal in this stretch, in the window.
    `unframed` are places of a literal that no dialect knows. `within` is the number of look-alikes of answers that are
    text of a framed message (R38), `ambiguous` that of places where a length reaches over other entries (R40).
    `messages` is every entry, where all are asked for.
    """

    window: Stretch
    base: int
    found: tuple[tuple[LoggedEntry | Glimpse, Dialect], ...]
    counted: dict[bytes, list[int]]
    end: int
    unframed: tuple[int, ...] = ()
    within: int = 0
    ambiguous: int = 0
    messages: tuple[LoggedEntry, ...] = ()


@dataclass(slots=True)
class _ReadBlock:
    """A block in memory, and what of it is still to be taken: `left` are places, last first.

    `end` is up to where it is dealt with when all of them are; `last`: nothing follows it. `done` is the end of the
    last record, `framed` says that it is a message. Up to `quiet` no dialect knows anything.
    """

    window: Stretch
    base: int
    begin: int
    end: int
    at_end: bool
    last: bool
    left: list[int]
    others: frozenset[int]
    counted: dict[bytes, list[int]]
    done: int = 0
    framed: bool = False
    quiet: int = 0
    passed: int = 0


@dataclass(slots=True)
class _Step:
    """What one step has found so far."""

    found: list[tuple[LoggedEntry | Glimpse, Dialect]] = field(default_factory=list)
    unframed: list[int] = field(default_factory=list)
    within: int = 0
    messages: list[LoggedEntry] = field(default_factory=list)


class Scanner:
    """Walks over a log block by block. `offset` is the first byte not dealt with yet: what a position is made of.

    What lies between it and `seen` was looked at and waits for more: a literal or a record may go on.

    `literals` find records; `counted` are literals that are only counted (losses, hints). `glimpsing`: 183s need only
    their identity, where the dialect can give it. `every` finds all other messages, too (`Block.messages`).
    """

    def __init__(
        self,
        log: Log,
        dialects: Sequence[Dialect],
        literals: Iterable[bytes],
        *,
        counted: Iterable[bytes] = (),
        offset: int = 0,
        glimpsing: type[Glimpsing] | None = None,
        every: Iterable[bytes] = (),
        gappy: bool = False,
    ) -> None:
        """`gappy`: see `Stretch`."""
        self.log = log
        self.offset = offset
        self.seen = offset
        self.waits = False
        """Whether what is at `offset` is a record that may go on behind the log's present end."""
        self._dialects = [one for one in dialects if one.literals and not isinstance(one, SipText)]
        self._fallback = next((one for one in dialects if isinstance(one, SipText)), None)
        self._places = Places(literals, counted)
        self._every = Places(every) if every else None
        self._buffer = Stretch(gappy=gappy)
        self._page: _ReadBlock | None = None
        able = [one for one in dialects if glimpsing is not None and isinstance(one, glimpsing)]
        self._glimpsing = {one.name: one for one in able}
        self._grammars = list({id(one.grammar): one.grammar for one in dialects if isinstance(one, Walking)}.values())
        self._free = [0] * len(self._grammars)  # up to where no entry of each begins or goes on
        self._plain_text = 0, -1  # to where it was looked for, the last such message
        self._of_lines: list[Dialect] = []
        self._console = next((one for one in dialects if isinstance(one, AsteriskConsole)), None)
        self._sort_out()
        self._doubted: set[int] = set()
        self._margin = max(0, self._places.longest - 1)

    def follow(self, log: Log, offset: int) -> None:
        """Goes on in another log, or elsewhere."""
        self.log = log
        self.offset = self.seen = offset
        self.waits = False
        self._page = None

    def next_block(self, *, final: bool) -> Block | None:
        """The next stretch, None where nothing new is there. `final`: the log's present end is its last byte.

        A record that the present end cuts waits for the rest, unless `final`. A stretch ends early where it is full of
        places to look at, so that each costs a bounded time.
        """
        page = self._page or self._read(final=final)
        self._page = None
        if page is None:
            return None
        begin = self.offset - page.base
        step = _Step()
        doubted = len(self._doubted)
        waiting = self._step(step, page)
        ambiguous = len(self._doubted) - doubted
        self._doubted = {one for one in self._doubted if one >= page.base}
        end = page.end
        if waiting is not None:
            end = max(begin, min(end, waiting.start))
            self.waits = True
        elif page.left:
            end = page.left[-1]
            self._page = page
        end = max(end, page.done)
        if page.base + end == self.offset and not (step.found or step.messages):
            return None
        self.offset = page.base + end
        self.seen = self.offset if page.left and waiting is None else page.base + len(page.window)
        counted = {literal: [at for at in there if begin <= at < end] for literal, there in page.counted.items()}
        found, unframed = tuple(step.found), tuple(step.unframed)
        messages = tuple(step.messages)
        return Block(page.window, page.base, found, counted, self.offset, unframed, step.within, ambiguous, messages)

    def _step(self, step: _Step, page: _ReadBlock) -> Incomplete | None:
        """Takes the places one after another, up to one whose record is not whole yet: that is given back."""
        window, work = page.window, STEP_WORK
        while page.left and work > 0:
            at = page.left.pop()
            work -= 1
            is_other = at in page.others
            if at < (max(page.done, page.passed, page.quiet) if is_other else page.done):
                step.within += not is_other and page.framed and looks_like_answer(window, at, page.done)
                continue
            if at < page.quiet:
                step.unframed.append(at)
                continue
            glimpse = self._glimpse(window, at)
            if glimpse is not None:
                step.found.append(glimpse)
                page.done, page.framed = glimpse[0].end, glimpse[0].message >= 0
                continue
            work -= _HARD
            waiting = self._pass(step, page, at) if is_other else self._take(step, page, at)
            if waiting is not None:
                page.left.clear()
                return waiting
        return None

    def _take(self, step: _Step, page: _ReadBlock, at: int) -> Incomplete | None:
        """Takes a place that a dialect has to look at."""
        framed = self._frame(page, at)
        if framed is None:
            step.unframed.append(at)
            page.quiet = min(line_quiet_until(page.window, at), *self._free, len(page.window))
        if framed is None or isinstance(framed, Incomplete):
            return framed
        self._prefer(framed[1])
        logged = self._in_doubt(page.window, at, page.base, framed[0])
        if isinstance(logged, Frame) and not _begins(logged, page.window, at):
            step.within += looks_like_answer(page.window, at, logged.end)
        step.found.append((logged, framed[1]))
        if self._every is not None and logged.start >= page.passed:
            step.messages.append(logged)
            page.passed = logged.end
        page.done, page.framed = max(page.done, logged.end), isinstance(logged, Frame)
        return None

    def _pass(self, step: _Step, page: _ReadBlock, at: int) -> Incomplete | None:
        """Keeps a message that nothing is learnt from; what is learnt of others does not depend on it."""
        framed = self._frame(page, at)
        if isinstance(framed, Incomplete):
            return framed
        if framed is not None:
            step.messages.append(framed[0])
            page.passed = framed[0].end
        return None

    def _in_doubt(self, page: Stretch, at: int, base: int, logged: LoggedEntry) -> LoggedEntry:
        """The same, held as unproven where only one of two readings has it (R40)."""
        own_text = AsteriskConsole.grammar if logged.dialect == AsteriskConsole.name else None
        cause = doubt_at(page, at, own_text)
        if cause < 0 and self._fallback is not None and logged.dialect != self._fallback.name:
            cause = self._plain_text_before(page, logged.start)
        if cause < 0:
            return logged
        self._doubted.add(base + cause)
        if not isinstance(logged, Unreadable) and logged.authenticity is not Authenticity.PROVEN:
            return replace(logged, authenticity=Authenticity.UNPROVEN)
        return logged

    def _plain_text_before(self, page: Stretch, start: int) -> int:
        """Start of a message that no writer framed and whose body may reach to `start` (R40); -1 for none."""
        searched, plain = self._plain_text
        low, at = max(searched, start - REACH), start
        while at > low and (message := _last_start_line(page, low, at)) >= 0:
            at = self._entry_start(page, message)
            if at < 0:
                plain = max(plain, message)
                break
        self._plain_text = max(searched, start), plain
        return plain if start - REACH <= plain < start else -1

    def _entry_start(self, page: Stretch, at: int) -> int:
        """Start of the entry of any writer that holds a place; -1 where none does."""
        if self._console is not None and isinstance(framed := self._console.frame(page, at, final=False), Frame):
            return framed.start
        entries = [walk_to(page, grammar, at, final=False).around(at) for grammar in self._grammars]
        return max((one.head.start for one in entries if one is not None), default=-1)

    def _read(self, *, final: bool) -> _ReadBlock | None:
        """The next block, into memory that is used again: fresh memory costs more than the bytes."""
        base = max(self.log.start, self.offset - LEAD)
        begin = self.offset - base
        size = begin + BLOCK
        if len(self._buffer) < size:
            self._buffer = Stretch(LEAD + BLOCK, gappy=self._buffer.gappy)
        self._buffer.forget()
        self._free = [0] * len(self._grammars)
        self._plain_text = 0, -1
        filled = self.log.read_into(base, memoryview(self._buffer)[:size])
        self.seen = base + filled
        if filled <= begin:
            return None
        at_end = filled < size
        window = self._buffer
        if filled < len(window):
            window = Stretch(memoryview(window)[:filled], gappy=window.gappy)
        self.waits = False
        last = at_end and final
        end = filled if last else max(begin, filled - self._margin)
        places, counted = self._places.find(window, begin)
        left, others = places[::-1], frozenset[int]()
        if self._every is not None:
            others = frozenset(self._every.find(window, begin).places).difference(places)
            left = sorted({*places, *others}, reverse=True)
        return _ReadBlock(window, base, begin, end, at_end, last, left, others, counted, done=begin, quiet=begin)

    def _glimpse(self, window: Stretch, at: int) -> tuple[Glimpse, Dialect] | None:
        """What the dialect that would be asked first gives at a glance."""
        dialect = self._glimpsing.get(self._dialects[0].name) if self._dialects else None
        if dialect is not None and window.startswith(dialect.glimpsed, at):
            glimpse = dialect.glimpse(window, at)
            if glimpse is None or (not glimpse.proven and is_foreign(dialect.name, window, glimpse.start)):
                return None
            return glimpse, self._dialects[0]
        return None

    def _prefer(self, dialect: Dialect) -> None:
        """Asks it first at the next place: what one program wrote can look like another's."""
        if dialect is not self._fallback and self._dialects[0] is not dialect:
            self._dialects.remove(dialect)
            self._dialects.insert(0, dialect)
            self._sort_out()

    def _sort_out(self) -> None:
        """Which dialects to ask where no entry goes over several lines."""
        of_lines = [one for one in self._dialects if not isinstance(one, Walking) or one.reads_lines]
        self._of_lines = sorted(of_lines, key=lambda one: not isinstance(one, AsteriskConsole))

    def _frame(self, page: _ReadBlock, at: int) -> tuple[LoggedEntry, Dialect] | Incomplete | None:
        """The record at a hit: of the writer whose entry holds it, the outermost, else of whoever knows the line."""
        waiting: Incomplete | None = None
        for dialect in self._in_turn(page.window, at, final=page.last):
            framed = _framed(dialect, page, at)
            if framed is not None and not _is_proven(framed) and is_foreign(dialect.name, page.window, framed.start):
                continue
            if isinstance(framed, Incomplete):
                waiting = waiting or framed
            elif framed is not None and waiting is not None and waiting.start < framed.start:
                continue  # text within a record that is still to come can look like a record of another dialect
            elif framed is not None:
                return framed, dialect
        if waiting is not None or self._fallback is None:
            return waiting
        any_text = _framed(self._fallback, page, at)  # plain SIP text, which nobody believes (R40)
        return any_text if any_text is None or isinstance(any_text, Incomplete) else (any_text, self._fallback)

    def _in_turn(self, page: Stretch, at: int, *, final: bool) -> Iterable[Dialect]:
        """The dialects to ask: those of the entry that holds the place first, the outermost entry's before others'."""
        holding: list[tuple[int, int]] = []
        for number, grammar in enumerate(self._grammars):
            if at < self._free[number]:
                continue
            walk = walk_to(page, grammar, at, final=final)
            entry = walk.around(at)
            if entry is None:
                self._free[number] = walk.quiet_until(at)
            elif at >= entry.head.begin and not self._is_text(page, grammar, entry.head.start, final=final):
                holding.append((entry.head.start, id(grammar)))
        if not holding:
            return self._of_lines
        if self._console is not None and isinstance(framed := self._console.frame(page, at, final=final), Frame):
            blocks = id(self._console.grammar)  # read without what the console did: what begins in a message is none
            holding = [
                one
                for one in holding
                if one[1] != blocks or one[0] >= framed.start or not self._is_printed(page, one[0], final=final)
            ]
            holding.append((framed.start, id(self._console)))
        rank = {owner: number for number, (_, owner) in enumerate(sorted(holding))}
        last = len(rank)
        return sorted(
            self._dialects, key=lambda one: rank.get(id(one), rank.get(id(getattr(one, "grammar", None)), last))
        )

    def _is_printed(self, page: Stretch, start: int, *, final: bool) -> bool:
        """Whether a place is within a message as the console's dialect reads it."""
        framed = self._console.frame(page, start, final=final) if self._console is not None else None
        return isinstance(framed, Frame) and framed.start < start and framed.authenticity.is_authentic

    def _is_text(self, page: Stretch, own: Grammar[Any], start: int, *, final: bool, depth: int = _DEEPEST) -> bool:
        """Whether an entry that begins at `start` is within a message of another grammar's, and so is none (R38)."""
        if self._console is not None and own is not self._console.grammar:
            framed = self._console.frame(page, start, final=final)  # which undoes what ends an entry too early
            if isinstance(framed, Frame) and framed.start < start:
                return framed.authenticity.is_authentic
        for grammar in self._grammars:
            entry = walk_to(page, grammar, start, final=final).around(start) if grammar is not own else None
            if (
                entry is not None
                and entry.head.begin <= start
                and not entry.doubtful
                and not (depth and self._is_text(page, grammar, entry.head.start, final=final, depth=depth - 1))
            ):
                return True
        return False


def _last_start_line(page: Stretch, low: int, high: int) -> int:
    """Where the last message that begins a line of `page[low:high]` begins; -1 for none."""
    while (mark := page.rfind(b"SIP/2.0", low, high)) >= 0:
        line = page.rfind(b"\n", low, mark) + 1 or low
        if _START_LINE.match(page, line, min(len(page), mark + 16)):
            return line
        high = line
    return -1


def _begins(logged: Frame, page: Stretch, at: int) -> bool:
    """Whether a place is that of the frame's own start line."""
    return logged.payload.startswith(bytes(page[at : at + 11])) or not page.startswith(b"SIP/2.0 ", at)


def _framed(dialect: Dialect, page: _ReadBlock, at: int) -> Framed:
    """What the dialect makes of a place; of what is larger than a whole block, what there is of it."""
    framed = dialect.frame(page.window, at, final=page.last)
    if isinstance(framed, Incomplete) and not page.at_end and framed.start <= page.begin:
        return dialect.frame(page.window, at, final=True)
    return framed


def _is_proven(framed: LoggedEntry | Incomplete) -> bool:
    """Whether its proof shows who wrote it, whatever the log's tag says (R39)."""
    return isinstance(framed, Record) and framed.authenticity is Authenticity.PROVEN
