"""Several logs read at once by processes of their own; what they say is committed here, in the order of the logs.

So the database is the same whatever the number of processes: they know nothing of it. What a process has read waits
in a file without a name until its turn comes, and no process waits for that.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from redirectd.errors import RedirectdError

Reader = Callable[[str], Iterator[object]]
"""Gives what one log says, part by part; each part can be pickled."""


@dataclass(frozen=True, slots=True)
class _Text:
    """What the reading has written to standard error."""

    text: str


@dataclass(frozen=True, slots=True)
class _Failed:
    """What the reading of a log has raised."""

    kind: type[RedirectdError]
    texts: tuple[str, str, str]


_PART, _FULL = b"\0", b"\1"
"""What a process says: a part is there; or it can't be kept, and an error number follows."""


class _Worker:
    """A process that reads some logs in their order, and what has come of it."""

    def __init__(self, pid: int, share: Sequence[str], kept: IO[bytes], signals: int) -> None:
        self.pid = pid
        self._share = iter(share)
        self._kept = kept
        self._signals = signals
        self._at = 0

    def of_next_log(self, name: str) -> Iterator[Any]:
        """What its next log says, called `name`. Raises RedirectdError."""
        assert next(self._share) == name, "logs are asked for in the order in which they are read"
        while (found := self._next(name)) is not None:
            if isinstance(found, _Text):
                sys.stderr.write(found.text)
            elif isinstance(found, _Failed):
                raise found.kind(*found.texts)
            else:
                yield found

    def _next(self, name: str) -> Any:  # noqa: ANN401 - whatever was pickled
        said = os.read(self._signals, 1)
        if said == _FULL:
            why = f"what is read can't be kept there: {os.strerror(os.read(self._signals, 1)[0])}"
            todo = "free space there, set TMPDIR to another folder, or read with --jobs 1"
            raise RedirectdError(tempfile.gettempdir(), why, todo)
        if not said:
            why = "the process that read it has ended before it came to the end"
            raise RedirectdError(name, why, "read the logs one after another, with --jobs 1, and see the log for why")
        self._kept.seek(self._at)
        found = pickle.load(self._kept)  # noqa: S301 - of a process of our own, in a file that nobody else can open
        self._at = self._kept.tell()
        return found

    def end(self) -> None:
        """Ends it, wherever it is: it has nothing to lose."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._signals)
        self._kept.close()


@contextmanager
def reading_at_once(shares: Sequence[Sequence[str]], read: Reader) -> Iterator[Callable[[str], Iterator[Any]]]:
    """Has a process read each of the `shares`, logs in their order; gives what one log says, by its name.

    Within a share the logs are to be asked for in their order. What can't be read raises then what `read` raised.
    """
    workers: dict[str, _Worker] = {}
    started: list[_Worker] = []
    try:
        for share in shares:
            started.append(_start(share, read))
            workers |= dict.fromkeys(share, started[-1])
        yield lambda name: workers[name].of_next_log(name)
    finally:
        for worker in started:
            worker.end()


def shares_of(groups: Sequence[Sequence[str]], sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """Deals groups of logs to at most `most` shares of about one size, in which they are in the order of `sizes`."""
    order = {name: place for place, name in enumerate(sizes)}
    shares: list[list[str]] = [[] for _ in range(min(most, len(groups)))]
    for group in sorted(groups, key=lambda group: -sum(sizes[name] for name in group)):
        min(shares, key=lambda share: sum(sizes[name] for name in share)).extend(group)
    return [sorted(share, key=order.__getitem__) for share in shares if share]


def _start(share: Sequence[str], read: Reader) -> _Worker:
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the worker
    signals, signal_to = os.pipe()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(signal_to)
        return _Worker(pid, share, kept, signals)
    try:
        os.close(signals)
        _work(share, read, kept, signal_to)
    finally:
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, BrokenPipeError):
            os.write(2, traceback.format_exc().encode())
        os._exit(0)  # nothing of the parent's is closed or flushed here


def _work(share: Sequence[str], read: Reader, kept: IO[bytes], signal_to: int) -> None:
    at = 0

    def send(what: object) -> None:
        nonlocal at
        left = memoryview(pickle.dumps(what))
        while left:
            try:
                written = os.pwrite(kept.fileno(), left, at)
            except OSError as error:
                os.write(signal_to, _FULL + bytes([error.errno or 0]))
                os._exit(0)
            at, left = at + written, left[written:]
        os.write(signal_to, _PART)

    sys.stderr = texts = _Texts(is_terminal=sys.stderr.isatty())
    for name in share:
        try:
            for part in read(name):
                if text := texts.take():
                    send(_Text(text))
                send(part)
        except RedirectdError as error:
            send(_Failed(type(error), (error.where, error.why, error.what_to_do)))
            continue
        if text := texts.take():
            send(_Text(text))
        send(None)


class _Texts(io.StringIO):
    """Keeps what is written, in place of standard error."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Whether it would have been written to a terminal."""
        return self._is_terminal

    def take(self) -> str:
        """What was written since."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text
