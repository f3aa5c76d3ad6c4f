"""The files of a server's configuration, read within bounds; what can't be read is said, and never guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redirectd.sip.text import printable

MOST_FILES = 300
"""Files that are read of one server, its main file and all that it includes."""

MOST_BYTES = 4 * 1024 * 1024
"""Bytes that are read of one server."""

MOST_DEPTH = 10
"""How deep an include may be within others; Kamailio and Asterisk end there, too."""


@dataclass(frozen=True, slots=True)
class ConfPlace:
    """A line of a file, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        """Give file and line as a person looks them up."""
        return f"{printable(self.file)}, line {self.line}"


class ConfFiles:
    """Gives the text of files, and remembers which were read and what is in doubt.

    `read` gives a file's bytes or raises OSError; `expand` gives the files that a path with ``*`` or ``?`` names.
    """

    def __init__(self, read: Callable[[str], bytes], expand: Callable[[str], Sequence[str]]) -> None:
        self._read = read
        self.expand = expand
        self._bytes = 0
        self.files: list[str] = []
        self.doubts: list[str] = []

    def text(self, path: str, *, optional: bool = False, depth: int = 0) -> str | None:
        """Give a file's text; None where it can't be read, is one too many, or is absent.

        That is a doubt, unless the file is `optional` and absent.
        """
        if len(self.files) >= MOST_FILES or depth > MOST_DEPTH:
            self.doubt(f"{path} was not read: it is one of over {MOST_FILES} files, or over {MOST_DEPTH} deep")
            return None
        if self._bytes > MOST_BYTES:
            self.doubt(f"{path} was not read: there are over {MOST_BYTES:,} bytes before it")
            return None
        try:
            content = self._read(path)
        except FileNotFoundError:
            if not optional:
                self.doubt(f"{path} is missing")
            return None
        except OSError as error:
            self.doubt(f"{path} can't be read ({error.strerror}): what is in it is not known")
            return None
        except ValueError:  # a name with a NUL in it
            self.doubt(f"{path} is not the name of a file: what is included there is not known")
            return None
        self._bytes += len(content)
        if self._bytes > MOST_BYTES:
            self.doubt(f"{path} was not read: with it, it is over {MOST_BYTES:,} bytes")
            return None
        self.files.append(path)
        return content.decode("utf-8", "replace")

    def doubt(self, text: str) -> None:
        """Remember what was not understood."""
        text = printable(text, 300)
        if text not in self.doubts and len(self.doubts) < 50:
            self.doubts.append(text)
