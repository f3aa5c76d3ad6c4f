"""The systemd journal, through journalctl as a child process."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redirectd.errors import SourceError
from redirectd.sources.log import Gap, LogSegment
from redirectd.sources.spool import SpoolLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

AHEAD = 8 << 20
"""Bytes kept unread: beyond them the pipe fills and journalctl waits."""

LONGEST_LINE = 16 << 20
"""A longer line is dropped and told."""

_READ = 256 << 10
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class JournalPosition:
    """The last entry that was dealt with: its cursor, and its time (microseconds since 1970) for when that is gone."""

    cursor: str = ""
    realtime: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As kept in the database."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> JournalPosition:
        """What `to_dict` gave; raises `SourceError` for anything else."""
        cursor, realtime = stored.get("cursor"), stored.get("realtime")
        if not isinstance(cursor, str) or not isinstance(realtime, int):
            raise SourceError("stored journal position", "is not one", "remove it to read the journal from its start")
        return cls(cursor, realtime)

    @classmethod
    def of(cls, line: bytes) -> JournalPosition | None:
        """The position behind an entry as `-o json` writes it."""
        try:
            entry = json.loads(line)
            return cls(str(entry["__CURSOR"]), int(entry["__REALTIME_TIMESTAMP"]))
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def boot(self) -> str:
        """The boot that the entry is of, as 32 hex digits."""
        parts = dict(part.partition("=")[::2] for part in self.cursor.split(";"))
        return parts.get("b", "")


class Journald:
    """The entries that fit `matches` (as journalctl takes them, `_SYSTEMD_UNIT=kamailio.service`), a line each.

    `options` go to journalctl first (`--namespace=`, `--directory=`). It first reads to the end without `-f`, since
    `-f` means the present boot only (systemd 250 and later) and would skip earlier entries; then it follows.
    The place is entered with `--cursor` and its own entry must come first: a cursor that the journal does not hold
    silently leads elsewhere. Then the kept time is used, and a `Gap` reports it.

    `fileno` can be waited for; it changes, and is -1 while no child runs: look once a second then.
    """

    def __init__(
        self,
        name: str,
        position: JournalPosition | None = None,
        *,
        matches: Sequence[str] = (),
        options: Sequence[str] = (),
        program: str = "journalctl",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trouble: SourceError | None = None
        self._log = SpoolLog(name, hold=True)
        self._command = (program, *options, "--output=json", "--all", "--quiet", "--no-pager")
        self._matches = tuple(matches)
        self._clock = clock
        self._confirmed = 0
        self._position = position or JournalPosition()
        self._fed = self._position  # the last entry in the spool
        self._by_time = False
        self._child: subprocess.Popen[bytes] | None = None
        self._following = False
        self._caught_up = False
        self._exit_code = 0
        self._said = b""  # the end of what the child complained of
        self._asked = (self._position, 0)
        self._entered = False  # the entry of the cursor came first
        self._rest = b""
        self._skipping = False
        self._gaps: list[Gap] = []
        self._told = 0
        self._pause = _SHORTEST_PAUSE
        self._not_before = 0.0

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Losses found and not confirmed yet."""
        return tuple(self._gaps)

    def fileno(self) -> int:
        """Readable when there is something new; -1 while no child runs."""
        return self._child.stdout.fileno() if self._child and self._child.stdout else -1

    def poll(self) -> LogSegment | None:
        """Take what journalctl gives now, without waiting."""
        if self._child is None and self._clock() >= self._not_before:
            self._start()
        while self._child is not None and self._log.ahead < AHEAD and self._take():
            pass
        self._listen()
        if self._log.end() == self._confirmed and not self._gaps:
            return None
        self._told = len(self._gaps)
        return LogSegment(self._log, self._confirmed, self._log.end(), final=False, gaps=tuple(self._gaps))

    def position(self, segment: LogSegment, offset: int) -> JournalPosition | None:
        """The last entry that ends at or before `offset`."""
        found = self._fed if offset == self._log.end() else self._entry_before(segment.start, offset)
        self._asked = (found or self._position, offset)
        return self._asked[0]

    def advance(self, position: JournalPosition) -> None:
        """Confirm the position asked for last."""
        asked, offset = self._asked
        if asked == position:
            self._confirmed = offset
            self._log.release(offset)
        self._position = position
        del self._gaps[: self._told]
        self._told = 0

    def unread(self) -> int:
        """Bytes taken from journalctl that wait; what still is in the journal is not known."""
        return self._log.end() - self._confirmed

    def turned_away(self) -> Mapping[str, int]:
        """Nothing: the journal is taken in whole."""
        return {}

    def close(self) -> None:
        """End the child."""
        self._stop()

    def _entry_before(self, start: int, offset: int) -> JournalPosition | None:
        text = self._log.read(start, offset - start)
        end = text.rfind(b"\n")
        return JournalPosition.of(text[text.rfind(b"\n", 0, end) + 1 : end]) if end >= 0 else None

    # The child

    def _start(self) -> None:
        self._following = self._caught_up
        place = ["--follow", "--no-tail"] if self._following else []
        # To the end of the journal no entry of this boot was found: all there is of it now is new, from its beginning.
        anew = self._following and self._fed.boot != _this_boot()
        if anew:
            place.append("--boot")
        elif self._fed.cursor:
            seconds, micros = divmod(self._fed.realtime, 1_000_000)
            place.append(f"--since=@{seconds}.{micros:06d}" if self._by_time else f"--cursor={self._fed.cursor}")
        try:
            self._child = subprocess.Popen(  # noqa: S603 - no shell; the arguments are the configuration's
                [*self._command, *place, *self._matches],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            self.trouble = SourceError(self._command[0], error.strerror or str(error), "install systemd's journalctl")
            self._wait_longer()
            return
        for pipe in (self._child.stdout, self._child.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._entered = anew or not self._fed.cursor or self._by_time
        self._rest = self._said = b""

    def _listen(self) -> None:
        """Keep the end of what the child says on standard error, so that its pipe never fills."""
        if self._child is not None and self._child.stderr is not None:
            with suppress(BlockingIOError):
                while data := os.read(self._child.stderr.fileno(), 4096):
                    self._said = (self._said + data)[-2000:]

    def _take(self) -> bool:
        """One block from the child; False where it has nothing now."""
        assert self._child is not None
        try:
            data = os.read(self.fileno(), _READ)
        except BlockingIOError:
            return False
        if data:
            self._split(data)
        else:
            self._ended()
        return self._child is not None

    def _split(self, data: bytes) -> None:
        """Feed the whole lines of `data`; the first of a child must be the entry it was sent to."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > LONGEST_LINE:
            self._gaps.append(Gap(self._log.name, "an entry longer than 16 MiB was passed over", len(self._rest)))
            self._rest, self._skipping = b"", True
        lines = data[:end]
        if self._skipping and lines:
            lines, self._skipping = lines[lines.index(b"\n") + 1 :], False
        if lines and not self._entered:
            first = lines.index(b"\n") + 1
            if JournalPosition.of(lines[:first]) != self._fed:
                self._go_by_time()
                return
            self._entered = True
            lines = lines[first:]
        if lines:
            self._log.feed(lines)
            self._fed = JournalPosition.of(lines[lines.rfind(b"\n", 0, -1) + 1 :]) or self._fed
            self._by_time = False
            self.trouble, self._pause = None, _SHORTEST_PAUSE

    def _go_by_time(self) -> None:
        """The cursor's entry is not there: start again at its time."""
        self._stop()
        self._by_time, self._caught_up = True, False
        self._gaps.append(
            Gap(self._log.name, "the journal no longer holds the entry read last; went on by its time", 0)
        )

    def _ended(self) -> None:
        """The child has said all: follow from here, or look again after a pause."""
        assert self._child is not None
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(0.5)  # it closed its output and is about to go; its last words come before that
        self._listen()
        was_following, entered = self._following, self._entered
        self._stop()
        code = self._exit_code
        if code:
            why = self._said.decode(errors="backslashreplace").strip()[-500:] or f"journalctl ended with {code}"
            self.trouble = SourceError(
                self._log.name, why, "see what journalctl says; the user needs group systemd-journal"
            )
            self._caught_up = False
            self._wait_longer()
        elif not entered:
            self._go_by_time()
        else:
            self.trouble = None
            self._caught_up = not was_following
            self._not_before = self._clock() + (0 if self._caught_up else _SHORTEST_PAUSE)

    def _stop(self) -> None:
        if self._child is None:
            return
        with self._child as child:
            if child.poll() is None:
                child.kill()
        self._exit_code = child.returncode
        self._child = None

    def _wait_longer(self) -> None:
        self._not_before = self._clock() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


def _this_boot() -> str:
    """The present boot as 32 hex digits."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")
    return ""
