"""The three standard streams, where the caller closed one, it takes no more, or it can't show a character."""

from __future__ import annotations

import os
import sys
from errno import EBADF, EDQUOT, EFBIG, EIO, ENOSPC
from io import TextIOWrapper
from typing import TypeGuard

_NO_MORE = {EBADF, EDQUOT, EFBIG, EIO, ENOSPC}


def open_closed() -> None:
    """Puts /dev/null where a standard stream is closed (`>&-`).

    Its number would else go to the next file that is opened, a database or a routing file, and what is printed would
    end up there; Python itself has None for such a stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        os.dup2(opened, number)
        if opened != number:
            os.close(opened)
        setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", errors="replace"))


def show_any_character() -> None:
    """A terminal that is not of UTF-8 shows a character it has none for as its number: a reason, or a file's name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_of_output(error: Exception) -> TypeGuard[OSError]:
    """Say if an error is that of a stream which takes no more, such as a file on a full disk."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _NO_MORE


def drop_output() -> None:
    """Sends what is left for standard output nowhere, or Python's own last flush would complain of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
