"""Everything that can happen to a log, in any order, against a model that knows every line ever written."""

from __future__ import annotations

import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from redirectd.sources.file import siblings
from tests.sources.rotator import PACKED, Reader, Writer, numbers


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class FollowedLog(RuleBasedStateMachine):
    """A writer, a rotator and a reader that is stopped, killed and set back.

    `destroyed` are the lines whose last copy was removed, with the generation of the live file they stood in.
    One that was not delivered must be covered by a reported gap, unless nobody ever saw a byte of its generation
    (`unseen`): then nothing can tell that there was one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.descriptors = _open_descriptors()
        self.folder = Path(tempfile.mkdtemp())
        self.writer = Writer(self.folder / "full")
        self.reader = Reader(self.writer.path)
        self.reader.drain()  # there is no log yet
        self.generation = 1
        self.generations: dict[int, int] = {}  # by line
        self.noticed = [(len(self.reader.commits), 0)]  # the newest generation seen, by number of commits
        self.destroyed: set[int] = set()
        self.unseen: set[int] = set()

    def teardown(self) -> None:
        self.read_all()
        self.reader.follower.close()
        assert _open_descriptors() <= self.descriptors, "files are left open"
        shutil.rmtree(self.folder)

    # The writer and the rotator

    @rule(count=st.integers(1, 60))
    def write(self, count: int) -> None:
        before = self.writer.written
        self.writer.write(count)
        self.generations.update(dict.fromkeys(range(before, self.writer.written), self.generation))

    @rule(size=st.integers(1, 6))
    def write_half(self, size: int) -> None:
        self.writer.write_half(size)

    @precondition(lambda self: self.writer.path.exists())
    @rule(dated=st.booleans(), packed=st.sampled_from(["", *PACKED]), create=st.booleans())
    def rename(self, dated: bool, packed: str, create: bool) -> None:
        self.writer.rename(to=self.writer.dated() if dated else None, packed=packed, create=create)
        self.generation += 1
        self.expire()

    @precondition(lambda self: self.writer.path.exists())
    @rule(dated=st.booleans(), packed=st.sampled_from(["", *PACKED]))
    def copytruncate(self, dated: bool, packed: str) -> None:
        self.writer.copytruncate(to=self.writer.dated() if dated else None, packed=packed)
        self.generation += 1
        self.expire()

    @rule()
    def compress_a_rotated_file(self) -> None:
        plain = [sibling.path for sibling in siblings(self.writer.path) if sibling.path.suffix not in PACKED]
        if plain:
            self.writer.pack(plain[0])

    @precondition(lambda self: self.writer.path.exists())
    @rule()
    def truncate(self) -> None:
        lost = set(numbers(self.writer.path.read_bytes())[0])
        self.writer.truncate()
        self.destroy(lost)
        self.generation += 1

    @precondition(lambda self: self.writer.path.exists())
    @rule(create=st.booleans())
    def delete(self, create: bool) -> None:
        lost = set(numbers(self.writer.path.read_bytes())[0])
        self.writer.delete(create=create)
        self.destroy(lost)
        self.generation += 1

    def expire(self) -> None:
        """Keep five rotated files, as logrotate does: the oldest goes."""
        for sibling in siblings(self.writer.path)[:-5]:
            before = self.writer.on_disk()
            sibling.path.unlink()
            self.destroy(before - self.writer.on_disk())

    def destroy(self, lines: set[int]) -> None:
        lines = lines - self.writer.on_disk()
        self.destroyed |= lines
        self.unseen |= {line for line in lines if self.generations[line] > self.noticed[-1][1]}

    # The reader

    @rule(turns=st.integers(1, 4))
    def read_a_little(self, turns: int) -> None:
        for _ in range(turns):
            self.reader.turn()

    @precondition(lambda self: self.writer.path.exists())
    @rule(style=st.sampled_from(["rename", "copytruncate", "truncate"]), count=st.integers(1, 60))
    def rotate_while_it_is_read(self, style: str, count: int) -> None:
        def meanwhile() -> None:
            if style == "rename":
                self.rename(dated=False, packed="", create=True)
            elif style == "copytruncate":
                self.copytruncate(dated=False, packed="")
            else:
                self.truncate()
            self.write(count)

        self.reader.turn(meanwhile)

    @rule()
    def read_all(self) -> None:
        self.reader.drain()
        if self.writer.path.exists() and self.writer.path.stat().st_size:
            self.noticed.append((len(self.reader.commits), self.generation))
        missing = set(range(self.writer.written)) - set(self.reader.delivered)
        missing &= self.generations.keys()
        assert not missing & self.writer.on_disk(), "lines stand on disk and were not delivered"
        assert missing <= self.destroyed
        assert self.reader.gaps or self.reader.follower.gaps or missing <= self.unseen, (
            "lines are lost and no gap tells it"
        )

    @rule(back=st.integers(0, 3))
    def restart(self, back: int) -> None:
        """Stop and start (0), or come back with an older state of the database."""
        self.reader.restart(min(back, len(self.reader.commits) - 2))
        commits = len(self.reader.commits)
        while len(self.noticed) > 1 and self.noticed[-1][0] > commits:
            self.noticed.pop()
        gone = self.destroyed - set(self.reader.delivered)
        self.unseen |= {line for line in gone if self.generations[line] > self.noticed[-1][1]}

    @invariant()
    def once_and_in_order(self) -> None:
        delivered = self.reader.delivered
        assert all(a < b for a, b in pairwise(delivered)), "doubled or out of order"


TestFollowedLog = FollowedLog.TestCase
TestFollowedLog.settings = settings(stateful_step_count=30)
