"""Commands on a terminal of 80 by 24, as a person sees them: the screen, and all that was printed."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pyte

_NOW = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d")
_SPEED = re.compile(r"in \d+\.\d\d s \([\d,]+ MB/s\)")
_CHECKSUM = re.compile(r"\b[0-9a-f]{16,64}\b")
_REVISION = re.compile(r"\b0\d\d\d\b")
_SIZE = re.compile(r"\d+\.\d MB")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command left on the screen, and all the lines that it printed, without styles."""

    screen: str
    lines: list[str]
    raw: str
    code: int


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name always has the same length, so that lines wrap alike."""
    folder = Path(tempfile.mkdtemp(prefix="rd-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def on_screen(folder: Path, *args: str, columns: int = 80, rows: int = 24, keys: str = "", **environ: str) -> Shown:
    """Runs `redirectd ARGS` in `folder` on a terminal; `keys` are typed once the screen is full."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDIRECTD", "LESS", "NO_COLOR"))}
    child = pexpect.spawn(
        sys.executable,
        ["-m", "redirectd", *args],
        dimensions=(rows, columns),
        timeout=120,
        cwd=folder,
        env=kept | {"TERM": "xterm", "TZ": "UTC", "PAGER": "cat", "LOGNAME": "root", "SUDO_USER": "ada"} | environ,
    )
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    raw = b""
    if keys:
        child.expect_exact(b"\n:")  # less asks for a key
        raw = child.before + child.after
        child.send(keys)
    child.expect(pexpect.EOF)
    raw += child.before
    child.close()
    stream.feed(raw)
    text = raw.decode()
    lines = [line.rstrip("\r") for line in _STYLE.sub("", text).split("\n")]
    display = [line.rstrip() for line in screen.display]
    return Shown("\n".join(display).rstrip() + "\n", lines, text, child.exitstatus)


def masked(text: str, folder: Path) -> str:
    """A screen with what is different each time in the same width: the folder, times, speeds, sums and sizes."""
    text = text.replace(str(folder), "/tmp/rd-FOLDER__")
    for pattern, word in ((_SPEED, "in SPEED"), (_CHECKSUM, "CHECKSUM"), (_SIZE, "SIZE MB"), (_REVISION, "NNNN")):
        text = pattern.sub(word, text)
    return _NOW.sub("YYYY-MM-DD hh:mm:ss", text)
