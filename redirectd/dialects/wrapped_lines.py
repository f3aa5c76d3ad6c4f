r"""What containers and the journal wrap around each line of a program's console, undone line by line.

A wrapper knows its lines by their own form, which no text of a message can take on: each line of a SIP message is
in a line of the wrapper's own. `WRAPPERS` has all of them.
"""

from __future__ import annotations

import re
from json import loads
from typing import ClassVar, NamedTuple, Protocol

from redirectd.dialects.envelope import undo_json
from redirectd.dialects.window import REACH
from redirectd.sip.text import to_bytes

SAMPLE_LINES = 200
"""Lines of a log's beginning that show its wrapper."""


class Piece(NamedTuple):
    """A piece of a program's console: which stream it is of, its text, and the wrapper's time ('' for none).

    `ends` is false for a part of a line whose rest follows in the stream's next piece. `lost`: its text is not there.
    `doubtful`: it begins an entry, or is a message's text: what the wrapper took away would show (R40).
    """

    stream: bytes
    text: bytes
    stamp: str = ""
    ends: bool = True
    lost: bool = False
    doubtful: bool = False


class Wrapper(Protocol):
    """One way of wrapping lines; an object for each log that is read. Pure."""

    name: ClassVar[str]
    drops_empty_lines: ClassVar[bool]

    def recognises(self, lines: list[bytes]) -> bool:
        """Whether a log that begins with these whole lines is wrapped so."""
        ...

    def whole(self, text: bytes, end: int) -> int:
        """Where the last entry that is whole ends, of lines up to `end` behind which more follow."""
        ...

    def entries(self, text: bytes) -> list[bytes]:
        """The entries of whole lines, without their ends."""
        ...

    def unwrap(self, line: bytes) -> Piece | None:
        """What an entry holds; None for a line that is not the wrapper's."""
        ...


class _ByLine:
    """Each line is an entry."""

    drops_empty_lines: ClassVar[bool] = False

    def whole(self, _text: bytes, end: int) -> int:
        """See `Wrapper.whole`."""
        return end

    def entries(self, text: bytes) -> list[bytes]:
        """See `Wrapper.entries`."""
        return text.removesuffix(b"\n").split(b"\n")


_DOCKER = re.compile(rb'\{ ?"log": ?"((?:[^"\\]++|\\.)*+)", ?"stream": ?"(stdout|stderr)", ?', re.DOTALL)
_TIME = re.compile(rb'"time": ?"([0-9T:.Z+-]{10,40})"\}\s*\Z')
_RFC3339 = rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))"
_CRI = re.compile(_RFC3339 + rb" (stdout|stderr) ([FP](?::[^ ]{0,64})?) ?")
_COUNTED = re.compile(rb"<--- (?:Received|Transmitting) SIP re[a-z]{5,6} \((\d{1,6}) bytes\) [^\r\n]{1,120} --->\r?\Z")
_HEAD_MARKS = (b"<--- ", b"ransmitting ")
_NANOSECONDS = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) ")
_COMPOSE = re.compile(
    rb"(?:\x1b\[[0-9;]{0,16}m){0,4}([a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}) +(?:\x1b\[[0-9;]{0,16}m)?\| ?(?:\x1b\[0m ?)?"
)
_COMPOSE_SAYS = re.compile(
    rb"Attaching to |(?:\x1b\[[0-9;]{0,16}m){0,4}[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127} exited with code "
)


class DockerJsonFile(_ByLine):
    """`/var/lib/docker/containers/ID/ID-json.log`: an object a line; a text without LF at its end goes on."""

    name: ClassVar[str] = "docker json-file"

    def recognises(self, lines: list[bytes]) -> bool:
        """See `Wrapper.recognises`."""
        return self.unwrap(lines[0]) is not None

    def unwrap(self, line: bytes) -> Piece | None:
        """See `Wrapper.unwrap`."""
        match = _DOCKER.match(line)
        if match is None:
            return None
        time = _TIME.search(line, match.end())
        if time is None:
            return None
        text = undo_json(match[1])
        return Piece(match[2], text.removesuffix(b"\n"), time[1].decode(), text.endswith(b"\n"))


class _Counted(NamedTuple):
    """A block of Asterisk's in a stream: bytes that are still to come (fewer than 0 behind it), CRs put back."""

    left: int
    put_back: int = 0


class ContainerRuntimeLog(_ByLine):
    """The CRI's log of a container (Kubernetes, `/var/log/pods`): `TIME stdout F text`, P for a part of a line.

    containerd drops the CR at a line's end, which the count of a block of Asterisk's includes: it is put back. Where
    a peer ended lines with a bare LF, the block ends later than so counted, by a byte for each CR at the most: what
    looks like an entry's head there is in doubt.
    """

    name: ClassVar[str] = "CRI"

    def __init__(self) -> None:
        self._blocks: dict[bytes, _Counted] = {}

    def recognises(self, lines: list[bytes]) -> bool:
        """See `Wrapper.recognises`."""
        return _CRI.match(lines[0]) is not None

    def unwrap(self, line: bytes) -> Piece | None:
        """See `Wrapper.unwrap`."""
        match = _CRI.match(line)
        if match is None:
            return None
        stream, text, ends = match[2], line[match.end() :], match[3][:1] == b"F"
        block, doubtful = self._blocks.get(stream), False
        if block is not None and block.left > 0:
            text = self._with_cr(stream, block, text, ends=ends)
        else:
            if block is not None:
                doubtful = self._is_doubtful(stream, block, text, ends=ends)
            if not doubtful and b" bytes) " in text and (head := _COUNTED.search(text)) is not None:
                self._blocks[stream] = _Counted(min(int(head[1]), REACH))
        return Piece(stream, text, match[1].decode(), ends, doubtful=doubtful)

    def _with_cr(self, stream: bytes, block: _Counted, text: bytes, *, ends: bool) -> bytes:
        """A line of a block as it was; one that has its CR on the first line has all of them."""
        if not block.put_back and text.endswith(b"\r"):
            del self._blocks[stream]
            return text
        text += b"\r" * ends
        self._blocks[stream] = _Counted(block.left - len(text) - ends, block.put_back + ends)
        return text

    def _is_doubtful(self, stream: bytes, block: _Counted, text: bytes, *, ends: bool) -> bool:
        """Whether a line behind a block is a head, and would be of the block if no CR had been there."""
        left = block.left - len(text) - ends
        if left + block.put_back <= 0:
            del self._blocks[stream]
            return False
        self._blocks[stream] = _Counted(left, block.put_back)
        return any(mark in text for mark in _HEAD_MARKS)


class ComposeLogs(_ByLine):
    """`docker compose logs`: `name-1  | text`, with `-t` a time before the text; a stream for each name."""

    name: ClassVar[str] = "docker compose logs"

    def __init__(self) -> None:
        self._dated: bool | None = None  # not known before the first line

    def recognises(self, lines: list[bytes]) -> bool:
        """See `Wrapper.recognises`: every line has a name, as one alone can have by chance; with `-t`, a time, too."""
        own = [line for line in lines if not _COMPOSE_SAYS.match(line)]
        heads = [_COMPOSE.match(line) for line in own]
        self._dated = all(head and _NANOSECONDS.match(line, head.end()) for line, head in zip(own, heads, strict=True))
        return bool(own) and all(heads)

    def unwrap(self, line: bytes) -> Piece | None:
        """See `Wrapper.unwrap`."""
        match = _COMPOSE.match(line)
        if match is None:
            return None
        time = _NANOSECONDS.match(line, match.end()) if self._dated is not False else None
        self._dated = time is not None if self._dated is None else self._dated
        return Piece(match[1], line[time.end() if time else match.end() :], time[1].decode() if time else "")


class DockerTimestamps(_ByLine):
    """`docker logs -t`: a time of nine digits and Z before each line."""

    name: ClassVar[str] = "docker logs -t"

    def recognises(self, lines: list[bytes]) -> bool:
        """See `Wrapper.recognises`."""
        return all(_NANOSECONDS.match(line) for line in lines)

    def unwrap(self, line: bytes) -> Piece | None:
        """See `Wrapper.unwrap`."""
        match = _NANOSECONDS.match(line)
        return Piece(b"", line[match.end() :], match[1].decode()) if match else None


_ERASED = re.compile(rb"(?:\r?\x1b\[0K)+")


class RemoteConsole(_ByLine):
    """`asterisk -r`: CR and `ESC[0K` wipe the prompt before an entry's first line."""

    name: ClassVar[str] = "asterisk -r"

    def recognises(self, lines: list[bytes]) -> bool:
        """See `Wrapper.recognises`."""
        return _ERASED.match(lines[0]) is not None

    def unwrap(self, line: bytes) -> Piece | None:
        """See `Wrapper.unwrap`."""
        match = _ERASED.match(line)
        return Piece(b"", line[match.end() :] if match else line)


JOURNAL_ENTRIES = b"journal"
"""The stream of journal entries that are whole by themselves, as they are: programs that log to syslog."""

_JOURNAL = re.compile(rb'\{ ?"')
_JOURNAL_KEYS = (b'"__CURSOR"', b'"__REALTIME_TIMESTAMP"')


class JournalConsoles(_ByLine):
    """`journalctl -o json`: what a unit or a container prints comes line by line, an entry each (also as byte values).

    Entries of programs that log to syslog stay as they are, in a stream of their own.
    """

    name: ClassVar[str] = "journal"
    drops_empty_lines: ClassVar[bool] = True

    def recognises(self, lines: list[bytes]) -> bool:
        """See `Wrapper.recognises`."""
        return _JOURNAL.match(lines[0]) is not None and any(key in lines[0] for key in _JOURNAL_KEYS)

    def unwrap(self, line: bytes) -> Piece | None:
        """See `Wrapper.unwrap`."""
        if b'"stdout"' not in line and b'"CONTAINER_' not in line:
            return Piece(JOURNAL_ENTRIES, line)
        try:
            entry = loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(entry, dict):
            return None
        place = _console_of(entry)
        if place is None:
            return Piece(JOURNAL_ENTRIES, line)
        text = _message(entry.get("MESSAGE"))
        if text is None:
            return None
        stamp = entry.get("__REALTIME_TIMESTAMP")
        return Piece(
            place,
            text,
            stamp if isinstance(stamp, str) and stamp.isascii() and stamp.isdigit() and len(stamp) < 20 else "",
            entry.get("CONTAINER_PARTIAL_MESSAGE") != "true",
        )


def _console_of(entry: dict[str, object]) -> bytes | None:
    """Names whose console an entry is of; None for a program that logged it itself."""
    if entry.get("_TRANSPORT") != "stdout" and not ({"CONTAINER_ID", "CONTAINER_NAME"} & entry.keys()):
        return None
    names = ("CONTAINER_ID_FULL", "CONTAINER_ID", "CONTAINER_NAME", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER", "_PID")
    return b"\0".join(to_bytes(value) for name in names if isinstance(value := entry.get(name), str))


def _message(value: object) -> bytes | None:
    if isinstance(value, str):
        return to_bytes(value)
    if isinstance(value, list):
        try:
            return bytes(value)
        except (ValueError, TypeError):
            return None
    return None


_HOST_TAG = rb"[^ ]{1,255} ([^ \[\]:]{1,64}(?:\[\d{1,10}\])?): "
_SHORT = re.compile(
    rb"((?:[A-Z][a-z]{2} [ \d]\d|\d{4}-\d\d-\d\d)[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[+-]\d\d:?\d\d)?) " + _HOST_TAG
)
_CONSOLE_TEXT = re.compile(
    rb"(?:\x1b\[[0-9;]{0,16}[mK]|\r|[^\s>\x1b]{1,64}\*CLI> ){0,8}"
    rb"(?:<--- (?:Received SIP|Transmitting SIP|SIP read from) "
    rb"|\[[^\]\r\n]{0,64}\] (?:\x1b\[[0-9;]{0,16}m)?(?:[A-Z]{1,16}(?:\x1b\[[0-9;]{0,16}m)?\[|Asterisk [0-9]|<--- )"
    rb"|[ \t]{0,8}\d{1,4}\(\d{1,10}\) [A-Z]{3,8}: )"
)
_BLOB = re.compile(rb"\[[0-9.]{1,8}[BKMG] blob data\]\Z")


class JournalText:
    """`journalctl` as text, `short`, `short-iso` and `short-precise`: a continued line is indented as wide as its head.

    An entry of several lines becomes one, escaped as rsyslog does it; a console's lines become its console again.
    """

    name: ClassVar[str] = "journalctl"
    drops_empty_lines: ClassVar[bool] = True

    def __init__(self) -> None:
        self._consoles: set[bytes] = set()  # tags of consoles: a line of each began as only a console's does

    def recognises(self, lines: list[bytes]) -> bool:
        """See `Wrapper.recognises`: each line has a head, goes on an entry or is journalctl's own."""
        special, width = False, 0
        for line in lines:
            head = _SHORT.match(line)
            if head is not None:
                width = head.end()
                special = (
                    special or _CONSOLE_TEXT.match(line, width) is not None or _BLOB.match(line, width) is not None
                )
            elif width and line.startswith(b" " * width):
                special = True
            elif not line.startswith(b"-- "):
                return False
        return special

    def whole(self, text: bytes, end: int) -> int:
        """See `Wrapper.whole`: the last line's entry may go on."""
        start = text.rfind(b"\n", 0, end - 1) + 1
        while start and text.startswith(b" ", start):
            start = text.rfind(b"\n", 0, start - 1) + 1
        return start or end

    def entries(self, text: bytes) -> list[bytes]:
        """See `Wrapper.entries`: continued lines come behind LFs, without their indentation."""
        found: list[list[bytes]] = []
        width = 0
        for line in text.removesuffix(b"\n").split(b"\n"):
            head = _SHORT.match(line)
            if head is not None:
                width = head.end()
                found.append([line])
            elif found and width and line.startswith(b" " * width):
                found[-1].append(line[width:])
            else:
                found.append([line])
                width = 0
        return [b"\n".join(one) for one in found]

    def unwrap(self, line: bytes) -> Piece | None:
        """See `Wrapper.unwrap`."""
        head = _SHORT.match(line)
        if head is None:
            return None
        if _BLOB.match(line, head.end()):
            return Piece(b"", b"", lost=True)
        if head[2] not in self._consoles and _CONSOLE_TEXT.match(line, head.end()):
            self._consoles.add(head[2])
        if head[2] in self._consoles:
            return Piece(head[2], line[head.end() :], head[1].decode("ascii", "replace"))
        if b"\n" in line:  # journald took the white space at its end away
            line = (line + b"\n\n").replace(b"\r", b"#015").replace(b"\n", b"#012")
        return Piece(b"", line)


WRAPPERS: tuple[type[Wrapper], ...] = (
    DockerJsonFile,
    ContainerRuntimeLog,
    DockerTimestamps,
    ComposeLogs,
    RemoteConsole,
    JournalConsoles,
    JournalText,
)


def wrapper_of(head: bytes) -> Wrapper | None:
    """The wrapper of a log that begins with `head`, which may end within a line; None for one that has none."""
    lines = head[: head.rfind(b"\n") + 1].split(b"\n", SAMPLE_LINES)[:-1]
    return next((one for one in (kind() for kind in WRAPPERS) if lines and one.recognises(lines)), None)


def wrapper_named(name: str) -> Wrapper | None:
    """The wrapper of that name; None for what wraps nothing."""
    return next((one() for one in WRAPPERS if one.name == name), None)
